/** Detection: a box with its label around each object. */

import { fixed } from "../../shared/words.js";
import { placeLabel } from "../labels.js";

const BOX_PX = 2;
const HALO_PX = 4;
const PAD_PX = 4;
// In widths of a letter: a label needs room, a small picture shows boxes only.
const WIDE_ENOUGH_FOR_CLASS = 26;
const WIDE_ENOUGH_FOR_SCORE = 40;

export const detection = {
  /**
   * @param {CanvasRenderingContext2D} context in CSS pixels
   * @param {object} prediction `boxes`, `scores` and `labels`, one of each for each object
   * @param {number[]} drawn indexes of those to draw
   * @param {{x: number, y: number, width: number, scale: number}} frame the picture in the canvas
   * @param {CSSStyleDeclaration} style of the canvas
   */
  paint(context, { boxes, scores, labels }, drawn, frame, style) {
    const onScreen = drawn.map((index) => toScreen(boxes[index], frame));
    paintBoxes(context, onScreen, style);
    const letters = frame.width / parseFloat(style.fontSize);
    if (letters < WIDE_ENOUGH_FOR_CLASS) return;
    const texts = drawn.map((index) => {
      const name = labels[index];
      return letters < WIDE_ENOUGH_FOR_SCORE ? name : `${name} ${fixed(scores[index], 2)}`;
    });
    paintLabels(context, onScreen, texts, frame, style);
  },
};

function toScreen([x1, y1, x2, y2], { x, y, scale }) {
  return { x1: x + x1 * scale, y1: y + y1 * scale, x2: x + x2 * scale, y2: y + y2 * scale };
}

function paintBoxes(context, boxes, style) {
  for (const [width, color] of [[HALO_PX, "--box-halo"], [BOX_PX, "--box"]]) {
    context.lineWidth = width;
    context.strokeStyle = style.getPropertyValue(color);
    for (const { x1, y1, x2, y2 } of boxes) context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  }
}

function paintLabels(context, boxes, texts, frame, style) {
  const font_px = parseFloat(style.fontSize);
  const height = Math.round(font_px * 1.4);
  const taken = [];
  context.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  context.textBaseline = "middle";
  boxes.forEach((box, index) => {
    const width = Math.ceil(context.measureText(texts[index]).width) + 2 * PAD_PX;
    const place = placeLabel(box, { width, height }, frame, taken);
    taken.push(place);
    context.fillStyle = style.getPropertyValue("--box-halo");
    context.fillRect(place.x, place.y, width, height);
    context.fillStyle = style.getPropertyValue("--on-veil");
    context.fillText(texts[index], place.x + PAD_PX, place.y + height / 2 + 0.5);
  });
}
