/** What counts as seen, on the System page: the override that acts, who set it, and its end. */

import { copyText, element, setText } from "../../static/shared/dom.js";
import { AskError, ask } from "../../static/shared/asking.js";
import { t } from "../../static/shared/texts.js";
import { duration, fixed, moment } from "../../static/shared/words.js";

class StationRules extends HTMLElement {
  #lines = "";
  #shown = ""; // what the fields were filled with

  connectedCallback() {
    document.addEventListener("station", this.#hear);
    this.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      const form = event.target;
      const wanted = { confidence: form.confidence.valueAsNumber, classes: form.classes.value };
      this.#send({ method: "POST", body: JSON.stringify(wanted) });
    });
    this.querySelector("[data-do=end]").addEventListener("click", () => {
      this.#send({ method: "DELETE" });
    });
  }

  disconnectedCallback() {
    document.removeEventListener("station", this.#hear);
  }

  #hear = ({ detail }) => {
    const { override, now_s } = detail;
    setText(this.#place("state"), state(override, this.dataset, now_s));
    this.querySelector(".override").hidden = override === null;
    const lines = override?.lines ?? [];
    if (lines.join("\n") !== this.#lines) {
      this.#lines = lines.join("\n");
      this.querySelector(".lasting").replaceChildren(...lines.map(line));
    }
    this.#fill(override ?? this.dataset);
  };

  /** Shows what acts, but never into a field that somebody has changed. */
  #fill({ confidence, classes }) {
    const said = `${confidence} ${classes}`;
    if (said === this.#shown) return;
    this.#shown = said;
    const form = this.querySelector("form");
    form.confidence.value = confidence;
    form.classes.value = classes;
  }

  async #send(options) {
    const place = this.#place("say");
    try {
      const { lines } = await (await ask(`${this.dataset.base}/api/override`, options)).json();
      place.dataset.tone = "";
      const isNothing = options.method === "POST" && lines.length === 0;
      setText(place, isNothing ? t("That is what the settings say: nothing is overridden.") : "");
    } catch (error) {
      if (!(error instanceof AskError)) throw error;
      place.dataset.tone = "fault";
      setText(place, error.message);
    }
  }

  #place(name) {
    return this.querySelector(`[data-place=${name}]`);
  }
}

function state(override, usual, now_s) {
  const all = t("all classes");
  const said = ({ confidence, classes }) =>
    t("confidence {confidence}, {classes}", {
      confidence: fixed(Number(confidence), 2),
      classes: classes || all,
    });
  if (override === null) return t("by the settings: {rules}", { rules: said(usual) });
  return t("overridden by {user} · for {duration}, since {since} · {rules}", {
    user: override.user,
    duration: duration(now_s - override.since_s),
    since: moment(override.since_s, now_s),
    rules: said(override),
  });
}

function line(text) {
  const code = element("code", {}, text);
  const button = element("button", { type: "button", class: "button tall" }, t("Copy"));
  button.addEventListener("click", async () => {
    await copyText(code);
    setText(button, t("Copied"));
  });
  return element("li", {}, code, button);
}

customElements.define("station-rules", StationRules);
