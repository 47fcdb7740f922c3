"""Does the engine still see what the original saw?

Four questions, asked of the engine as it will run, slots, letterbox and all:

- The numbers: does it compute in those that it was asked for, as far as it tells?
- The rows: on the very same fitted picture, are the candidates those of the original with the
  numpy twin behind it? Always asked, on frames or, where there are none, on a test picture.
- The predictions: from the source frame, with the product's own preparation against an
  independent one in float, do the same objects come out? Counts only with enough of them.
- The place: do the boxes lie to one side of the original's? Rounding scatters them, in whatever
  precision; a mistake in a size or a center moves them all.

The limits are those of a precision. In fp32 every row counts, however faint, and not one may be
beyond them. Narrower numbers answer for the rows that a person would see, and as many of them may
be beyond as predictions may be missed: rounding turns faint ones into others.

The gate proves that the engine equals the original under the card, not that the card is right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.catalog.card import Card
from appliance.engines import Engine
from appliance.geometry import Fit
from appliance.letterbox import Letterbox
from appliance.optimizer.agreement import (
    MARGIN,
    Agreement,
    RowDifferences,
    row_differences,
    shift,
)
from appliance.optimizer.exhibits import Exhibit, Exhibits
from appliance.optimizer.frames import Frames
from appliance.optimizer.heads import Tensors
from appliance.optimizer.reference import Reference
from appliance.optimizer.verdict import MIN_REFERENCES, Limits, Verification
from appliance.predictions import Instances
from appliance.runtimes import EngineSlot
from appliance.tasks import Task, Thresholds
from appliance.values import F32, U8, Precision

CONFIDENCE = 0.3
ROW_FLOOR = 0.05  # rows scored lower are noise that no setting shows
FAINT_SPARED = 0.3  # of a test picture's rows in fp16; measured: up to 0.14, and 0.5 with a fault
MAX_SHIFT_PX = 0.25  # half a pixel is the commonest mistake there is
MAX_TIES = 0.001  # share of rows whose class another one may have taken, by a hair
MIN_SHARE_COMPUTED = 0.5  # of the multiplying layers, in the precision that was asked for
OVERFLOWS = "The model's card may name the wrong scale; or export the model again."
MORE_FRAMES = "Add frames to the model's verify folder, on which there is something to see."
WIDER = "A wider precision sees more: APPLIANCE_ENGINE__PRECISION=auto tries them."


@dataclass(frozen=True, slots=True)
class Trial:
    """A verdict with its pictures.

    Attributes:
        verification: the verdict.
        exhibits: the pictures that show most, the most telling first; none of a test picture.
        limits: those that were asked for; None where there are no figures to hold against them.
    """

    verification: Verification
    exhibits: tuple[Exhibit, ...] = ()
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An engine with what the running station puts around it."""

    engine: Engine
    letterbox: Letterbox
    task: Task[Any, Any]
    card: Card

    @property
    def precision(self) -> Precision:
        """What the engine was built as."""
        return Precision(self.engine.report.precision)

    def look(self, frame: U8) -> tuple[EngineSlot, Fit]:
        """Run one frame; the slot's outputs are valid until the next look."""
        slot = self.engine.slots[0]
        fit = self.letterbox.place(frame, slot.frames[0])
        self.engine.submit(slot)
        self.engine.wait(slot)
        return slot, fit

    def finish(self, slot: EngineSlot, fit: Fit, thresholds: Thresholds) -> Instances:
        """What the running station would make of a slot's outputs."""
        prediction: Instances = self.task.finish(slot.outputs, fit, self.card.table, thresholds)
        return prediction


