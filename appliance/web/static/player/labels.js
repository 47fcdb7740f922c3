/** Where labels go: inside the picture, and off each other as far as there is room. */

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
