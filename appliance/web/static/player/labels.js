/** Labels: what they say, how they look, and where they go. */

import { fixed } from "../shared/words.js";

const PAD_PX = 4;
const WIDE_ENOUGH_FOR_SCORE = 40; // letters: a small picture has room for names only

/** How many letters of a label a picture is wide. */
export function lettersIn(frame, style) {
  return frame.width / parseFloat(style.fontSize);
}

/** What a label says: name and score, or the name alone where there is no room. */
export function labelText(name, score, frame, style) {
  return lettersIn(frame, style) < WIDE_ENOUGH_FOR_SCORE ? name : `${name} ${fixed(score, 2)}`;
}

/** Writes labels: light letters on a dark ground, readable on every picture. */
export class LabelPen {
  pad = PAD_PX;
  #context;
  #height;
  #ground;
  #letters;

  /**
   * @param {CanvasRenderingContext2D} context in CSS pixels
   * @param {CSSStyleDeclaration} style of the canvas
   */
  constructor(context, style) {
    this.#context = context;
    this.#height = Math.round(parseFloat(style.fontSize) * 1.4);
    this.#ground = style.getPropertyValue("--box-halo");
    this.#letters = style.getPropertyValue("--on-veil");
    context.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    context.textBaseline = "middle";
  }

  /** How wide and high a label is. */
  size(text) {
    const width = Math.ceil(this.#context.measureText(text).width) + 2 * PAD_PX;
    return { width, height: this.#height };
  }

  write(text, { x, y, width, height }) {
    this.#context.fillStyle = this.#ground;
    this.#context.fillRect(x, y, width, height);
    this.#context.fillStyle = this.#letters;
    this.#context.fillText(text, x + PAD_PX, y + height / 2 + 0.5);
  }
}

/**
 * A place for one label.
 *
 * @param {{x1: number, y1: number, x2: number, y2: number}} box in screen pixels
 * @param {{width: number, height: number}} size of the label
 * @param {{x: number, y: number, width: number, height: number}} frame the picture on the screen
 * @param {{x: number, y: number, width: number, height: number}[]} taken labels placed before
 * @returns {{x: number, y: number, width: number, height: number}}
 */
export function placeLabel(box, size, frame, taken) {
  const above = box.y1 - size.height;
  const right = box.x2 - size.width;
  const places = [
    [box.x1, above],
    [box.x1, box.y2],
    [right, above],
    [right, box.y2],
    [box.x1, box.y1],
    [box.x1, box.y2 - size.height],
  ];
  let best = null;
  let least = Infinity;
  for (const [x, y] of places) {
    const place = {
      x: clamp(x, frame.x, frame.x + frame.width - size.width),
      y: clamp(y, frame.y, frame.y + frame.height - size.height),
      ...size,
    };
    // Pushed back into the frame, it covers what it names: better than another label, no more.
    const pushed = Math.abs(place.y - y) * size.width;
    const cost = taken.reduce((sum, other) => sum + 4 * overlap(place, other), pushed);
    if (cost < least) [best, least] = [place, cost];
    if (least === 0) break;
  }
  return best;
}

function clamp(value, low, high) {
  return Math.max(low, Math.min(value, high));
}

function overlap(a, b) {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  return width > 0 && height > 0 ? width * height : 0;
}
