"""Detection: the same candidates on the same input, the same objects in the same frame.

- The rows: are the engine's candidates those of the original with the numpy twin behind it?
- The predictions: from the source frame, do the same objects come out? Counts only with enough of
  them.
- The place: do the boxes lie to one side of the original's? Rounding scatters them, in whatever
  precision; a mistake in a size or a center moves them all.

In fp32 every row counts, however faint, and not one may be beyond the limits. Narrower numbers
answer for the rows that a person would see, and as many of them may be beyond as predictions may be
missed: rounding turns faint ones into others.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from appliance.catalog.card import Card
from appliance.geometry import Fit
from appliance.nms import suppress
from appliance.optimizer.exhibits import Exhibit
from appliance.optimizer.measures import Finding, Measure, Placement, Terms, View, quantile
from appliance.optimizer.measures.agreement import (
    MARGIN,
    Agreement,
    RowDifferences,
    alone,
    row_differences,
    shift,
)
from appliance.optimizer.verdict import Figure
from appliance.predictions import Instances
from appliance.render.boxes import draw_boxes
from appliance.tasks import Outputs
from appliance.tasks.detection import DetectionTable
from appliance.values import U8

VERSION: Final = 1  # what is measured, and what of it is too much
MIN_REFERENCES = 100  # objects of the original below which nothing counts as proven
CONFIDENCE = 0.3
ROW_FLOOR = 0.05  # rows scored lower are noise that no setting shows
FAINT_SPARED = 0.3  # of a test picture's rows in fp16; measured: up to 0.14, and 0.5 with a fault
MAX_SHIFT_PX = 0.25  # half a pixel is the commonest mistake there is
MAX_TIES = 0.001  # share of rows whose class another one may have taken, by a hair


def predict(rows: Outputs, placement: Placement, card: Card, confidence: float) -> Instances:
    """The original's candidates to instances in source pixels."""
    boxes, scores, class_ids = (rows[name][0] for name in ("boxes", "scores", "class_ids"))
    sure = scores >= confidence
    boxes, scores, class_ids = boxes[sure], scores[sure], class_ids[sure]
    rules = card.table_of(DetectionTable)
    kept = suppress(
        boxes, scores, class_ids, mode=rules.nms, iou=rules.iou, limit=rules.max_detections
    )
    corners = (boxes[kept].reshape(-1, 2, 2) - placement.offset_xy) / placement.scale_xy
    corners = np.clip(corners, 0, placement.size_wh).reshape(-1, 4).astype(np.float32)
    return Instances(corners, scores[kept], class_ids[kept])


