/**
 * The documents on tabs: asked for while somebody looks at them, and grey when old.
 *
 * Gradio brings a document when its tab's hidden button is clicked. A timer of Gradio's would ask
 * on when nobody looks, when the session is over, and with the session of another run.
 */

import { setText } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { duration } from "../shared/words.js";

const PERIOD_MS = 5000;
const OLD_MS = 10000;
const GIVEN_UP_MS = 10000; // what was not answered until then, will not be by asking again

export class Documents {
  #asked_ms = new Map(); // by the tab's name
  #known = new Map(); // by the document's name: its time, and when it came
  #waits = { name: "", since_ms: null }; // for the documents of this tab
  #boot = null;
  #version = null;
  #updated = false; // the page is of another version than the station
  #ended = false; // the station of this page has gone, and another one answers
  #isUp = false; // whether Gradio's page is made: the station answers before it
  #tabs;

  /** @param {object} tabs knows which one is open */
  constructor(tabs) {
    this.#tabs = tabs;
  }

  /** Takes what the station says of itself. */
  hear({ boot, version, page }) {
    this.#ended ||= this.#boot !== null && this.#boot !== boot;
    this.#updated ||= this.#version !== null && this.#version !== version;
    [this.#boot, this.#version, this.#isUp] = [boot, version, page];
  }

  /** Looks after the documents. @param {string} connection state of the player's connection */
  look(connection) {
    const heard = connection === "open" || connection === "full";
    const name = this.#tabs.open_name;
    if (name !== this.#waits.name) this.#waits = { name, since_ms: null };
    const hasSome = this.#age(heard && !this.#ended, connection === "over");
    const button = document.querySelector(`#page-${name} .ask`);
    if (!heard || document.visibilityState !== "visible") return;
    const waited_ms = performance.now() - (this.#waits.since_ms ?? performance.now());
    const isGivenUp = hasSome && (this.#ended || waited_ms > GIVEN_UP_MS);
    if (isGivenUp || this.#updated) this.#load(connection);
    else if (button !== null) this.#ask(name, button);
  }

  /**
   * Shows how old they are.
   *
   * @param {boolean} lasting what stays until a restart is of now
   * @param {boolean} over none is of now
   * @returns {boolean} whether there are any on the open tab
   */
  #age(lasting, over) {
    const now_ms = performance.now();
    let hasSome = false;
    for (const element of document.querySelectorAll("[data-document]")) {
      const { document: name, at, lasts } = element.dataset;
      const known = this.#known.get(name);
      if (known?.at !== at || (lasts !== undefined && lasting)) {
        this.#known.set(name, { at, came_ms: now_ms });
      }
      if (!element.checkVisibility()) continue;
      hasSome = true;
      if (known?.at !== at) this.#waits.since_ms = null;
      const age_ms = now_ms - this.#known.get(name).came_ms;
      const old = age_ms > OLD_MS || over;
      element.toggleAttribute("data-old", old);
      for (const place of element.querySelectorAll("[data-place=age]")) {
        setText(place, old ? t("{duration} ago", { duration: duration(age_ms / 1000) }) : "");
      }
    }
    return hasSome;
  }

  #ask(name, button) {
    const now_ms = performance.now();
    if (now_ms - (this.#asked_ms.get(name) ?? -Infinity) < PERIOD_MS) return;
    this.#asked_ms.set(name, now_ms);
    this.#waits.since_ms ??= now_ms;
    button.click();
  }

  /** Loads the page again once it is there, as far as the station can say. */
  #load(connection) {
    if (!this.#isUp && connection !== "full") return; // "full": nothing is heard of it
    this.#isUp = false; // once
    location.reload();
  }
}
