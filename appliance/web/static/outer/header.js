/** The bar at the top. Gradio may render it late or again, so it is looked up at every update. */

import { element, setAttribute, setIcon, setText } from "../shared/dom.js";
import { t } from "../shared/texts.js";
import { clock } from "../shared/words.js";

const THEMES = {
  system: t("Theme: system"),
  light: t("Theme: light"),
  dark: t("Theme: dark"),
};
const ROLES = { viewer: t("viewer"), operator: t("operator"), admin: t("admin") };

/** Writes chips, clock and user into the bar, where it exists. */
export function updateHeader({ chips, station, now_s }) {
  const bar = document.getElementById("station-bar");
  if (bar === null) return;
  setText(bar.querySelector("[data-field=clock]"), clock(now_s));
  setText(bar.querySelector("[data-field=user]"), `${station.user} · ${ROLES[station.role]}`);
  for (const [name, chip] of Object.entries(chips)) {
    updateChip(bar.querySelector(`[data-chip=${name}]`), chip);
  }
}

/** Says something in a live region: "polite" or "assertive". */
export function say(region, text) {
  const place = document.querySelector(`#station-bar [data-region=${region}]`);
  if (place !== null) place.textContent = text;
}

/** Keeps the theme button's name true. */
export function nameThemeButton() {
  const button = document.querySelector("#station-bar [data-action=theme]");
  if (button === null) return;
  const name = THEMES[document.documentElement.dataset.theme];
  setAttribute(button, "aria-label", name);
  setAttribute(button, "title", name);
}

function updateChip(button, chip) {
  button.hidden = chip === null;
  if (chip === null) return;
  const { tone, icon, parts } = chip;
  button.dataset.tone = tone;
  setIcon(button.querySelector("svg"), icon);
  const words = button.querySelector("span");
  if (words.textContent === parts.map((part) => part.text).join("")) return;
  words.replaceChildren(...parts.map(partNode));
}

function partNode({ text, strong, wide }) {
  const attributes = wide ? { class: "wide" } : {};
  return strong || wide ? element(strong ? "b" : "span", attributes, text) : text;
}
