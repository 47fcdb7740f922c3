/** How each task is shown on the page, by the name of the task; one module for each. */

import { classification } from "./tasks/classification.js";
import { detection } from "./tasks/detection.js";

/**
 * A task has
 *
 * - `isCounted`: whether one picture may hold several things of one class;
 * - `paint(context, prediction, drawn, frame, style)`: draws into the picture, in CSS pixels, the
 *   things whose indexes are in `drawn`;
 * - `text(seen)`: what a picture shows, for those who cannot see it;
 * - `figure(seen)`: the same in one `value` with a `word` below it;
 * - `things(found)`: what the answer of api/inspect holds, each with `class` and `score`;
 * - `columns` and `cells(thing)`: titles and texts of what a table tells beside these two.
 *
 * `seen` tells of each class above the confidence, best first: how many (`count`) and the best
 * `score`.
 */
export const TASKS = { classification, detection };
