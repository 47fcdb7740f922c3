/** Single-key shortcuts: off while typing, and off altogether where the viewer says so. */

const OFF = "appliance-keys-off";

/** Whether shortcuts are on for this browser. */
export function shortcutsOn() {
  return localStorage.getItem(OFF) === null;
}

/** Switches shortcuts on or off for this browser. */
export function switchShortcuts(on) {
  if (on) localStorage.removeItem(OFF);
  else localStorage.setItem(OFF, "1");
}

/** Whether a key press means a shortcut, rather than text, a control or the browser's own. */
export function isShortcut(event) {
  if (!shortcutsOn() || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) {
    return false;
  }
  if (event.target.closest("input:not([type=range]), textarea, select, [contenteditable=true]")) {
    return false;
  }
  // Space and Enter belong to the control that has the focus.
  return !([" ", "Enter"].includes(event.key) && event.target.closest("button, a, [role=tab]"));
}
