/** The readings of one camera, in figures that stand still, and its last two minutes. */

import { element, setAttribute, setText, shape } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { DASH, fixed, milliseconds, whole } from "../shared/words.js";

const WIDTH = 320;
const HEIGHT = 44;
const SECONDS = 120;

/** Four readings, each with its unit and what to compare it with. */
export class Readings {
  #cells = {};

  constructor() {
    this.element = element("dl", { class: "reads panel" });
    for (const [key, label, unit] of [
      ["fps", t("Pictures"), t("fps")],
      ["inference", t("Model"), "ms"],
      ["age", t("Age of result"), "ms"],
      ["dropped", t("Dropped"), "/ min"],
    ]) {
      const cell = { value: element("span"), sub: element("dd", { class: "sub" }) };
      this.#cells[key] = cell;
      const value = element("dd", { class: "value" }, cell.value, element("small", {}, unit));
      this.element.append(element("div", {}, element("dt", {}, label), value, cell.sub));
    }
  }

  /** @param {object} camera of a station message, or {} while the station is not heard */
  update(camera) {
    this.#set("fps", fixed(camera.fps, 1), t("camera sends {fps}", { fps: fixed(camera.source_fps, 1) }));
    this.#set(
      "inference",
      milliseconds(camera.inference_ms),
      `p99 ${milliseconds(camera.inference_p99_ms)} ms`,
    );
    this.#set("age", milliseconds(camera.age_ms), `p99 ${milliseconds(camera.age_p99_ms)} ms`);
    this.#set(
      "dropped",
      whole(camera.dropped_per_minute),
      t("{count} since the start", { count: whole(camera.dropped_total) }),
    );
  }

  #set(key, value, sub) {
    setText(this.#cells[key].value, value);
    setText(this.#cells[key].sub, sub);
  }
}

/** Pictures per second over the last two minutes; a gap where there were none to count. */
export class Sparkline {
  #line = shape("path", { class: "spark-line" });
  #most = element("span");
  #plot;

  constructor() {
    this.#plot = shape(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      shape("path", { class: "spark-base", d: `M0 ${HEIGHT - 0.5}H${WIDTH}` }),
      this.#line,
    );
    const head = element(
      "div",
      { class: "panel-line" },
      element("h2", {}, t("Pictures per second, last 2 min")),
      this.#most,
    );
    this.element = element("section", { class: "spark panel" }, head, this.#plot);
  }

  update(history) {
    const known = history.filter((value) => value !== null);
    const most = Math.max(1, ...known);
    setAttribute(this.#line, "d", path(history, most));
    setText(this.#most, t("{value} max", { value: known.length ? fixed(most, 1) : DASH }));
    const label = known.length
      ? t("Pictures per second, last two minutes: between {least} and {most}", {
          least: fixed(Math.min(...known), 1),
          most: fixed(most, 1),
        })
      : t("Pictures per second, last two minutes: unknown");
    setAttribute(this.#plot, "aria-label", label);
  }
}

function path(history, most) {
  let pen = "M";
  return history
    .map((value, index) => {
      if (value === null) {
        pen = "M";
        return "";
      }
      const x = WIDTH - ((history.length - 1 - index) * WIDTH) / (SECONDS - 1);
      const y = HEIGHT - 1 - (value / most) * (HEIGHT - 8);
      const step = `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = "L";
      return step;
    })
    .join("");
}
