/** The cameras in their fixed places: all of them, or one enlarged. */

import { Tile } from "./tile.js";

export class Wall {
  /** Key of the enlarged camera; null shows all. */
  enlarged = null;
  #tiles = new Map();
  #element;
  #does;

  /**
   * @param {Element} element holds the tiles
   * @param {{repaint: (key: string) => void, changed: () => void}} does
   */
  constructor(element, does) {
    this.#element = element;
    this.#does = does;
  }

  /** Takes the station's list of cameras; tiles that exist keep their picture. */
  arrange(cameras) {
    const keys = cameras.map((camera) => camera.key);
    if (keys.join() === [...this.#tiles.keys()].join()) return;
    const before = this.#tiles;
    this.#tiles = new Map(keys.map((key, i) => [key, this.#tile(before.get(key), key, i + 1)]));
    this.#element.replaceChildren(...[...this.#tiles.values()].map((tile) => tile.element));
    if (!this.#tiles.has(this.enlarged)) this.enlarged = null;
    this.#show();
  }

  tile(key) {
    return this.#tiles.get(key);
  }

  /** Keys of the cameras on the screen. */
  get shown() {
    const keys = [...this.#tiles.keys()];
    return this.single === null ? keys : [this.single];
  }

  /** Key of the one camera on the screen, or null when there are several. */
  get single() {
    return this.#tiles.size === 1 ? [...this.#tiles.keys()][0] : this.enlarged;
  }

  get hasSeveral() {
    return this.#tiles.size > 1;
  }

  /** Enlarges the camera with this key; null shows all. */
  enlarge(key) {
    this.enlarged = key;
    this.#show();
  }

  /** Enlarges the camera with this number, from 1; unknown numbers do nothing. */
  enlargeNumber(number) {
    const key = [...this.#tiles.keys()][number - 1];
    if (key !== undefined) this.enlarge(key);
  }

  #tile(existing, key, number) {
    if (existing?.number === number) return existing;
    return new Tile(number, {
      enlarge: () => this.single === null && this.enlarge(key),
      repaint: () => this.#does.repaint(key),
    });
  }

  #show() {
    const count = this.shown.length;
    this.#element.dataset.columns = count === 1 ? 1 : count <= 4 ? 2 : count <= 9 ? 3 : 4;
    this.#element.classList.toggle("pair", count === 2);
    for (const [key, tile] of this.#tiles) tile.element.hidden = !this.shown.includes(key);
    this.#does.changed();
  }
}
