"""Does the engine still see what the original saw?

Two questions, asked of the engine as it will run, slots, letterbox and all:

- The rows: on the very same fitted picture, are the candidates those of the original with the
  numpy twin behind it? Always asked, on frames or, where there are none, on a test picture.
- The predictions: from the source frame, with the product's own preparation against an
  independent one in float, do the same objects come out? Counts only with enough of them.

The gate proves that the engine equals the original under the card, not that the card is right.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from appliance.catalog.card import Card
from appliance.engines import Engine, EngineSlot
from appliance.errors import EngineError
from appliance.letterbox import Letterbox
from appliance.optimizer.agreement import MARGIN, Agreement, row_differences
from appliance.optimizer.fittings import rules_of
from appliance.optimizer.heads import Tensors
from appliance.optimizer.reference import Reference
from appliance.tasks import Task
from appliance.values import U8

CONFIDENCE = 0.3
MIN_REFERENCES = 100
MIN_F1 = 0.99
ROW_FLOOR = 0.05  # rows scored lower are noise that no setting shows
MAX_ROW_BOX_PX = 0.25  # below half a pixel, the commonest mistake there is
MAX_ROW_SCORE = 0.01


@dataclass(frozen=True, slots=True)
class Verification:
    """The verdict with its figures.

    Attributes:
        verdict: "proven", or "unproven" where too few predictions could be compared.
        frames: how many frames were compared; 0 means a test picture only.
        references: predictions of the original that counted.
        f1: of matched predictions.
        box_px_p99: 99th percentile of a pair's corner difference, source pixels.
        score_p99: 99th percentile of a pair's score difference.
        row_box_px: largest difference of candidate boxes, input pixels.
        row_score: largest difference of candidate scores.
    """

    verdict: str
    frames: int
    references: int
    f1: float
    box_px_p99: float
    score_p99: float
    row_box_px: float
    row_score: float

    def as_dict(self) -> dict[str, Any]:
        """For the sidecar."""
        return asdict(self)

    def sentence(self) -> str:
        """For a person."""
        if self.verdict == "proven":
            return f"proven: F1 {self.f1:.3f} over {self.references} objects of the original"
        return (
            f"unproven: {self.references} objects to compare, {MIN_REFERENCES} needed; "
            "add frames to the model's verify folder"
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """An engine with what the running station puts around it."""

    engine: Engine
    letterbox: Letterbox
    task: Task
    card: Card

    def look(self, frame: U8) -> tuple[EngineSlot, Any]:
        """Run one frame; the slot's outputs are valid until the next look."""
        slot = self.engine.slots[0]
        fit = self.letterbox.place(frame, slot.frames[0])
        self.engine.submit(slot)
        self.engine.wait(slot)
        return slot, fit


def verify(
    candidate: Candidate,
    reference: Reference,
    frames: Sequence[U8],
    progress: Callable[[float], None],
) -> Verification:
    """Compare on `frames`, (H, W, 3) uint8 BGR each.

    Raises:
        EngineError: the engine disagrees with the original, or gives no numbers.
    """
    agreement = Agreement()
    row_box, row_score = 0.0, 0.0
    pictures = frames or [_test_picture(candidate.card)]
    rules = rules_of(candidate.card, confidence=CONFIDENCE - MARGIN)
    for index, frame in enumerate(pictures):
        slot, fit = candidate.look(frame)
        _require_numbers(slot.outputs)
        twin = reference.run(slot.frames[0].astype(np.float32))
        box, score = row_differences(twin, slot.outputs, floor=_floor(twin, seen=bool(frames)))
        row_box, row_score = max(row_box, box), max(row_score, score)
        seen = candidate.task.finish(slot.outputs, fit, rules)
        expected = reference.detect(frame, confidence=CONFIDENCE - MARGIN)
        agreement.add(expected, seen, CONFIDENCE)
        progress((index + 1) / len(pictures))
    return _judge(agreement, len(frames), (row_box, row_score))


def _floor(rows: Tensors, *, seen: bool) -> float:
    """The score above which rows are compared; `seen` where the picture is a real one.

    Where nothing scores above ROW_FLOOR, and on the test picture in any case, the better half
    is: a picture on which nothing is compared proves nothing.
    """
    scores = rows["scores"]
    if seen and (scores > ROW_FLOOR).any():
        return ROW_FLOOR
    return min(ROW_FLOOR, float(np.median(scores)))


def _judge(agreement: Agreement, frames: int, rows: tuple[float, float]) -> Verification:
    result = Verification(
        verdict="unproven",
        frames=frames,
        references=agreement.references,
        f1=agreement.f1,
        box_px_p99=_p99(agreement.box_px),
        score_p99=_p99(agreement.score),
        row_box_px=rows[0],
        row_score=rows[1],
    )
    if rows[0] > MAX_ROW_BOX_PX or rows[1] > MAX_ROW_SCORE:
        raise EngineError(
            f"refused: its candidates differ from the original's by {rows[0]:.2f} px and "
            f"{rows[1]:.3f} in score; allowed are {MAX_ROW_BOX_PX} px and {MAX_ROW_SCORE}",
            hint="The model's card may name the wrong head, channel order or scale.",
        )
    if agreement.references < MIN_REFERENCES:
        return result
    if agreement.f1 < MIN_F1:
        raise EngineError(
            f"refused: F1 {agreement.f1:.3f} against the original over "
            f"{agreement.references} objects; {MIN_F1} needed",
            hint="The model's card may name the wrong fit, interpolation or padding.",
        )
    return replace(result, verdict="proven")


def _require_numbers(outputs: Tensors) -> None:
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise EngineError(
                f"refused: {name} holds values that are no numbers",
                hint="Set APPLIANCE_ENGINE__PRECISION=fp32.",
            )


def _test_picture(card: Card) -> U8:
    """Noise of several sizes, the same each time: something for every filter."""
    width, height = card.input.size_wh
    random = np.random.default_rng(0)
    picture = np.zeros((height, width, 3), np.float32)
    for step in (4, 16, 64):
        cells = random.uniform(0, 85, (-(-height // step), -(-width // step), 3))
        picture += np.kron(cells, np.ones((step, step, 1)))[:height, :width]
    return picture.astype(np.uint8)


def _p99(values: Sequence[float]) -> float:
    return float(np.quantile(values, 0.99)) if values else 0.0
