/** The station's clock, carried on between its messages; the viewer's own clock may be wrong. */
export class StationClock {
  #offset_s = Date.now() / 1000 - performance.now() / 1000;

  /** @param {number} now_s the station's wall clock, as a message brought it */
  set(now_s) {
    this.#offset_s = now_s - performance.now() / 1000;
  }

  /** The station's wall clock now, in seconds since 1970. */
  now_s() {
    return performance.now() / 1000 + this.#offset_s;
  }
}
