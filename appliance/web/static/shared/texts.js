/**
 * What people read, in the page's language: English stands in the code, the rest in the page.
 *
 * A text is marked where it is made, by `t("...")` and its like; `make texts` finds it there.
 */

const said = JSON.parse(document.getElementById("texts").textContent);

/** The page's language, as `<html lang>` says it. */
export const language = document.documentElement.lang;

const rules = new Intl.PluralRules(language);
const { pluralCategories } = rules.resolvedOptions();
// As gettext orders the forms of a word that counts.
const forms = ["zero", "one", "two", "few", "many", "other"].filter((form) =>
  pluralCategories.includes(form),
);

/**
 * A text, with values in the place of its {names}.
 *
 * @param {string} text in English
 * @param {Record<string, string|number>} values
 */
export function t(text, values = {}) {
  return filled(said[text] ?? text, values);
}

/**
 * The text for so many.
 *
 * @param {string} one in English, for 1
 * @param {string} many in English, for any other number
 * @param {number} count which of them
 * @param {Record<string, string|number>} values
 */
export function plural(one, many, count, values = {}) {
  const known = said[one] ?? [one, many];
  const index = Math.min(forms.indexOf(rules.select(count)), known.length - 1);
  return filled(known[index], values);
}

/** The text as it is, noted for the catalog; `t` says it later. */
export function marked(text) {
  return text;
}

function filled(text, values) {
  return text.replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
}
