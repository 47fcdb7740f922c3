/** What is said aloud: changes of state, one per camera in 10 s; numbers never. */

import { marked, t } from "../shared/texts.js";

const QUIET_MS = 10000;
const CONNECTION = {
  lost: t("No connection to the station."),
  full: t("Too many viewers. No live picture."),
  over: t("Signed out."),
};
const CAMERA = {
  connecting: marked("{camera} is connecting."),
  live: marked("{camera} is live."),
  stalled: marked("{camera} is stalled."),
  offline: marked("{camera} is offline."),
  ended: marked("{camera} is ended."),
};
const ENGINE = {
  building: t("Engine is building."),
  running: t("Engine is running."),
  fallback: t("Engine is fallback."),
  failed: t("Engine is failed."),
};

export class Announcer {
  #cameras = new Map();
  #engine = null;
  #connection = "opening";

  /** @returns {string} what to say politely about a station message; mostly nothing */
  station(message) {
    const sentences = message.cameras.map((camera) => this.#camera(camera)).filter(Boolean);
    const { state } = message.engine;
    if (this.#engine !== null && this.#engine !== state) sentences.push(ENGINE[state]);
    this.#engine = state;
    return sentences.join(" ");
  }

  /** @returns {string|null} what to say at once about the connection; null: nothing new */
  connection(state) {
    if (state === this.#connection) return null;
    const wasLost = this.#connection in CONNECTION;
    this.#connection = state;
    return CONNECTION[state] ?? (wasLost ? t("Connected again.") : null);
  }

  #camera({ key, name, state }) {
    const now_ms = performance.now();
    const said = this.#cameras.get(key);
    if (said === undefined) {
      this.#cameras.set(key, { state, at_ms: -Infinity });
      return "";
    }
    // A camera that flaps is heard again when its 10 s are over, with the state it then has.
    if (said.state === state || now_ms - said.at_ms < QUIET_MS) return "";
    this.#cameras.set(key, { state, at_ms: now_ms });
    return t(CAMERA[state], { camera: name });
  }
}
