/**
 * What this viewer wants to see: confidence and classes. Kept for as long as the browser tab.
 *
 * Classes go by name: cameras may have different models, whose ids mean different things.
 */

const KEY = "appliance-view";
const STEP = 0.05;
export const CONFIDENCE_MAX = 0.99;

export class View extends EventTarget {
  #floor = 0;
  #confidence = null; // null: as the station says
  #all = true;
  #except = new Set();

  constructor() {
    super();
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
    this.#confidence = kept.confidence ?? null;
    this.#all = kept.all ?? true;
    this.#except = new Set(kept.except);
  }

  /** The lowest score the station sends; the viewer cannot go below. */
  get floor() {
    return this.#floor;
  }

  set floor(value) {
    if (value === this.#floor) return;
    this.#floor = value;
    this.#changed();
  }

  get confidence() {
    return Math.max(this.#floor, this.#confidence ?? this.#floor);
  }

  set confidence(value) {
    const clamped = Math.min(CONFIDENCE_MAX, Math.max(this.#floor, value));
    this.#confidence = Math.round(clamped * 100) / 100;
    this.#changed();
  }

  /** One step up (+1) or down (-1). */
  step(direction) {
    this.confidence = this.confidence + direction * STEP;
  }

  shows(label) {
    return this.#all !== this.#except.has(label);
  }

  toggle(label) {
    if (!this.#except.delete(label)) this.#except.add(label);
    this.#changed();
  }

  /** Shows all classes, or none. */
  showAll(all) {
    this.#all = all;
    this.#except.clear();
    this.#changed();
  }

  /** Classes the viewer treated apart from the rest. */
  get chosen() {
    return [...this.#except];
  }

  /**
   * What of a picture passes.
   *
   * @returns {{drawn: number[], seen: Map<string, {count: number, score: number}>}} indexes of the
   *   things to draw; and of each class above the confidence, hidden ones included, how many and
   *   the best score, best first
   */
  filter(picture) {
    const drawn = [];
    const seen = new Map();
    // Compared as shown: a label that reads 0.90 passes at 0.90.
    const least = Math.round(this.confidence * 100);
    const { labels, scores } = picture.prediction;
    labels.forEach((label, index) => {
      if (Math.round(scores[index] * 100) < least) return;
      const { count = 0, score = scores[index] } = seen.get(label) ?? {};
      seen.set(label, { count: count + 1, score });
      if (this.shows(label)) drawn.push(index);
    });
    return { drawn, seen };
  }

  #changed() {
    const kept = { confidence: this.#confidence, all: this.#all, except: this.chosen };
    sessionStorage.setItem(KEY, JSON.stringify(kept));
    this.dispatchEvent(new Event("change"));
  }
}
