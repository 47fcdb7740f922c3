/**
 * The Live page: one connection, every camera's newest picture, boxes drawn here.
 *
 * Runs inside the station's page (an iframe of the same origin, told what the station says) and
 * alone; `?kiosk=1` shows it without controls.
 */

import { watchActivity } from "./shared/activity.js";
import { StationClock } from "./shared/clock.js";
import { element, icon, setText } from "./shared/dom.js";
import { Note } from "./shared/note.js";
import { t } from "./shared/texts.js";
import { cameraWords, unheardWords } from "./shared/words.js";
import { Connection } from "./player/connection.js";
import { Confidence, Tally } from "./player/controls.js";
import { connectionTrouble, engineNote, sessionNote } from "./player/notes.js";
import { Readings, Sparkline } from "./player/readings.js";
import { listenToKeys } from "./player/shortcuts.js";
import { StateWords } from "./player/tile.js";
import { TASKS } from "./player/tasks.js";
import { View } from "./player/view.js";
import { watchVisibility } from "./player/visibility.js";
import { Wall } from "./player/wall.js";
import { stayAwake } from "./player/wake.js";

const TICK_MS = 500; // numbers change at most twice a second
const NOTHING = { drawn: [], seen: new Map() };

class Player {
  #root = document.querySelector("#player");
  #clock = new StationClock();
  #view = new View();
  #station = null;
  #visible = true;
  #newest_s = null;
  #connection = new Connection(socketUrl(), {
    onStation: (message) => this.#hear(message),
    onPicture: (header, jpeg, acknowledge) => this.#receive(header, jpeg, acknowledge),
    onState: () => this.#update(),
  });
  #wall = new Wall(this.#root.querySelector(".cameras"), {
    repaint: (key) => this.#paint(key),
    changed: () => this.#arranged(),
  });
  #stay = watchActivity(() => this.#connection.stay());
  #notes = Array.from({ length: 2 }, () => new Note(`${base()}/login`, () => this.#stay()));
  #state = new StateWords();
  #readings = new Readings();
  #sparkline = new Sparkline();
  #tally = new Tally(this.#view);
  #name = element("h1");
  #all = element(
    "button",
    { type: "button", class: "button control" },
    icon("grid"),
    t("All cameras"),
  );
  #drawn = {};
  #lastBoxes = {};

  start() {
    // For tests and for people who look for a fault: pictures drawn, boxes on the last one, and when
    // the first one was there.
    window.appliance = { drawn: this.#drawn, lastBoxes: this.#lastBoxes, first_ms: null };
    document.body.classList.toggle("kiosk", kiosk());
    if (kiosk()) stayAwake();
    document.body.classList.toggle("embedded", embedded());
    if (!embedded()) this.#notes[0].element.setAttribute("role", "alert");
    this.#build();
    this.#listen();
    this.#connection.start();
    setInterval(() => this.#update(), TICK_MS);
  }

  #build() {
    const confidence = new Confidence(this.#view);
    const state = element("section", { class: "panel" }, this.#name, this.#state.element, this.#all);
    this.#root.querySelector(".notes").append(...this.#notes.map((note) => note.element));
    this.#root
      .querySelector(".rail")
      .append(
        state,
        this.#readings.element,
        this.#sparkline.element,
        this.#tally.element,
        confidence.element,
      );
  }

  #listen() {
    this.#all.addEventListener("click", () => this.#wall.enlarge(null));
    this.#view.addEventListener("change", () => {
      for (const key of this.#wall.shown) this.#paint(key);
      this.#update();
    });
    watchVisibility((visible) => {
      this.#visible = visible;
      this.#watch();
    });
    const press = listenToKeys(
      {
        digit: (number) => this.#wall.enlargeNumber(number),
        0: () => this.#wall.enlarge(null),
        "[": () => this.#view.step(-1),
        "]": () => this.#view.step(1),
        " ": () => this.#wall.tile(this.#wall.single)?.stage.toggleFullScreen(),
      },
      (key) => tellParent({ type: "key", key }),
    );
    addEventListener("message", (event) => {
      if (event.origin !== location.origin) return;
      if (event.data?.type === "key") press(event.data.key);
      if (event.data?.type === "active") this.#stay();
    });
  }

  #hear(message) {
    if (message.type !== "station") return;
    const first = this.#station === null;
    // Nobody reloads a kiosk by hand: after an update it would show the old page for months.
    if (kiosk() && !first && message.station.version !== this.#station.station.version) {
      location.reload();
    }
    this.#station = message;
    this.#clock.set(message.now_s);
    this.#view.floor = message.confidence;
    this.#wall.arrange(message.cameras);
    tellParent(message);
    if (first) this.#update();
  }

  async #receive(header, jpeg, acknowledge) {
    const stage = this.#wall.tile(header.camera)?.stage;
    try {
      const bitmap = await createImageBitmap(jpeg);
      if (stage) stage.show({ ...header, bitmap });
      else bitmap.close();
      this.#newest_s = Math.max(this.#newest_s, header.captured_at_s);
      this.#paint(header.camera);
      window.appliance.first_ms ??= Date.now();
      this.#drawn[header.camera] = (this.#drawn[header.camera] ?? 0) + 1;
    } catch (error) {
      // Without the acknowledgment one damaged picture would end the camera's pictures.
      console.warn(`${header.camera}: picture ${header.sequence} cannot be shown`, error);
    }
    acknowledge();
  }

  #paint(key) {
    const stage = this.#wall.tile(key)?.stage;
    const { drawn } = this.#filtered(stage);
    if (stage?.paint(drawn)) this.#lastBoxes[key] = drawn.length;
  }

  #filtered(stage) {
    return stage?.picture ? this.#view.filter(stage.picture) : NOTHING;
  }

  #arranged() {
    this.#root.dataset.view = this.#wall.single === null ? "all" : "one";
    this.#all.hidden = !this.#wall.hasSeveral;
    this.#name.hidden = !this.#wall.hasSeveral;
    this.#watch();
    this.#update();
  }

  #watch() {
    this.#connection.watch(this.#visible ? this.#wall.shown : []);
  }

  #update() {
    const session = this.#station?.session; // a kiosk has none
    const trouble = connectionTrouble(this.#connection.state, {
      silent_s: this.#connection.silent_s(),
      picture_s: embedded() ? null : this.#newest_s, // there it is said of all pages
      now_s: this.#clock.now_s(),
      reason: this.#connection.reason,
      idle_s: session?.idle_s,
    });
    const note = trouble ?? (session ? sessionNote(session) : null);
    this.#notes[0].update(embedded() ? null : note);
    tellParent({ type: "connection", state: this.#connection.state, note });
    if (this.#station === null) return;
    this.#notes[1].update(engineNote(this.#station.engine));
    const seen = new Map();
    for (const camera of this.#station.cameras) this.#updateCamera(camera, seen);
    this.#tally.update(this.#seesNow() ? seen : null, this.#counts());
  }

  /** Whether any picture on the page holds things that are counted. */
  #counts() {
    const pictures = this.#wall.shown.map((key) => this.#wall.tile(key).stage.picture);
    const tasks = pictures.filter(Boolean).map(({ task }) => TASKS[task]);
    return tasks.length === 0 || tasks.some(({ isCounted }) => isCounted);
  }

  /** Whether any picture on the page is of now: only then is "nothing in view" a count of 0. */
  #seesNow() {
    const isSeen = ({ key, state }) =>
      state === "live" && this.#wall.shown.includes(key) && this.#wall.tile(key).stage.picture;
    return this.#connection.state === "open" && this.#station.cameras.some(isSeen);
  }

  #updateCamera(camera, all) {
    if (!this.#wall.shown.includes(camera.key)) return;
    const tile = this.#wall.tile(camera.key);
    const connected = this.#connection.state === "open";
    const { seen } = this.#filtered(tile.stage);
    const now_s = this.#clock.now_s();
    const words = connected
      ? cameraWords(camera, this.#station.now_s, now_s)
      : unheardWords(this.#connection.silent_s(), this.#connection.state === "over");
    tile.update(camera, words, { now_s, connected, seen });
    if (camera.state === "live" && tile.stage.picture) {
      add(seen, TASKS[tile.stage.picture.task].isCounted, all);
    }
    if (camera.key !== this.#wall.single) return;
    setText(this.#name, camera.name);
    this.#state.update(words);
    this.#readings.update(connected ? camera : {});
    this.#sparkline.update(camera.fps_history);
  }
}

/** Adds what one camera sees to what all see: objects together, of scores the best. */
function add(seen, isCounted, all) {
  for (const [label, { count, score }] of seen) {
    const before = all.get(label) ?? {};
    const more = isCounted
      ? { count: (before.count ?? 0) + count }
      : { score: Math.max(before.score ?? 0, score) };
    all.set(label, { ...before, ...more });
  }
}

function base() {
  return document.querySelector("#player").dataset.base;
}

function socketUrl() {
  const url = new URL(`${base()}/live`, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

function kiosk() {
  return new URLSearchParams(location.search).has("kiosk");
}

function embedded() {
  return window.parent !== window;
}

function tellParent(message) {
  if (embedded()) window.parent.postMessage(message, location.origin);
}

new Player().start();
