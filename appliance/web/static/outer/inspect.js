/**
 * The Inspect page: one picture, sent to the station, and what a model sees in it.
 *
 * The picture stays in the browser and is sent anew for each question; the station keeps nothing.
 */

import { element, setText } from "../shared/dom.js";
import { AskError, ask } from "../shared/asking.js";
import { t } from "../shared/texts.js";
import { clock, fixed, milliseconds, whole } from "../shared/words.js";
import { TASKS } from "../player/tasks.js";

const SETTLED_MS = 250; // a slider that moves asks nothing yet
const SLOW = [
  [1000, t("The station looks at it.")],
  [10000, t("Still waiting: the cameras go first.")],
];

class InspectPage extends HTMLElement {
  #picture = null; // {blob, name}
  #asking = null; // aborts the question under way
  #settling = 0;
  #urls = [];
  #station = null;
  #chosen = false; // whether a person has moved the slider

  connectedCallback() {
    this.#listen();
    document.addEventListener("paste", this.#paste);
    document.addEventListener("station", this.#hear);
  }

  disconnectedCallback() {
    document.removeEventListener("paste", this.#paste);
    document.removeEventListener("station", this.#hear);
    this.#asking?.abort();
    this.#urls.forEach((url) => URL.revokeObjectURL(url));
  }

  #listen() {
    const file = this.querySelector("input[type=file]");
    file.addEventListener("change", () => {
      if (file.files.length) this.#bring(file.files[0]);
      file.value = ""; // the same file again is a new choice
    });
    this.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.toggleAttribute("data-over", true);
    });
    this.addEventListener("dragleave", () => this.toggleAttribute("data-over", false));
    this.addEventListener("drop", (event) => {
      event.preventDefault();
      this.toggleAttribute("data-over", false);
      if (event.dataTransfer.files.length) this.#bring(event.dataTransfer.files[0]);
    });
    this.#field("model").addEventListener("change", () => this.#inspect());
    const confidence = this.#field("confidence");
    confidence.addEventListener("input", () => {
      this.#chosen = true;
      this.#showConfidence();
      clearTimeout(this.#settling);
      this.#settling = setTimeout(() => this.#inspect(), SETTLED_MS);
    });
    this.querySelector("[data-do=take]")?.addEventListener("click", () => this.#take());
    this.querySelector("[data-do=use]").addEventListener("click", () => this.#use());
    this.#showConfidence();
  }

  #paste = (event) => {
    if (!this.checkVisibility()) return;
    const [picture] = event.clipboardData.files;
    if (picture) this.#bring(picture);
  };

  #hear = ({ detail }) => {
    this.#station = detail;
    if (this.#chosen) return;
    this.#field("confidence").value = detail.confidence;
    this.#showConfidence();
  };

  #bring(file) {
    const most = Number(this.dataset.megabytes);
    if (file.size > most * 1e6) {
      this.#fail(t("The file is larger than {most} MB. Save it smaller.", { most }));
      return;
    }
    this.#picture = { blob: file, name: file.name || t("pasted") };
    this.#inspect();
  }

  async #take() {
    const camera = this.#field("camera");
    const name = camera.dataset.name ?? camera.selectedOptions[0].textContent;
    await this.#during(async (signal) => {
      const url = `${this.dataset.base}/api/cameras/${camera.value}/picture`;
      const blob = await (await ask(url, { signal })).blob();
      this.#picture = { blob, name: `${name}, ${clock(Date.now() / 1000)}` };
    }) && this.#inspect();
  }

  async #inspect() {
    if (this.#picture === null) return;
    const { blob, name } = this.#picture;
    const question = new URLSearchParams({
      model: this.#field("model").value,
      confidence: this.#field("confidence").value,
    });
    await this.#during(async (signal) => {
      const url = `${this.dataset.base}/api/inspect?${question}`;
      const answer = await ask(url, { method: "POST", body: blob, signal });
      this.#show(await answer.json(), blob, name);
    });
  }

  /** Does what takes a while; a new question ends the one before. @returns whether it is done */
  async #during(work) {
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    const slow = SLOW.map(([after_ms, text]) => setTimeout(() => this.#say(text), after_ms));
    try {
      await work(asking.signal);
      return true;
    } catch (error) {
      if (asking.signal.aborted) return false;
      if (!(error instanceof AskError)) throw error;
      this.#fail(error.message);
      return false;
    } finally {
      slow.forEach(clearTimeout);
    }
  }

  #show(found, blob, name) {
    const { picture, ...rest } = found;
    const task = TASKS[found.task];
    const things = task.things(found);
    const jpeg = new Blob([Uint8Array.from(atob(picture.split(",")[1]), (c) => c.charCodeAt(0))], {
      type: "image/jpeg",
    });
    const json = new Blob([JSON.stringify({ name, ...rest }, null, 2)], {
      type: "application/json",
    });
    this.#urls.forEach((url) => URL.revokeObjectURL(url));
    this.#urls = [jpeg, json].map((each) => URL.createObjectURL(each));
    const image = this.querySelector(".stage img");
    image.src = this.#urls[0];
    image.alt = altText(things);
    image.hidden = false;
    this.#say("");
    setText(this.#place("name"), name);
    setText(this.#place("size"), `${found.picture_wh.join(" × ")}, ${size(blob.size)}`);
    setText(this.#place("facts"), facts(found));
    this.#showRows(task, things, found.below_confidence);
    const base = name.replace(/\.[A-Za-z0-9]+$/, "").replace(/[^\p{L}\p{N}]+/gu, "-");
    this.#offer("picture", this.#urls[0], `${base}-result.jpg`);
    this.#offer("json", this.#urls[1], `${base}-result.json`);
  }

  #showRows(task, things, below) {
    const total = things.length + below;
    setText(
      this.#place("count"),
      below ? t("{shown} of {total}", { shown: things.length, total }) : String(total),
    );
    for (const title of this.querySelectorAll("th[data-own]")) title.remove();
    this.querySelector("thead tr").append(...task.columns.map(ownColumn));
    this.querySelector("tbody").replaceChildren(...things.map((thing, i) => row(task, thing, i)));
    const rest = this.#place("rest");
    const nothing = things.length === 0 && below === 0;
    rest.hidden = below === 0 && !nothing;
    setText(
      rest,
      nothing
        ? t("Nothing that this model knows.")
        : t("Not shown: {count} below the confidence.", { count: whole(below) }),
    );
  }

  /** What went wrong; the result of another picture would look as if it were this one's. */
  #fail(text) {
    this.querySelector(".stage img").hidden = true;
    this.#say(text, "fault");
    setText(this.#place("name"), t("No result"));
    for (const place of ["size", "facts", "count"]) setText(this.#place(place), place === "size" ? "" : "–");
    this.#place("rest").hidden = true;
    this.querySelector("tbody").replaceChildren();
    for (const link of this.querySelectorAll("[data-keep]")) {
      link.removeAttribute("href");
      link.setAttribute("aria-disabled", "true");
    }
  }

  #say(text, tone = "") {
    const place = this.#place("say");
    place.dataset.tone = tone;
    place.hidden = text === "";
    setText(place, text);
  }

  async #use() {
    const place = this.#place("use");
    const confidence = Number(this.#field("confidence").value);
    const classes = this.#station?.override?.classes ?? this.dataset.classes;
    try {
      const answer = await ask(`${this.dataset.base}/api/override`, {
        method: "POST",
        body: JSON.stringify({ confidence, classes }),
      });
      const { lines } = await answer.json();
      place.dataset.tone = "";
      setText(
        place,
        lines.length
          ? t(
              "Acts on every camera, for everybody, until the next start. System ends it, or tells how to keep it.",
            )
          : t("That is what the settings say."),
      );
    } catch (error) {
      if (!(error instanceof AskError)) throw error;
      place.dataset.tone = "fault";
      setText(place, error.message);
    }
  }

  #showConfidence() {
    const field = this.#field("confidence");
    const shown = fixed(Number(field.value), 2);
    const share = ((field.value - field.min) / (field.max - field.min)) * 100;
    field.style.setProperty("--share", `${share.toFixed(1)}%`);
    setText(this.querySelector("output"), shown);
    setText(this.querySelector("[data-do=use]"), t("Use {confidence} for all cameras", { confidence: shown }));
  }

  #offer(what, url, name) {
    const link = this.querySelector(`[data-keep=${what}]`);
    link.href = url;
    link.download = name;
    link.removeAttribute("aria-disabled");
  }

  #field(name) {
    return this.querySelector(`[name=${name}]`);
  }

  #place(name) {
    return this.querySelector(`[data-place=${name}]`);
  }
}

