/** How numbers, times and states are said. Unknown is an en dash, never 0. */

import { language, marked, t } from "./texts.js";

export const DASH = "–";
const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_S = 86400;
const SECONDS = t("s");
const MINUTES = t("min");
const HOURS = t("h");
const DAYS = t("d");

const FORMATS = [0, 1, 2].map(
  (digits) =>
    new Intl.NumberFormat(language, {
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
      useGrouping: false,
    }),
);

/** A number with fixed decimals, two at most, so that it stands still. */
export function fixed(value, decimals) {
  return Number.isFinite(value) ? FORMATS[decimals].format(value) : DASH;
}

/** Milliseconds: one decimal below 100, none above. */
export function milliseconds(value) {
  return fixed(value, value < 100 ? 1 : 0);
}

/** A whole number with thin spaces in the thousands. */
export function whole(value) {
  return fixed(value, 0).replace(/\B(?=(\d{3})+$)/g, "\u2009");
}

/** A duration in at most two units: "7 h 53 min". */
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const two = (big, bigUnit, small, smallUnit) =>
    small ? `${big} ${bigUnit} ${small} ${smallUnit}` : `${big} ${bigUnit}`;
  if (s < MINUTE_S) return `${s} ${SECONDS}`;
  if (s < 10 * MINUTE_S) return two(Math.floor(s / MINUTE_S), MINUTES, s % MINUTE_S, SECONDS);
  if (s < HOUR_S) return `${Math.floor(s / MINUTE_S)} ${MINUTES}`;
  if (s < DAY_S) {
    return two(Math.floor(s / HOUR_S), HOURS, Math.floor((s % HOUR_S) / MINUTE_S), MINUTES);
  }
  return two(Math.floor(s / DAY_S), DAYS, Math.floor((s % DAY_S) / HOUR_S), HOURS);
}

const MONTHS = [
  marked("Jan"),
  marked("Feb"),
  marked("Mar"),
  marked("Apr"),
  marked("May"),
  marked("Jun"),
  marked("Jul"),
  marked("Aug"),
  marked("Sep"),
  marked("Oct"),
  marked("Nov"),
  marked("Dec"),
];

const two = (number) => String(number).padStart(2, "0");

/** "14:05:31" in the viewer's time zone, from seconds since 1970. */
export function clock(at_s) {
  const date = new Date(at_s * 1000);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** "14:05:31.482", for a picture that stands still. */
export function clockExact(at_s) {
  return `${clock(at_s)}.${String(Math.floor((at_s % 1) * 1000)).padStart(3, "0")}`;
}

/** "06:12", or with the day when it lies more than a day back. */
export function moment(at_s, now_s) {
  const time = clock(at_s).slice(0, 5);
  if (now_s - at_s < DAY_S) return time;
  const date = new Date(at_s * 1000);
  const day = t("{day} {month}", { day: date.getDate(), month: t(MONTHS[date.getMonth()]) });
  return `${day} ${time}`;
}

const STATES = {
  connecting: { word: t("Connecting"), tone: "busy", sentence: t("Opening the camera.") },
  live: { word: t("Live"), tone: "", sentence: "" },
  stalled: {
    word: t("Stalled"),
    tone: "warn",
    sentence: t("No new picture. The connection is open."),
  },
  offline: { word: t("Offline"), tone: "fault", sentence: t("The camera cannot be reached.") },
  ended: { word: t("Ended"), tone: "", sentence: t("The file was read to its end.") },
};

/**
 * A camera's state in words: word, shape, since when, what happened, what comes next.
 *
 * @param {object} camera one camera of a station message
 * @param {number} said_s the station's clock when it sent the message
 * @param {number} now_s the station's clock now
 */
export function cameraWords(camera, said_s, now_s) {
  const state = STATES[camera.state];
  const lasted = duration(now_s - camera.since_s);
  const recent = now_s - camera.since_s < HOUR_S / 4;
  const since = recent ? clock(camera.since_s) : moment(camera.since_s, now_s);
  return {
    word: state.word,
    tone: state.tone,
    icon: camera.state,
    since:
      camera.state === "live"
        ? t("since {since}, for {duration}", { since, duration: lasted })
        : t("for {duration}, since {since}", { since, duration: lasted }),
    sentence: camera.sentence ? `${camera.sentence}.` : state.sentence,
    next: [retryWords(camera, said_s, now_s), camera.next].filter(Boolean).join(" "),
  };
}

/** What stands for a camera's state while the station is not heard, or the session is over. */
export function unheardWords(silent_s, isOver) {
  return {
    word: isOver ? t("Signed out") : t("No connection"),
    tone: "",
    icon: isOver ? "offline" : "stalled",
    since: t("for {duration}; what the camera does is unknown", { duration: duration(silent_s) }),
    sentence: "",
    next: "",
  };
}

function retryWords(camera, said_s, now_s) {
  if (camera.retry_in_s === null) {
    const isTried = ["stalled", "offline"].includes(camera.state) && camera.attempt > 0;
    return isTried ? t("Connecting now, attempt {attempt}.", { attempt: whole(camera.attempt) }) : "";
  }
  const left = duration(Math.ceil(camera.retry_in_s - (now_s - said_s)));
  const attempt = whole(camera.attempt + 1);
  return t("Connects again in {duration}, attempt {attempt}.", { duration: left, attempt });
}

/** The engine in words, or null when there is nothing to look at. */
export function engineTrouble(engine) {
  const trouble = {
    building: { tone: "busy", icon: "busy", head: t("Building engine") },
    fallback: { tone: "warn", icon: "stalled", head: t("Engine in fallback") },
    failed: { tone: "fault", icon: "offline", head: t("Engine failed") },
  }[engine.state];
  if (!trouble) return null;
  const progress = engine.progress === null ? "" : `: ${fixed(engine.progress * 100, 0)} %`;
  return { ...trouble, head: trouble.head + progress };
}
