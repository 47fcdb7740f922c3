/** What the viewer can set: confidence and classes. Acts at once, on the last picture too. */

import { element, setAttribute, setText } from "../shared/dom.js";
import { plural, t } from "../shared/texts.js";
import { fixed, whole } from "../shared/words.js";
import { CONFIDENCE_MAX } from "./view.js";

// A class that came by stays in its place for a while, so that the row does not jump.
const REMEMBER_MS = 30000;

/** The confidence slider. */
export class Confidence {
  #input = element("input", { id: "confidence", type: "range", step: "0.01" });
  #value = element("output", { for: "confidence" });
  #view;

  constructor(view) {
    this.#view = view;
    const label = element("label", { for: "confidence" }, t("Confidence from"));
    const head = element("div", { class: "panel-line" }, label, this.#value);
    this.element = element("section", { class: "confidence panel control" }, head, this.#input);
    this.#input.max = CONFIDENCE_MAX;
    this.#input.addEventListener("input", () => {
      view.confidence = Number(this.#input.value);
    });
    view.addEventListener("change", () => this.#update());
    this.#update();
  }

  #update() {
    const { confidence, floor } = this.#view;
    const share = ((confidence - floor) / (CONFIDENCE_MAX - floor)) * 100;
    this.#input.min = floor;
    this.#input.value = confidence;
    this.#input.style.setProperty("--share", `${share.toFixed(1)}%`);
    setText(this.#value, fixed(confidence, 2));
  }
}

/**
 * t("In view now"): by class how many objects there are, or with which score a picture shows it;
 * each is also the switch of its class.
 */
export class Tally {
  #total = element("span");
  #row = element("div", { class: "tally-row", role: "group", "aria-label": t("Classes shown") });
  #buttons = new Map();
  #known = new Map(); // when a class was seen last, and whether it was counted
  #view;

  constructor(view) {
    this.#view = view;
    const choose = (text, all) => {
      const button = element("button", { type: "button", class: "link control" }, text);
      button.addEventListener("click", () => view.showAll(all));
      return button;
    };
    const head = element(
      "div",
      { class: "panel-line" },
      element("h2", {}, t("In view now")),
      this.#total,
      choose(t("All"), true),
      choose(t("None"), false),
    );
    this.element = element("section", { class: "tally panel" }, head, this.#row);
  }

  /**
   * @param {Map<string, {count?: number, score?: number}>|null} seen by class, how many where they
   *   are counted, else the score; null while it is unknown
   * @param {boolean} isCounted whether any camera counts what it sees
   */
  update(seen, isCounted) {
    const at_ms = performance.now();
    for (const [label, { count }] of seen ?? []) {
      this.#known.set(label, { at_ms, isCounted: count !== undefined });
    }
    const shown = new Set(this.#view.chosen);
    for (const [label, known] of this.#known) {
      if (at_ms - known.at_ms < REMEMBER_MS) shown.add(label);
    }
    const labels = [...shown].sort();
    this.#arrange(labels);
    for (const label of labels) this.#set(label, seen);
    setText(this.#total, totalWords(seen, isCounted, this.#view));
  }

  #arrange(labels) {
    for (const label of labels) {
      if (!this.#buttons.has(label)) this.#buttons.set(label, this.#button(label));
    }
    const wanted = labels.map((label) => this.#buttons.get(label));
    const same = wanted.every((button, index) => this.#row.children[index] === button);
    if (!same || wanted.length !== this.#row.children.length) this.#row.replaceChildren(...wanted);
  }

  #button(label) {
    const button = element("button", { type: "button" }, element("b"), element("span", {}, label));
    button.addEventListener("click", () => this.#view.toggle(label));
    return button;
  }

  #set(label, seen) {
    const button = this.#buttons.get(label);
    const isCounted = this.#known.get(label)?.isCounted ?? true;
    const { count = 0, score } = seen?.get(label) ?? {};
    setAttribute(button, "aria-pressed", String(this.#view.shows(label)));
    setAttribute(button, "data-kind", isCounted ? "count" : "score");
    const value = isCounted ? whole(seen === null ? NaN : count) : fixed(score, 2);
    setText(button.querySelector("b"), value);
  }
}

function totalWords(seen, isCounted, view) {
  if (seen === null) return "";
  let all = 0;
  let shown = 0;
  for (const [label, { count = 0 }] of seen) {
    const worth = isCounted ? count : 1;
    all += worth;
    if (view.shows(label)) shown += worth;
  }
  if (shown < all) return t("{shown} of {total} shown", { shown: whole(shown), total: whole(all) });
  if (!isCounted) return plural("{count} class", "{count} classes", all, { count: whole(all) });
  return plural("{count} object", "{count} objects", all, { count: whole(all) });
}
