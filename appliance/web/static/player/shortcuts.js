/** The player's keys, and the dialog that lists them and can switch them off. */

import { element } from "../shared/dom.js";
import { isShortcut, shortcutsOn, switchShortcuts } from "../shared/keys.js";
import { t } from "../shared/texts.js";

const CAMERAS = [
  ["1 – 9", t("one camera")],
  ["0", t("all cameras")],
  ["[ ]", t("confidence down, up")],
  [t("Space"), t("full screen")],
];

/** Of the page around: its tabs, as the station wrote them for this person's role. */
function tabs() {
  const { shortcuts } = document.querySelector("#player").dataset;
  return JSON.parse(shortcuts).map(({ key, title }) => [t("G, then {key}", { key }), title]);
}

/**
 * @param {Record<string, () => void>} actions by key; "digit" takes the number
 * @param {(key: string) => void} passOn gets the keys that mean nothing here
 * @returns {(key: string) => void} presses a key that came from the page around
 */
export function listenToKeys(actions, passOn) {
  const dialog = keysDialog();
  const all = { ...actions, "?": () => (dialog.open ? dialog.close() : dialog.showModal()) };
  const press = (key) => {
    if (/^[1-9]$/.test(key)) actions.digit(Number(key));
    else all[key]?.();
  };
  addEventListener("keydown", (event) => {
    if (!isShortcut(event)) return;
    if (!/^[1-9]$/.test(event.key) && !(event.key in all)) {
      passOn(event.key);
      return;
    }
    if (event.key === " ") event.preventDefault(); // the page would scroll
    press(event.key);
  });
  return press;
}

function keysDialog() {
  const box = element("input", { type: "checkbox" });
  box.checked = shortcutsOn();
  box.addEventListener("change", () => switchShortcuts(box.checked));
  const rows = [...CAMERAS, ...tabs(), ["?", t("this list")]].map(([keys, what]) =>
    element("div", {}, element("dt", {}, element("kbd", {}, keys)), element("dd", {}, what)),
  );
  const dialog = element(
    "dialog",
    { class: "keys panel", "aria-label": t("Keys") },
    element("h2", {}, t("Keys")),
    element("dl", {}, ...rows),
    element("label", {}, box, t("Keys act on this page")),
    element("form", { method: "dialog" }, element("button", { class: "button" }, t("Close"))),
  );
  document.body.append(dialog);
  return dialog;
}
