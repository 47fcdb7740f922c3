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

/** t("In view now"): objects by class; each count is also the switch of its class. */
export class Tally {
  #total = element("span");
  #row = element("div", { class: "tally-row", role: "group", "aria-label": t("Classes shown") });
  #buttons = new Map();
  #seen_ms = new Map();
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

  /** @param {Map<string, number>|null} counts objects by class; null while they are unknown */
  update(counts) {
    const now_ms = performance.now();
    for (const label of counts?.keys() ?? []) this.#seen_ms.set(label, now_ms);
    const shown = new Set(this.#view.chosen);
    for (const [label, seen_ms] of this.#seen_ms) {
      if (now_ms - seen_ms < REMEMBER_MS) shown.add(label);
    }
    const labels = [...shown].sort();
    this.#arrange(labels);
    for (const label of labels) this.#set(label, counts === null ? NaN : (counts.get(label) ?? 0));
    setText(this.#total, totalWords(counts, this.#view));
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

  #set(label, count) {
    const button = this.#buttons.get(label);
    setAttribute(button, "aria-pressed", String(this.#view.shows(label)));
    setText(button.querySelector("b"), whole(count));
  }
}

function totalWords(counts, view) {
  if (counts === null) return "";
  let all = 0;
  let shown = 0;
  for (const [label, count] of counts) {
    all += count;
    if (view.shows(label)) shown += count;
  }
  if (shown < all) return t("{shown} of {total} shown", { shown: whole(shown), total: whole(all) });
  return plural("{count} object", "{count} objects", all, { count: whole(all) });
}
