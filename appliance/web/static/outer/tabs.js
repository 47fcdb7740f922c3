/**
 * Which tab is open: Gradio makes the tabs, the frame of the player lies beside them.
 *
 * `<html data-page>` names it, kept for as long as the browser tab, so that a page that is loaded
 * again shows what it showed; public/tab.js sets it before the first paint. `<html data-first>`
 * says, until there are tabs, that it is the first one.
 */

const KEY = "appliance-page";
const WAIT_MS = 5000; // for a tab that this person may not have, once there are tabs

export class Tabs {
  #wanted = document.documentElement.dataset.page;
  #since_ms = null; // when there first were tabs

  start() {
    new MutationObserver(() => this.#look()).observe(document.body, {
      attributeFilter: ["aria-selected"],
      childList: true,
      subtree: true,
    });
    this.#look();
  }

  /** Opens the tab with this name, where it is there. */
  open(name) {
    document.getElementById(`page-${name}-button`)?.click();
  }

  /** The name of the tab that this key opens after "G"; null where it opens none. */
  by(key) {
    const { letters } = document.querySelector(".tabs-place").dataset;
    return JSON.parse(letters)[key.toLowerCase()] ?? null;
  }

  /** The name of the open tab. */
  get open_name() {
    return document.documentElement.dataset.page;
  }

  /** What is on the tabs takes nothing any more: the session is over. */
  freeze() {
    for (const panel of document.querySelectorAll(".pages > .tabitem")) panel.inert = true;
  }

  #look() {
    const selected = document.querySelector(".pages [role=tab][aria-selected=true]");
    if (selected === null) return;
    const name = selected.id.split("-")[1];
    document.documentElement.removeAttribute("data-first");
    this.#since_ms ??= performance.now();
    if (this.#wanted !== null && this.#wanted !== name) {
      this.open(this.#wanted);
      if (performance.now() - this.#since_ms < WAIT_MS) return;
    }
    this.#wanted = null;
    if (document.documentElement.dataset.page === name) return;
    document.documentElement.dataset.page = name;
    sessionStorage.setItem(KEY, name);
  }
}
