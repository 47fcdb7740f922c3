"""Does the engine still see what the original saw?

Asked of the engine as it will run, slots, letterbox and all:

- The numbers: does it compute in those that it was asked for, as far as it tells?
- The outputs: on the very same fitted picture, are they those of the original with the numpy twin
  behind it? Always asked, on frames or, where there are none, on a test picture.
- The predictions: from the source frame, with the product's own preparation against an
  independent one in float, does the same come out?

What is the same, the measure of the task says. The gate proves that the engine equals the original
under the card, not that the card is right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from appliance.catalog.card import Card
from appliance.engines import Engine
from appliance.geometry import Fit
from appliance.letterbox import Letterbox
from appliance.optimizer.exhibits import Exhibit, Exhibits
from appliance.optimizer.frames import Frames
from appliance.optimizer.measures import WIDER, Limits, Measure, Terms
from appliance.optimizer.reference import Reference
from appliance.optimizer.verdict import Verification
from appliance.predictions import Prediction
from appliance.runtimes import EngineSlot
from appliance.tasks import Task, Thresholds
from appliance.values import U8, Precision

VERSION: Final = 1  # which questions are asked, and of what
MIN_SHARE_COMPUTED = 0.5  # of the multiplying layers, in the precision that was asked for
OVERFLOWS = "The model's card may name the wrong scale; or export the model again."
MORE_FRAMES = "Add frames to the model's verify folder, on which there is something to see."


@dataclass(frozen=True, slots=True)
class Trial:
    """A verdict with its pictures.

    Attributes:
        verification: the verdict.
        exhibits: the pictures that show most, the most telling first; none of a test picture.
        limits: those that were asked for; None where nothing was held against them.
    """

    verification: Verification
    exhibits: tuple[Exhibit[Any], ...] = ()
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An engine with what the running station puts around it, and what to compare it by.

    Attributes:
        engine: what would serve.
        letterbox: puts frames into its slots.
        task: makes predictions of its outputs.
        measure: the same task's.
        card: the model's.
    """

    engine: Engine
    letterbox: Letterbox
    task: Task[Any, Any]
    measure: Measure[Any]
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

    def finish(self, slot: EngineSlot, fit: Fit, thresholds: Thresholds) -> Prediction:
        """What the running station would make of a slot's outputs."""
        prediction: Prediction = self.task.finish(slot.outputs, fit, self.card.table, thresholds)
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
    terms = Terms(candidate.card, candidate.precision, limits)
    comparing = _Comparing(candidate, reference, terms, len(frames))
    for index, frame in enumerate(frames):
        reason = comparing.add(frame)
        if reason:
            return Trial(_overflown(begun, reason), comparing.exhibits)
        progress((index + 1) / len(frames))
    if not comparing.compared and begun.precision is not Precision.INT8:
        reason = comparing.add_test_picture()
        if reason:
            return Trial(_overflown(begun, reason), comparing.exhibits)
        progress(1.0)
    return Trial(comparing.judged(begun), comparing.exhibits, limits)


class _Comparing:
    """Shows pictures to both sides, and what they make of them to the measure."""

    def __init__(
        self, candidate: Candidate, reference: Reference, terms: Terms, frames: int
    ) -> None:
        self._candidate = candidate
        self._reference = reference
        self._comparison = candidate.measure.begin(terms)
        self._exhibits = Exhibits(frames)
        labels = candidate.card.table.labels
        least = candidate.measure.confidence
        self._thresholds = Thresholds.of(labels, confidence=least, classes={})

    @property
    def compared(self) -> int:
        """How many outputs counted so far."""
        return self._comparison.compared

    @property
    def exhibits(self) -> tuple[Exhibit[Any], ...]:
        """The pictures that show most."""
        return self._exhibits.best()

    def add(self, frame: U8) -> str:
        """Compare one more; the reason to stop at once, or an empty text."""
        slot, fit = self._candidate.look(frame)
        reason = self._same_picture(slot, of_noise=False)
        if reason:
            return reason
        outputs, placement = self._reference.look(frame)
        candidate = self._candidate
        measure, card = candidate.measure, candidate.card
        expected = measure.predict(outputs, placement, card, measure.confidence)
        seen = candidate.finish(slot, fit, self._thresholds)
        disagreements = self._comparison.add_predictions(expected, seen, fit)
        self._exhibits.offer(frame, expected, seen, disagreements=disagreements)
        return ""

    def add_test_picture(self) -> str:
        """Compare on a picture of noise, where nothing else was; returns as `add` does.

        A picture on which nothing is compared proves nothing.
        """
        slot, _ = self._candidate.look(_test_picture(self._candidate.card))
        return self._same_picture(slot, of_noise=True)

    def judged(self, begun: Verification) -> Verification:
        """With the verdict that everything asks for that was added."""
        found = self._comparison.finding()
        reason, hint = found.reason, found.hint
        if not self.compared and begun.precision is Precision.INT8:
            reason, hint = "no frame shows anything to compare it on", MORE_FRAMES
        verdict = "refused" if reason else "unproven" if found.missing else "proven"
        return replace(
            begun,
            verdict=verdict,
            reason=reason,
            hint=hint,
            summary=found.missing or found.agreement,
            figures=found.figures,
        )

    def _same_picture(self, slot: EngineSlot, *, of_noise: bool) -> str:
        """Compare the outputs of what is in the slot; returns as `add` does."""
        expected = self._reference.run(slot.frames[0].astype(np.float32))
        for name, array in slot.outputs.items():
            if not np.isfinite(array).all():
                return f"{name} holds values that are no numbers"
        self._comparison.add_outputs(expected, slot.outputs, of_noise=of_noise)
        return ""


def _overflown(begun: Verification, reason: str) -> Verification:
    hint = OVERFLOWS if begun.precision is Precision.FP32 else WIDER
    return replace(begun, verdict="refused", reason=reason, hint=hint)


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
