/** The page's one connection to the station: opens it, keeps it, reads it. */

const RETRY_MS = 2000;
const RETRY_FULL_MS = 10000;
// The station speaks twice a second. Silence means a dead link even when the socket looks open.
const SILENCE_MS = 5000;
const SESSION_OVER = 4401;
const TOO_MANY_VIEWERS = 4429;

/**
 * States: "opening" (first try), "open", "lost", "full" (too many viewers), "over" (signed out;
 * the only one that is final).
 */
export class Connection {
  state = "opening";
  /** Why the session is over, in a word of the station's; "" where it did not say. */
  reason = "";
  #heard_ms = performance.now();
  #socket = null;
  #alive_ms = 0;
  #watched = [];
  #handlers;
  #url;

  /**
   * @param {string} url of the WebSocket
   * @param {object} handlers
   * @param {(message: object) => void} handlers.onStation
   * @param {(header: object, jpeg: Blob, acknowledge: () => void) => void} handlers.onPicture
   * @param {(state: string) => void} handlers.onState
   */
  constructor(url, handlers) {
    this.#url = url;
    this.#handlers = handlers;
  }

  start() {
    this.#open();
    setInterval(() => this.#checkSilence(), 1000);
  }

  /** Seconds since the station was last heard. */
  silent_s() {
    return (performance.now() - this.#heard_ms) / 1000;
  }

  /** Names the cameras whose pictures to send; none means pause. Holds across reconnects. */
  watch(keys) {
    if (keys.join() === this.#watched.join()) return;
    this.#watched = keys;
    this.#send(this.#socket, { watch: keys });
  }

  /** Tells the station that a person is here. */
  stay() {
    this.#send(this.#socket, { active: true });
  }

  #open() {
    const socket = new WebSocket(this.#url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#alive_ms = performance.now();
    socket.onopen = () => this.#send(socket, { watch: this.#watched });
    socket.onmessage = (event) => this.#receive(socket, event.data);
    socket.onclose = (event) => this.#closed(event.code, event.reason);
  }

  #send(socket, message) {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  }

  #receive(socket, data) {
    this.#alive_ms = this.#heard_ms = performance.now();
    this.#become("open");
    if (typeof data === "string") {
      this.#handlers.onStation(JSON.parse(data));
      return;
    }
    const { header, jpeg } = splitPicture(data);
    // Bound to its socket: a credit must not reach the next connection.
    this.#handlers.onPicture(header, jpeg, () => this.#send(socket, { ack: header.camera }));
  }

  #checkSilence() {
    if (this.#socket === null || performance.now() - this.#alive_ms < SILENCE_MS) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#closed(0);
  }

  #closed(code, reason = "") {
    this.#socket = null;
    if (code === SESSION_OVER) {
      this.reason = reason;
      this.#become("over");
      return;
    }
    const full = code === TOO_MANY_VIEWERS;
    this.#become(full ? "full" : "lost");
    setTimeout(() => this.#open(), full ? RETRY_FULL_MS : RETRY_MS);
  }

  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.#handlers.onState(state);
  }
}

/** Takes a binary message apart: length (uint32, big-endian), JSON header, JPEG. */
export function splitPicture(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return { header, jpeg: new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" }) };
}
