/** Whether anybody can see this page: pictures that nobody sees are not asked for. */

/** Calls back with true or false, at once and on every change. */
export function watchVisibility(onChange) {
  let inView = true;
  let told = null;
  const tell = () => {
    const visible = inView && document.visibilityState === "visible";
    if (visible !== told) onChange((told = visible));
  };
  document.addEventListener("visibilitychange", tell);
  const frame = window.frameElement;
  if (frame !== null) {
    // The parent watches the frame: a frame in a hidden tab has no layout to observe itself by.
    const observer = new window.parent.IntersectionObserver((entries) => {
      inView = entries.at(-1).isIntersecting;
      tell();
    });
    observer.observe(frame);
  }
  tell();
}
