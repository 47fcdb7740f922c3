/**
 * Light or dark, before the first paint: a classic script, first in <head>.
 *
 * The choice is "system", "light" or "dark", kept in localStorage, so every page of the origin
 * follows at once (the player in its iframe too). Buttons carry data-action="theme".
 * `document.documentElement.dataset.theme` tells the choice; "themechange" is fired on document.
 */
(() => {
  const KEY = "appliance-theme";
  const CHOICES = ["system", "light", "dark"];
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  function stored() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage can be forbidden by policy; the choice then lasts as long as the page
    }
  }

  function store(choice) {
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      root.dataset.themeKept = "no";
    }
  }

  function isDark() {
    if (new URLSearchParams(location.search).has("kiosk")) return true; // the host's own screen
    return root.dataset.theme === "dark" || (root.dataset.theme === "system" && system.matches);
  }

  function paint() {
    for (const element of [root, document.body]) {
      // Toggling without need would wake the observer below for ever.
      if (element && element.classList.contains("dark") !== isDark()) {
        element.classList.toggle("dark", isDark());
      }
    }
  }

  function choose(choice) {
    root.dataset.theme = CHOICES.includes(choice) ? choice : "system";
    paint();
    document.dispatchEvent(new Event("themechange"));
  }

  choose(stored());
  system.addEventListener("change", paint);
  addEventListener("storage", (event) => event.key === KEY && choose(event.newValue));
  addEventListener("click", (event) => {
    if (!event.target.closest?.("[data-action=theme]")) return;
    const next = CHOICES[(CHOICES.indexOf(root.dataset.theme) + 1) % CHOICES.length];
    store(next);
    choose(next);
  });
  addEventListener("DOMContentLoaded", () => {
    paint();
    // Gradio sets its own idea of the theme on body when it mounts.
    new MutationObserver(paint).observe(document.body, { attributeFilter: ["class"] });
  });
})();
