/** One line across a page: what concerns all of it, with what a person can do about it. */

import { element, icon, setIcon, setText } from "./dom.js";
import { t } from "./texts.js";

export class Note {
  #icon = icon("busy");
  #head = element("strong");
  #text = element("span");
  #bar = element("progress", { class: "bar", max: "1", "aria-label": t("Progress") });
  #stay = element("button", { type: "button", class: "button" }, t("Stay"));
  #link;

  /**
   * @param {string} loginUrl where "Sign in" leads
   * @param {() => void} onStay a person wants to stay signed in
   */
  constructor(loginUrl, onStay) {
    this.#link = element("a", { class: "button", href: loginUrl, target: "_top" }, t("Sign in"));
    this.#stay.addEventListener("click", onStay);
    const words = element("p", {}, this.#head, " ", this.#text);
    const parts = [this.#icon, words, this.#bar, this.#stay, this.#link];
    this.element = element("div", { class: "note" }, ...parts);
    this.update(null);
  }

  /**
   * @param {object|null} note `tone`, `icon`, `head`, `text`, maybe `progress`, `signIn` and
   *   `mayStay`
   */
  update(note) {
    this.element.hidden = note === null;
    if (note === null) return;
    this.element.dataset.tone = note.tone;
    setIcon(this.#icon, note.icon);
    setText(this.#head, note.head);
    setText(this.#text, note.text);
    this.#bar.hidden = typeof note.progress !== "number";
    this.#bar.value = note.progress ?? 0;
    this.#link.hidden = !note.signIn;
    this.#stay.hidden = !note.mayStay;
  }
}
