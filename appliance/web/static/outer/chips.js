/** The status strip in words: what each chip says of the station, worst state first. */

import { plural, t } from "../shared/texts.js";
import { DASH, fixed } from "../shared/words.js";

const DISK_WARN_PERCENT = 90;
const ENGINE = t("Engine");
const OVERRIDE = t("Override");
const DISK = t("Disk");
const ORDER = [
  { state: "offline", words: t("offline"), tone: "fault" },
  { state: "stalled", words: t("stalled"), tone: "warn" },
  { state: "connecting", words: t("connecting"), tone: "busy" },
  { state: "ended", words: t("ended"), tone: "" },
  { state: "live", words: t("live"), tone: "" },
];

/**
 * @typedef {{tone: string, icon: string, parts: Part[]}} Chip
 * @typedef {{text: string, strong?: boolean, wide?: boolean}} Part
 *   `wide` parts are left out on narrow screens.
 */

/** @returns {Record<string, Chip|null>} chips by name, for a station message; null hides one */
export function chips(station) {
  return {
    cameras: cameras(station.cameras),
    engine: engine(station.engine),
    override: override(station.override),
    disk: disk(station.disk),
  };
}

/** The chips while the station is not heard: one says so, the others know nothing. */
export function lostChips(state) {
  const unknown = (name) => ({ tone: "", icon: "connecting", parts: [plain(`${name} `), strong(DASH)] });
  const lost = { tone: "warn", icon: "stalled", parts: [strong(t("No connection"))] };
  const over = { tone: "fault", icon: "offline", parts: [strong(t("Signed out"))] };
  return {
    cameras: state === "over" ? over : lost,
    engine: unknown(ENGINE),
    override: null,
    disk: unknown(DISK),
  };
}

function cameras(list) {
  const found = ORDER.map((entry) => ({
    ...entry,
    count: list.filter((camera) => camera.state === entry.state).length,
  })).filter((entry) => entry.count > 0);
  if (found.length === 0) return { tone: "", icon: "ended", parts: [plain(t("No camera"))] };
  const [worst] = found;
  const noun = plural("camera", "cameras", list.length);
  const parts = found.flatMap(({ count, words, tone }, index) => {
    // Beside trouble, what is well can be left out.
    const wide = tone === "" && worst.tone !== "";
    return [
      { text: `${index ? "\u2002" : ""}${count}`, strong: true, wide },
      ...(found.length === 1 ? [{ text: ` ${noun}`, wide: true }] : []),
      { text: ` ${words}`, wide },
    ];
  });
  return { tone: worst.tone, icon: worst.state, parts };
}

function engine({ state, running, precision, progress }) {
  switch (state) {
    case "building": {
      const done = progress === null ? t("building") : `${fixed(progress * 100, 0)} %`;
      return { tone: "busy", icon: "busy", parts: [plain(`${ENGINE} `), strong(done)] };
    }
    case "fallback":
      return { tone: "warn", icon: "stalled", parts: [wide(`${ENGINE}: `), strong(t("fallback"))] };
    case "failed":
      return { tone: "fault", icon: "offline", parts: [wide(`${ENGINE} `), strong(t("failed"))] };
    default:
      return { tone: "", icon: "ok", parts: [wide(`${running} `), strong(precision)] };
  }
}

function override(it) {
  if (it === null) return null;
  const parts = [plain(`${OVERRIDE} `), strong(fixed(it.confidence, 2))];
  return { tone: "busy", icon: "busy", parts };
}

function disk({ used_percent: used }) {
  const full = used >= DISK_WARN_PERCENT;
  const parts = [wide(`${DISK} `), strong(`${fixed(used, 0)} %`)];
  return { tone: full ? "warn" : "", icon: full ? "stalled" : "ok", parts };
}

const plain = (text) => ({ text });
const strong = (text) => ({ text, strong: true });
const wide = (text) => ({ text, wide: true });
