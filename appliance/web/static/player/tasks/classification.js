/** Classification: the best classes of a picture, as lines in its corner. */

import { t } from "../../shared/texts.js";
import { DASH, fixed } from "../../shared/words.js";
import { LabelPen, labelText } from "../labels.js";

const LINES = 5; // at most; a picture with forty labels is still to be seen

export const classification = {
  isCounted: false,

  paint(context, { scores, labels }, drawn, frame, style) {
    const pen = new LabelPen(context, style);
    const x = frame.x + pen.pad;
    let y = frame.y + pen.pad;
    for (const index of drawn.slice(0, LINES)) {
      const text = labelText(labels[index], scores[index], frame, style);
      const place = { x, y, ...pen.size(text) };
      if (y + place.height > frame.y + frame.height) return;
      pen.write(text, place);
      y += place.height;
    }
  },

  text(seen) {
    return [...seen].map(([label, { score }]) => `${label} ${fixed(score, 2)}`).join(", ");
  },

  figure(seen) {
    const [best] = seen;
    if (!best) return { value: DASH, word: t("best class") };
    const [label, { score }] = best;
    return { value: label, word: t("best class, {score}", { score: fixed(score, 2) }) };
  },

  things: ({ classes }) => classes,
  columns: [],
  cells: () => [],
};
