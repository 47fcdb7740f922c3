/** Paints one picture with its prediction onto a canvas. Both belong together. */

import { TASKS } from "./tasks.js";

/**
 * @param {HTMLCanvasElement} canvas sized in device pixels
 * @param {object} picture header of a picture message plus `bitmap`
 * @param {number[]} drawn indexes of the things in the prediction to draw
 */
export function paint(canvas, picture, drawn) {
  const context = canvas.getContext("2d");
  const ratio = canvas.width / canvas.clientWidth;
  const frame = fit(picture.size_wh, canvas.clientWidth, canvas.clientHeight);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  context.drawImage(picture.bitmap, frame.x, frame.y, frame.width, frame.height);
  TASKS[picture.task].paint(context, picture.prediction, drawn, frame, getComputedStyle(canvas));
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
