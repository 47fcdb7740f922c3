/**
 * The page around the player. The player owns the connection and passes on what the station says;
 * this fills the bar at the top, says what concerns all tabs, speaks to screen readers, turns pages
 * by key, and has what stands on them brought anew.
 */

import { Announcer } from "./outer/announcer.js";
import { chips, lostChips } from "./outer/chips.js";
import { Documents } from "./outer/documents.js";
import { nameThemeButton, say, updateHeader } from "./outer/header.js";
import { Tabs } from "./outer/tabs.js";
import { watchActivity } from "./shared/activity.js";
import { StationClock } from "./shared/clock.js";
import { isShortcut } from "./shared/keys.js";
import { Note } from "./shared/note.js";

const TICK_MS = 500; // numbers change at most twice a second
const LOOK_MS = 200;
const SEQUENCE_MS = 1500; // from "G" to the page's letter

class Page {
  #announcer = new Announcer();
  #clock = new StationClock();
  #connection = "opening";
  #station = null;
  #sequenceUntil_ms = 0;
  #tabs = new Tabs();
  #documents = new Documents(this.#tabs);
  #note = new Note(`${base()}/login`, () => this.#stay());
  #stay = watchActivity(() => {
    playerFrame().contentWindow.postMessage({ type: "active" }, location.origin);
  });

  start() {
    document.querySelector(".frame").append(this.#note.element);
    this.#tabs.start();
    addEventListener("message", (event) => this.#hear(event));
    addEventListener("keydown", (event) => isShortcut(event) && this.#press(event.key));
    addEventListener("click", (event) => {
      const chip = event.target.closest?.("#station-bar [data-page]");
      if (!chip) return;
      this.#tabs.open(chip.dataset.page);
      // Gradio shows the page's parts a moment later.
      const { place } = chip.dataset;
      if (place) setTimeout(() => document.querySelector(place)?.scrollIntoView(), TICK_MS);
    });
    document.addEventListener("themechange", nameThemeButton);
    setInterval(() => this.#update(), TICK_MS);
    setInterval(() => this.#documents.look(this.#connection), LOOK_MS);
  }

  #hear({ origin, source, data }) {
    if (origin !== location.origin || source !== playerFrame().contentWindow) return;
    if (data.type === "key") this.#press(data.key, { fromPlayer: true });
    if (data.type === "station") {
      this.#station = data;
      this.#clock.set(data.now_s);
      this.#documents.hear(data.station);
      document.dispatchEvent(new CustomEvent("station", { detail: data }));
      const news = this.#announcer.station(data);
      if (news) say("polite", news);
    }
    if (data.type === "connection") {
      this.#connection = document.documentElement.dataset.connection = data.state;
      this.#note.update(data.note);
      if (data.state === "over") this.#tabs.freeze();
      const news = this.#announcer.connection(data.state);
      if (news !== null) say("assertive", news);
    }
  }

  #press(key, { fromPlayer = false } = {}) {
    const now_ms = performance.now();
    const page = now_ms < this.#sequenceUntil_ms ? this.#tabs.by(key) : null;
    this.#sequenceUntil_ms = key.toLowerCase() === "g" ? now_ms + SEQUENCE_MS : 0;
    if (page) this.#tabs.open(page);
    else if (!fromPlayer && playerFrame().checkVisibility()) {
      playerFrame().contentWindow.postMessage({ type: "key", key }, location.origin);
    }
  }

  #update() {
    nameThemeButton();
    if (this.#station === null) return;
    const heard = this.#connection === "open";
    const shown = heard ? chips(this.#station) : lostChips(this.#connection);
    updateHeader({ chips: shown, station: this.#station.station, now_s: this.#clock.now_s() });
  }
}

function playerFrame() {
  return document.querySelector("iframe.player-frame");
}

function base() {
  return document.getElementById("station-bar").dataset.base;
}

new Page().start();
