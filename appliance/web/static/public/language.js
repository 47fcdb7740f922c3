/**
 * The visitor's language: a classic script, in <head> before all that has texts.
 *
 * Gradio's own texts follow the browser's language; here they follow the page's, which may be
 * another one. A choice is kept in a cookie, since the server makes the pages.
 */
(() => {
  const COOKIE = "appliance-language";
  const YEAR_S = 365 * 86400;
  const { lang } = document.documentElement;
  Object.defineProperty(navigator, "language", { get: () => lang });
  Object.defineProperty(navigator, "languages", { get: () => [lang] });

  addEventListener("change", (event) => {
    const choice = event.target.closest?.("[data-action=language]");
    if (!choice) return;
    const safe = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `${COOKIE}=${choice.value}; path=/; max-age=${YEAR_S}; samesite=lax${safe}`;
    location.reload();
  });
})();
