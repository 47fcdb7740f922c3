/** Paints one picture with its boxes and labels onto a canvas. Boxes and picture belong together. */

import { fixed } from "../shared/words.js";
import { placeLabel } from "./labels.js";

const BOX_PX = 2;
const HALO_PX = 4;
const PAD_PX = 4;
// In widths of a letter: a label needs room, a small picture shows boxes only.
const WIDE_ENOUGH_FOR_CLASS = 26;
const WIDE_ENOUGH_FOR_SCORE = 40;

/**
 * @param {HTMLCanvasElement} canvas sized in device pixels
 * @param {object} picture header of a picture message plus `bitmap`
 * @param {number[]} drawn indexes of the boxes to draw
 */
export function paint(canvas, picture, drawn) {
  const context = canvas.getContext("2d");
  const ratio = canvas.width / canvas.clientWidth;
  const frame = fit(picture.size_wh, canvas.clientWidth, canvas.clientHeight);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  context.drawImage(picture.bitmap, frame.x, frame.y, frame.width, frame.height);
  const boxes = drawn.map((index) => toScreen(picture.boxes[index], frame));
  const style = getComputedStyle(canvas);
  paintBoxes(context, boxes, style);
  const letters = frame.width / parseFloat(style.fontSize);
  if (letters < WIDE_ENOUGH_FOR_CLASS) return;
  const texts = drawn.map((index) => {
    const name = picture.labels[index];
    return letters < WIDE_ENOUGH_FOR_SCORE ? name : `${name} ${fixed(picture.scores[index], 2)}`;
  });
  paintLabels(context, boxes, texts, frame, style);
}

/** The largest place of a picture in a canvas: whole, centered, never cropped. */
function fit([width, height], canvasWidth, canvasHeight) {
  const scale = Math.min(canvasWidth / width, canvasHeight / height);
  return {
    x: (canvasWidth - width * scale) / 2,
    y: (canvasHeight - height * scale) / 2,
    width: width * scale,
    height: height * scale,
    scale,
  };
}

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
