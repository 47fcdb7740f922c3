/** Keeps the screen lit while it shows the page; browsers let go whenever it is hidden. */

export function stayAwake() {
  const ask = async () => {
    if (document.visibilityState !== "visible") return;
    try {
      await navigator.wakeLock?.request("screen");
    } catch {
      // Refused, as on low battery: the screen then follows the system's own rules.
    }
  };
  document.addEventListener("visibilitychange", ask);
  ask();
}
