/** What concerns the whole page: the connection, and the engine when it needs a look. */

import { element, icon, setIcon, setText } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { clock, duration, engineTrouble } from "../shared/words.js";

/**
 * The connection in words, or null while all is well.
 *
 * @param {string} state of the Connection
 * @param {object} facts `silent_s`; `picture_s`, the time of the newest picture or null; `now_s`
 */
export function connectionTrouble(state, { silent_s, picture_s, now_s }) {
  const picture =
    picture_s === null ? "" : t("This picture is from {time}.", { time: clock(picture_s) });
  switch (state) {
    case "lost":
      return {
        tone: "warn",
        icon: "stalled",
        head: t("No connection for {duration}.", { duration: duration(silent_s) }),
        text: [picture, t("Tries again every 2 s.")].join(" ").trim(),
      };
    case "full":
      return {
        tone: "warn",
        icon: "stalled",
        head: t("Too many viewers."),
        text: t("Tries again every 10 s. Close a page that nobody watches."),
      };
    case "over":
      return {
        tone: "fault",
        icon: "offline",
        head: t("Signed out"),
        text: t("at {time}.", { time: clock(now_s - silent_s) }),
        signIn: true,
      };
    default:
      return null;
  }
}

/** The station's engine as a note, or null. */
export function engineNote(engine) {
  const trouble = engineTrouble(engine);
  return trouble && { ...trouble, text: engine.sentence, progress: engine.progress };
}

const SOON_S = 60;

/** The end of the session when it is near, or null. */
export function sessionNote({ ends_in_s, by }) {
  if (ends_in_s > SOON_S) return null;
  const left = duration(Math.max(0, ends_in_s));
  const idle = by === "idle";
  const text = idle ? t("Nothing was done here for a while.") : t("One sign-in lasts no longer.");
  return { tone: "warn", icon: "stalled", head: t("Signed out in {duration}.", { duration: left }), text, mayStay: idle };
}

/** One line across the page. */
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
