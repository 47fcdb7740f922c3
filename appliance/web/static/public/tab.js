/** The tab that is open, before the first paint: see outer/tabs.js. */
document.documentElement.dataset.page = (() => {
  try {
    return sessionStorage.getItem("appliance-page") ?? "live";
  } catch {
    return "live"; // storage can be forbidden by policy
  }
})();