def verify(
    candidate: Candidate,
    reference: Reference,
    frames: Frames | Sequence[U8],
    *,
    limits: Limits,
    device: str,
    progress: Callable[[float], None],
) -> Trial:
    """Compare on `frames`, (H, W, 3) uint8 BGR each; a disagreement is a verdict, no error.

    Args:
        candidate: what would serve.
        reference: the original.
        frames: read once; where there are none, a test picture is compared.
        limits: of the candidate's precision.
        device: serial of what runs the candidate.
        progress: told the share of the frames that is done.

    Raises:
        EngineError: the engine fails, or its device does.
    """
    begun = Verification(
        "unproven",
        candidate.precision,
        device=device,
        computes=dict(candidate.engine.report.computes),
        frames=len(frames),
    )
    reason = _other_numbers(begun)
    if reason:
        return Trial(replace(begun, verdict="refused", reason=reason, hint=WIDER))
    comparison = _Comparison(candidate, reference, limits)
    exhibits = Exhibits(len(frames))
    for index, frame in enumerate(frames):
        reason = comparison.add(frame, exhibits)
        if reason:
            return Trial(_overflown(begun, reason), exhibits.best())
        progress((index + 1) / len(frames))
    if not comparison.rows and begun.precision is not Precision.INT8:
        reason = comparison.add_test_picture()
        if reason:
            return Trial(_overflown(begun, reason), exhibits.best())
        progress(1.0)
    measured = comparison.measured(begun)
    return Trial(_judged(measured, limits, comparison.rows), exhibits.best(), limits)


class _Comparison:
    """What the frames have shown so far.

    Attributes:
        rows: how many were compared.
    """

    def __init__(self, candidate: Candidate, reference: Reference, limits: Limits) -> None:
        self.rows = 0
        self._candidate = candidate
        self._reference = reference
        self._limits = limits
        self._is_exact = candidate.precision is Precision.FP32
        self._spared = 0.0 if self._is_exact else max(0.0, 1 - limits.f1)
        labels = candidate.card.table.labels
        self._thresholds = Thresholds.of(labels, confidence=CONFIDENCE - MARGIN, classes={})
        self._agreement = Agreement()
        self._differences: list[RowDifferences] = []

    def add(self, frame: U8, exhibits: Exhibits) -> str:
        """Compare one more; the reason to stop at once, or an empty text."""
        slot, fit = self._candidate.look(frame)
        twin = self._reference.run(slot.frames[0].astype(np.float32))
        is_clear = bool((twin["scores"] > ROW_FLOOR).any())
        floor = CONFIDENCE if not self._is_exact else ROW_FLOOR if is_clear else _better_half(twin)
        reason = self._compare(slot, twin, floor)
        if reason:
            return reason
        expected = self._reference.detect(frame, confidence=CONFIDENCE - MARGIN)
        seen = self._candidate.finish(slot, fit, self._thresholds)
        before = self._agreement.missed + self._agreement.invented
        self._agreement.add(expected, seen, CONFIDENCE, _scale_xy(fit))
        after = self._agreement.missed + self._agreement.invented
        exhibits.offer(frame, expected, seen, disagreements=after - before)
        return ""

    def add_test_picture(self) -> str:
        """Compare the better half of the rows of a picture of noise, where nothing else was.

        A picture on which nothing is compared proves nothing. Returns as `add` does.
        """
        slot, _ = self._candidate.look(_test_picture(self._candidate.card))
        twin = self._reference.run(slot.frames[0].astype(np.float32))
        self._spared = 0.0 if self._is_exact else FAINT_SPARED
        return self._compare(slot, twin, _better_half(twin))

    def measured(self, begun: Verification) -> Verification:
        """The same with the figures of everything that was added, not judged yet."""
        rows, agreement = RowDifferences.joined(self._differences), self._agreement
        counted = ~_forgiven(rows, self._limits) if self._is_exact else np.ones(self.rows, bool)
        return replace(
            begun,
            references=agreement.references,
            f1=agreement.f1,
            box_px_p99=_quantile(agreement.box_px, 0.99),
            score_p99=_quantile(agreement.score, 0.99),
            shift_px=agreement.shift_px,
            row_box_px=_quantile(rows.box_px[counted], 1 - self._spared),
            row_score=_quantile(rows.score[counted], 1 - self._spared),
            row_shift_px=shift(rows.moved_px),
        )

    def _compare(self, slot: EngineSlot, twin: Tensors, floor: float) -> str:
        for name, array in slot.outputs.items():
            if not np.isfinite(array).all():
                return f"{name} holds values that are no numbers"
        limits = (self._limits.box_px, self._limits.score)
        found = row_differences(twin, slot.outputs, floor=floor, limits=limits)
        self._differences.append(found)
        self.rows += len(found.box_px)
        return ""


def _better_half(rows: Tensors) -> float:
    """The score above which the better half of the rows is."""
    return min(ROW_FLOOR, float(np.median(rows["scores"])))


