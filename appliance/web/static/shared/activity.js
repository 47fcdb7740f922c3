/** Whether a person is here: a page that only refreshes itself must not keep a session alive. */

const PERIOD_MS = 20000; // how often it is worth saying

/**
 * Calls back when somebody presses or types, at most every 20 s; on a wish also at once.
 *
 * @param {() => void} onActive
 * @returns {() => void} says it now
 */
export function watchActivity(onActive) {
  let told_ms = -PERIOD_MS;
  const tell = () => {
    told_ms = performance.now();
    onActive();
  };
  const notice = () => {
    if (performance.now() - told_ms >= PERIOD_MS) tell();
  };
  for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, notice, { capture: true });
  return tell;
}
