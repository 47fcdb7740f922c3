/** Requests of our own pages, with errors in words. */

import { t } from "./texts.js";

const LONGEST_MS = 120000;

/** What went wrong, and what to do about it; fit to be shown. */
export class AskError extends Error {}

/**
 * Sends a request and gives the answer; an error is an AskError in a person's words.
 *
 * @param {string} url
 * @param {RequestInit} options
 * @returns {Promise<Response>}
 */
export async function ask(url, options = {}) {
  const signals = [AbortSignal.timeout(LONGEST_MS), options.signal].filter(Boolean);
  let response;
  try {
    response = await fetch(url, { ...options, signal: AbortSignal.any(signals) });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new AskError(t("The station does not answer. Check the connection, then try again."));
  }
  if (response.ok) return response;
  if (response.status === 401) throw new AskError(t("Signed out. Sign in again."));
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.startsWith("application/json");
  const { error, hint } = isJson ? JSON.parse(text) : { error: text, hint: "" };
  throw new AskError([error, hint].filter(Boolean).join(" "));
}