class Detections:
    """A comparison of one engine.

    Attributes:
        compared: how many rows were.
    """

    def __init__(self, terms: Terms) -> None:
        self.compared = 0
        self._terms = terms
        self._limits = terms.limits
        self._spared = 0.0 if terms.is_exact else max(0.0, 1 - terms.limits["f1"])
        self._agreement = Agreement()
        self._differences: list[RowDifferences] = []

    def add_outputs(self, expected: Outputs, seen: Outputs, *, of_noise: bool) -> None:
        """The candidates of one input; of a made-up picture the better half of them."""
        if of_noise:
            floor = _better_half(expected)
            self._spared = 0.0 if self._terms.is_exact else FAINT_SPARED
        elif not self._terms.is_exact:
            floor = CONFIDENCE
        else:
            is_clear = bool((expected["scores"] > ROW_FLOOR).any())
            floor = ROW_FLOOR if is_clear else _better_half(expected)
        limits = (self._limits["box_px"], self._limits["score"])
        found = row_differences(expected, seen, floor=floor, limits=limits)
        self._differences.append(found)
        self.compared += len(found.box_px)

    def add_predictions(self, expected: Instances, seen: Instances, fit: Fit) -> int:
        """The objects of one frame; how many have no partner."""
        agreement = self._agreement
        before = agreement.missed + agreement.invented
        agreement.add(expected, seen, CONFIDENCE, fit.scale_xy)
        return agreement.missed + agreement.invented - before

    def finding(self) -> Finding:
        """Of all rows and objects so far."""
        figures = {**self._of_rows(), **self._of_objects()}
        reason, hint = self._disagreement(figures)
        references, f1 = self._agreement.references, self._agreement.f1
        too_few = f"{references} objects to compare, {MIN_REFERENCES} needed"
        return Finding(
            figures,
            reason,
            hint,
            agreement=f"F1 {f1:.3f} over {references} objects of the original",
            missing=too_few if references < MIN_REFERENCES else "",
        )

    def _of_rows(self) -> dict[str, Figure]:
        rows, limits = RowDifferences.joined(self._differences), self._limits
        counted = self._counted(rows)
        box_px, score = (
            quantile(each[counted], 1 - self._spared) for each in (rows.box_px, rows.score)
        )
        return {
            "row_box_px": Figure("Candidates: edges", box_px, "px", 2, limits["box_px"]),
            "row_score": Figure("Candidates: score", score, digits=3, limit=limits["score"]),
            "row_shift_px": _shift("Candidates: all to one side", shift(rows.moved_px)),
        }

    def _of_objects(self) -> dict[str, Figure]:
        found, title = self._agreement, "Objects of the original"
        figures = {
            "references": Figure(title, found.references, limit=MIN_REFERENCES, is_least=True)
        }
        if not found.references:
            return figures
        title, least = "Objects: F1 of the engine's", self._limits["f1"]
        box_px, score = (quantile(each, 0.99) for each in (found.box_px, found.score))
        return {
            **figures,
            "f1": Figure(title, found.f1, digits=3, limit=least, is_least=True),
            "shift_px": _shift("Objects: all to one side", found.shift_px),
            "box_px_p99": Figure("Objects: edges, 99 of 100 within", box_px, "px", 2),
            "score_p99": Figure("Objects: score, 99 of 100 within", score, digits=3),
        }

    def _counted(self, rows: RowDifferences) -> NDArray[np.bool_]:
        """All rows, but those that are another class by a hair, as long as they are very few."""
        if not self._terms.is_exact:
            return np.ones(self.compared, bool)
        limits = self._limits
        ties = rows.is_tie & ((rows.box_px > limits["box_px"]) | (rows.score > limits["score"]))
        return ~ties if ties.sum() <= MAX_TIES * len(ties) else np.ones_like(ties)

    def _disagreement(self, figures: dict[str, Figure]) -> tuple[str, str]:
        """Why the figures do not pass, and what to do; empty where they do."""
        terms, limits = self._terms, self._limits
        box, score, row_shift = (
            figures[name] for name in ("row_box_px", "row_score", "row_shift_px")
        )
        if not (box.is_fine and score.is_fine):
            return (
                f"its candidates differ from the original's by {box.value:.2f} px and "
                f"{score.value:.3f} in score; allowed are {limits['box_px']:g} px and "
                f"{limits['score']:g}",
                terms.hint("head, channel order or scale"),
            )
        if not row_shift.is_fine:
            return (
                f"its candidates lie {row_shift.value:.2f} px to one side of the original's; "
                f"allowed are {MAX_SHIFT_PX} px",
                terms.hint("head"),
            )
        references = self._agreement.references
        if references < MIN_REFERENCES:
            return "", ""
        f1, objects_shift = figures["f1"], figures["shift_px"]
        around = terms.hint("fit, interpolation or padding")
        if not f1.is_fine:
            return (
                f"F1 {f1.value:.3f} against the original over {references} objects; "
                f"{limits['f1']:g} needed",
                around,
            )
        if not objects_shift.is_fine:
            return (
                f"its boxes lie {objects_shift.value:.2f} px to one side of the original's over "
                f"{references} objects; allowed are {MAX_SHIFT_PX} px",
                around,
            )
        return "", ""


def views(exhibit: Exhibit[Instances], labels: Sequence[str]) -> tuple[View, View]:
    """Each side's objects, those alone marked and counted."""
    missed, invented = alone(exhibit.expected, exhibit.seen, CONFIDENCE)
    return (
        _view(exhibit.frame, exhibit.expected, missed, "not seen by the engine", labels),
        _view(exhibit.frame, exhibit.seen, invented, "not in the original", labels),
    )


def _view(
    frame: U8, found: Instances, lonely: NDArray[np.bool_], word: str, labels: Sequence[str]
) -> View:
    picture = frame.copy()
    draw_boxes(picture, found, found.names(labels), alone=lonely)
    count = int(lonely.sum())
    objects = "1 object" if len(found) == 1 else f"{len(found)} objects"
    return View(objects + (f", {count} {word}" if count else ""), picture)


def _shift(title: str, value: float) -> Figure:
    return Figure(title, value, "px", 2, MAX_SHIFT_PX)


def _better_half(rows: Outputs) -> float:
    """The score above which the better half of the rows is."""
    return min(ROW_FLOOR, float(np.median(rows["scores"])))


MEASURE = Measure(
    name="detection",
    limits=("f1", "box_px", "score"),
    confidence=CONFIDENCE - MARGIN,
    predict=predict,
    begin=Detections,
    views=views,
    about="Candidates are what the engine puts out, compared on the very same input, in the "
    "input's pixels. Objects are what is left of them in the frame, from a score of "
    f"{CONFIDENCE:.2f} on; all to one side is in the input's pixels, their edges in the frame's.",
    legend="Amber and dashed: the other side has no such object. Scores within "
    f"{MARGIN} of {CONFIDENCE:.2f} are drawn, and count for neither side.",
)
