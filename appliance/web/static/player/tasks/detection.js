/** Detection: a box with its label around each object. */

import { t } from "../../shared/texts.js";
import { fixed, whole } from "../../shared/words.js";
import { LabelPen, labelText, lettersIn, placeLabel } from "../labels.js";

const BOX_PX = 2;
const HALO_PX = 4;
const WIDE_ENOUGH_FOR_CLASS = 26; // letters: a label needs room, a small picture shows boxes only

export const detection = {
  isCounted: true,

  paint(context, { boxes, scores, labels }, drawn, frame, style) {
    const onScreen = drawn.map((index) => toScreen(boxes[index], frame));
    paintBoxes(context, onScreen, style);
    if (lettersIn(frame, style) < WIDE_ENOUGH_FOR_CLASS) return;
    const texts = drawn.map((index) => labelText(labels[index], scores[index], frame, style));
    paintLabels(context, onScreen, texts, frame, style);
  },

  text(seen) {
    return [...seen].map(([label, { count }]) => `${whole(count)} ${label}`).join(", ");
  },

  figure(seen) {
    const objects = [...seen.values()].reduce((sum, { count }) => sum + count, 0);
    return { value: whole(objects), word: t("objects") };
  },

  things: ({ detections }) => detections,
  columns: ["x, y", t("w × h")],

  cells({ box_xyxy_px: [left, top, right, bottom] }) {
    return [
      `${fixed(left, 0)}, ${fixed(top, 0)}`,
      `${fixed(right - left, 0)} × ${fixed(bottom - top, 0)}`,
    ];
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
  const pen = new LabelPen(context, style);
  const taken = [];
  boxes.forEach((box, index) => {
    const place = placeLabel(box, pen.size(texts[index]), frame, taken);
    taken.push(place);
    pen.write(texts[index], place);
  });
}
