/** One camera on the wall: its picture, and beside it what the camera is doing. */

import { element, icon, setIcon, setText, setTextWithVariables } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { DASH, fixed, milliseconds } from "../shared/words.js";
import { Stage } from "./stage.js";
import { TASKS } from "./tasks.js";

/** State, time, reason and next step of one camera; used on the wall and in the rail. */
export class StateWords {
  #icon = icon("connecting");
  #word = element("span");
  #since = element("p", { class: "since" });
  #sentence = element("p", { class: "sentence" });
  #next = element("p", { class: "next" });

  constructor() {
    const word = element("p", { class: "word" }, this.#icon, this.#word);
    this.element = element("div", { class: "state" }, word, this.#since, this.#sentence, this.#next);
  }

  update(words) {
    this.element.dataset.tone = words.tone;
    setIcon(this.#icon, words.icon);
    setText(this.#word, words.word);
    setText(this.#since, words.since);
    setTextWithVariables(this.#sentence, words.sentence);
    setTextWithVariables(this.#next, words.next);
  }
}

const UNITS = { fps: t("fps"), inference: t("ms model"), seen: "" }; // what is seen: by the task

export class Tile {
  #name = element("h2");
  #state = new StateWords();
  #button = element("button", { type: "button", class: "button enlarge" }, t("Enlarge"));
  #readings = {
    fps: element("b"),
    inference: element("b"),
    seen: element("b"),
  };

  /**
   * @param {number} number the camera's key on the keyboard, from 1
   * @param {object} does what the tile asks for: `enlarge()` and `repaint()`
   */
  constructor(number, { enlarge, repaint }) {
    this.number = number;
    this.stage = new Stage(repaint);
    const readings = Object.entries(this.#readings).map(([name, value]) =>
      element("div", {}, value, element("span", {}, UNITS[name])),
    );
    this.#button.addEventListener("click", enlarge);
    this.stage.element.querySelector("canvas").addEventListener("click", enlarge);
    const side = element(
      "div",
      { class: "side" },
      this.#name,
      this.#state.element,
      element("div", { class: "readings" }, ...readings),
      this.#button,
    );
    this.element = element("article", { class: "tile" }, this.stage.element, side);
  }

  /**
   * @param {object} camera of a station message
   * @param {object} words the camera's state, said
   * @param {object} now as in Stage.describe
   */
  update(camera, words, now) {
    this.element.dataset.tone = words.tone;
    this.element.classList.toggle("live", now.connected && camera.state === "live");
    setText(this.#name, this.number > 9 ? camera.name : `${this.number} ${camera.name}`);
    this.#button.setAttribute("aria-label", t("Enlarge {camera}", { camera: camera.name }));
    this.#state.update(words);
    setText(this.#readings.fps, fixed(camera.fps, 1));
    setText(this.#readings.inference, milliseconds(camera.inference_ms));
    this.#tellSeen(now.seen);
    this.stage.describe(camera, now);
  }

  #tellSeen(seen) {
    const { picture } = this.stage;
    const { value, word } = picture ? TASKS[picture.task].figure(seen) : { value: DASH, word: "" };
    setText(this.#readings.seen, picture?.unknown ? DASH : value);
    setText(this.#readings.seen.nextElementSibling, word);
  }
}
