/** The tab that is open, before the first paint: see outer/tabs.js. Pages without tabs name none. */
(() => {
  const first = document.currentScript.dataset.tab;
  if (first === undefined) return;
  let kept = null;
  try {
    kept = sessionStorage.getItem("appliance-page");
  } catch {
    // Storage can be forbidden by policy.
  }
  const root = document.documentElement;
  root.dataset.page = kept ?? first;
  root.toggleAttribute("data-first", root.dataset.page === first);
})();
