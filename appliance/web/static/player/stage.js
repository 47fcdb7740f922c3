/** One camera's picture: canvas, caption, full screen. Keeps the last picture and tells its age. */

import { element, icon, setAttribute, setText } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { clock, clockExact, duration } from "../shared/words.js";
import { paint } from "./paint.js";
import { TASKS } from "./tasks.js";

const OLD_S = 3;

export class Stage {
  /** The last picture drawn (header plus `bitmap`), or null. */
  picture = null;
  #canvas = element("canvas", { role: "img" });
  #caption = element("figcaption", { class: "caption" });
  #none = element("div", { class: "none" }, icon("no-picture"), element("span"));
  #repaint;

  /** @param {() => void} repaint called when the size on the screen changed */
  constructor(repaint) {
    this.#repaint = repaint;
    const full = element(
      "button",
      { type: "button", class: "button veil full-screen", "aria-label": t("Full screen") },
      icon("full-screen"),
    );
    full.addEventListener("click", () => this.toggleFullScreen());
    this.element = element("figure", { class: "stage" }, this.#canvas, this.#none, this.#caption, full);
    new ResizeObserver(() => this.#resize()).observe(this.#canvas);
  }

  /** Takes a picture over; the one before is freed. */
  show(picture) {
    this.picture?.bitmap.close();
    this.picture = picture;
    const [width, height] = picture.size_wh;
    this.element.style.setProperty("--shape", `${width} / ${height}`);
  }

  /**
   * Draws the last picture again with these of its things.
   *
   * @returns {boolean} false when there is nothing to draw or nowhere to draw it
   */
  paint(drawn) {
    if (this.picture === null || this.#canvas.clientWidth === 0) return false;
    paint(this.#canvas, this.picture, drawn);
    return true;
  }

  /**
   * Says what the picture is: current, or old and from when.
   *
   * @param {object} camera of a station message
   * @param {object} now `now_s` of the station, whether it is `connected`, `seen` as of View.filter
   */
  describe(camera, { now_s, connected, seen }) {
    const picture = this.picture;
    this.element.classList.toggle("empty", picture === null);
    if (picture === null) {
      const waits = camera.state === "live" || camera.state === "connecting";
      setText(this.#none.querySelector("span"), waits ? t("Waiting for a picture") : t("No picture"));
      setAttribute(this.#canvas, "aria-label", t("{camera}: no picture", { camera: camera.name }));
      return;
    }
    const age_s = now_s - picture.captured_at_s;
    const old = !connected || camera.state !== "live" || age_s > OLD_S;
    this.element.classList.toggle("old", old);
    setText(this.#caption, `${camera.name} · ${captionTime(picture.captured_at_s, age_s, old)}`);
    const shown = TASKS[picture.task].text(seen);
    const facts = {
      camera: camera.name,
      content: picture.unknown ? t("result unknown") : shown || t("nothing found"),
      time: clock(picture.captured_at_s),
      age: duration(age_s),
    };
    const label = old
      ? t("{camera}: {content}; picture of {time}, {age} old", facts)
      : t("{camera}: {content}; picture of {time}", facts);
    setAttribute(this.#canvas, "aria-label", label);
  }

  toggleFullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.element.requestFullscreen();
  }

  #resize() {
    const ratio = devicePixelRatio;
    const width = Math.round(this.#canvas.clientWidth * ratio);
    const height = Math.round(this.#canvas.clientHeight * ratio);
    if (width === 0 || (width === this.#canvas.width && height === this.#canvas.height)) return;
    Object.assign(this.#canvas, { width, height });
    this.#repaint();
  }
}

// Milliseconds only where the picture stands still: while it runs they would belong to another one.
function captionTime(captured_at_s, age_s, old) {
  if (!old) return clock(captured_at_s);
  return t("last picture {time}, {age} ago", {
    time: clockExact(captured_at_s),
    age: duration(age_s),
  });
}
