/** Small helpers for building and updating elements. Text only ever enters as text nodes. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with attributes and children; strings become text nodes.
 *
 * @param {string} tag
 * @param {Record<string, string>} attributes
 * @param {...(Node|string)} children
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** The same for SVG. */
export function shape(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** An icon, of the shapes in the page; decorative, since a word always stands beside it. */
export function icon(name) {
  return shape("svg", { class: "icon", "aria-hidden": "true", "data-icon": name }, use(name));
}

/** Exchanges the icon in place; untouched when it already is the one. */
export function setIcon(svg, name) {
  if (svg.dataset.icon === name) return;
  svg.dataset.icon = name;
  setAttribute(svg.querySelector("use"), "href", `#shape-${name}`);
}

function use(name) {
  return shape("use", { href: `#shape-${name}` });
}

/** Writes text only when it changes, so that selections and screen readers are left in peace. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Writes an attribute only when it changes. */
export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/**
 * Copies text to the clipboard, by a page without TLS as well.
 *
 * @param {Node} node whose text it is
 */
export function copyText(node) {
  if (navigator.clipboard) return navigator.clipboard.writeText(node.textContent);
  getSelection().selectAllChildren(node);
  document.execCommand("copy");
  return Promise.resolve();
}

/** Text with the names of variables in the fixed-width face, broken only after a double underscore. */
export function setTextWithVariables(node, text) {
  if (node.textContent === text) return;
  const parts = text.split(/(APPLIANCE_\w+)/);
  node.replaceChildren(...parts.map((part, i) => (i % 2 ? variable(part) : part)));
}

function variable(name) {
  const levels = name.split(/(?<=__)/);
  return element("code", {}, ...levels.flatMap((level) => [level, element("wbr")]));
}
