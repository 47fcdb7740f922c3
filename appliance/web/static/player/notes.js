/** What concerns the whole page: the connection, and the engine when it needs a look. */

import { t } from "../shared/texts.js";
import { clock, duration, engineTrouble } from "../shared/words.js";

/**
 * The connection in words, or null while all is well.
 *
 * @param {string} state of the Connection
 * @param {object} facts `silent_s`; `picture_s`, the time of the newest picture or null; `now_s`;
 *   `reason`, why the session is over; `idle_s`, how long it lasts without use
 */
export function connectionTrouble(state, { silent_s, picture_s, now_s, reason, idle_s }) {
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
        text: overWords(reason, { time: clock(now_s - silent_s), duration: duration(idle_s ?? 0) }),
        signIn: true,
      };
    default:
      return null;
  }
}

/** When and why the session ended, as the station said with its goodbye. */
function overWords(reason, values) {
  switch (reason) {
    case "idle":
      return t("at {time} after {duration} without use.", values);
    case "limit":
      return t("at {time}: one sign-in lasts no longer.", values);
    case "revoked":
      return t("at {time} by an administrator.", values);
    case "left":
      return t("at {time} in another window of this browser.", values);
    default:
      return t("at {time}.", values);
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