/** The title of a column that one task has and another has not. */
function ownColumn(title) {
  return element("th", { scope: "col", class: "number", "data-own": "" }, title);
}

function row(task, thing, index) {
  const number = (text) => element("td", { class: "number" }, text);
  return element(
    "tr",
    {},
    number(String(index + 1)),
    element("td", {}, thing.class),
    number(fixed(thing.score, 2)),
    ...task.cells(thing).map(number),
  );
}

function facts(found) {
  const waited = t("waited {ms} ms behind live", { ms: milliseconds(found.waited_ms) });
  const times = t("{model} ms model, {total} ms in all", {
    model: milliseconds(found.inference_ms),
    total: milliseconds(found.total_ms),
  });
  const all = [found.model, found.engine, found.input_wh.join(" × "), times];
  if (found.waited_ms >= 1) all.push(waited);
  // Lines break between facts, not within one.
  return all.map((fact) => fact.replaceAll(" ", "\u00a0")).join(" · ");
}

function altText(things) {
  if (things.length === 0) return t("Result: nothing found");
  const named = things.slice(0, 10).map(({ class: label, score }) => `${label} ${fixed(score, 2)}`);
  const found = named.join(", ");
  if (things.length > 10) return t("Result: {found} and more", { found });
  return t("Result: {found}", { found });
}

function size(bytes) {
  return bytes < 1e6 ? `${fixed(bytes / 1e3, 0)} kB` : `${fixed(bytes / 1e6, 1)} MB`;
}

customElements.define("inspect-page", InspectPage);