def _forgiven(rows: RowDifferences, limits: Limits) -> NDArray[np.bool_]:
    """Rows beyond the limits that are another class by a hair, as long as they are very few."""
    ties = rows.is_tie & ((rows.box_px > limits.box_px) | (rows.score > limits.score))
    return ties if ties.sum() <= MAX_TIES * len(ties) else np.zeros_like(ties)


def _overflown(begun: Verification, reason: str) -> Verification:
    hint = OVERFLOWS if begun.precision is Precision.FP32 else WIDER
    return replace(begun, verdict="refused", reason=reason, hint=hint)


def _judged(measured: Verification, limits: Limits, rows: int) -> Verification:
    """With the verdict that the figures over so many rows ask for."""
    if not rows and measured.precision is Precision.INT8:
        reason, hint = "no frame shows anything to compare it on", MORE_FRAMES
    else:
        reason, hint = _disagreement(measured, limits)
    if reason:
        return replace(measured, verdict="refused", reason=reason, hint=hint)
    return replace(
        measured, verdict="proven" if measured.references >= MIN_REFERENCES else "unproven"
    )


def _disagreement(found: Verification, limits: Limits) -> tuple[str, str]:
    """Why the figures do not pass, and what to do; empty where they do."""
    card = "The model's card may name the wrong {}."
    is_exact = found.precision is Precision.FP32
    if found.row_box_px > limits.box_px or found.row_score > limits.score:
        return (
            f"its candidates differ from the original's by {found.row_box_px:.2f} px and "
            f"{found.row_score:.3f} in score; allowed are {limits.box_px:g} px and "
            f"{limits.score:g}",
            card.format("head, channel order or scale") if is_exact else WIDER,
        )
    if found.row_shift_px > MAX_SHIFT_PX:
        return (
            f"its candidates lie {found.row_shift_px:.2f} px to one side of the original's; "
            f"allowed are {MAX_SHIFT_PX} px",
            card.format("head") if is_exact else WIDER,
        )
    if found.references < MIN_REFERENCES:
        return "", ""
    around = card.format("fit, interpolation or padding") if is_exact else WIDER
    if found.f1 < limits.f1:
        return (
            f"F1 {found.f1:.3f} against the original over {found.references} objects; "
            f"{limits.f1:g} needed",
            around,
        )
    if found.shift_px > MAX_SHIFT_PX:
        return (
            f"its boxes lie {found.shift_px:.2f} px to one side of the original's over "
            f"{found.references} objects; allowed are {MAX_SHIFT_PX} px",
            around,
        )
    return "", ""


def _other_numbers(begun: Verification) -> str:
    """Says where an engine computes in other numbers than it was asked to; empty where not.

    What an engine does not tell is not held against it. Nothing may be narrower than fp32 where
    fp32 was asked for; of a narrower one, some layers stay wide for good reasons.
    """
    asked, computes = begun.precision, begun.computes
    total = sum(computes.values())
    own = computes.get(asked, 0)
    enough = 1.0 if asked is Precision.FP32 else MIN_SHARE_COMPUTED
    if own >= enough * total:
        return ""
    others = {numbers: count for numbers, count in computes.items() if numbers != asked}
    most = max(others, key=others.__getitem__)
    return f"asked for {asked}, computes in {most} ({others[most]} of {total} layers)"


def _test_picture(card: Card) -> U8:
    """Noise of several sizes, the same each time: something for every filter."""
    width, height = card.input.size_wh
    random = np.random.default_rng(0)
    picture = np.zeros((height, width, 3), np.float32)
    for step in (4, 16, 64):
        cells = random.uniform(0, 85, (-(-height // step), -(-width // step), 3))
        picture += np.kron(cells, np.ones((step, step, 1)))[:height, :width]
    return picture.astype(np.uint8)


def _scale_xy(fit: Fit) -> tuple[float, float]:
    """The size of a source pixel in input pixels."""
    (width, height), (source_width, source_height) = fit.resized_wh, fit.source_wh
    return width / source_width, height / source_height


def _quantile(values: Sequence[float] | F32, share: float) -> float:
    return float(np.quantile(values, share, method="higher")) if len(values) else 0.0
