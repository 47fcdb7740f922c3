"""How well two sets of predictions agree: the measure behind the gate."""

from dataclasses import dataclass, field

import numpy as np

from appliance.nms import iou_matrix
from appliance.optimizer.heads import Tensors
from appliance.values import F32, Detections

MARGIN = 0.02  # scores this close to the threshold count for neither side
SAME_BOX_IOU = 0.5


@dataclass(slots=True)
class Agreement:
    """Counts over many frames, and the differences of the pairs.

    Attributes:
        matched: pairs of one class that overlap.
        missed: reference predictions without a partner.
        invented: candidate predictions without a partner.
        box_px: largest corner difference of each pair, source pixels.
        score: score difference of each pair.
    """

    matched: int = 0
    missed: int = 0
    invented: int = 0
    box_px: list[float] = field(default_factory=list)
    score: list[float] = field(default_factory=list)

    @property
    def f1(self) -> float:
        """2 matched / (2 matched + missed + invented); 1 when both sides are empty."""
        total = 2 * self.matched + self.missed + self.invented
        return 2 * self.matched / total if total else 1.0

    @property
    def references(self) -> int:
        """How many reference predictions counted."""
        return self.matched + self.missed

    def add(self, reference: Detections, candidate: Detections, threshold: float) -> None:
        """Count one frame; both sides come with everything above `threshold` - MARGIN."""
        pairs = _pairs(reference, candidate)
        for row, column in pairs:
            scores = reference.scores[row], candidate.scores[column]
            if min(scores) < threshold + MARGIN:
                continue
            self.matched += 1
            corners = reference.boxes_xyxy_px[row] - candidate.boxes_xyxy_px[column]
            self.box_px.append(float(np.abs(corners).max()))
            self.score.append(abs(float(scores[0] - scores[1])))
        self.missed += _alone(reference, [row for row, _ in pairs], threshold)
        self.invented += _alone(candidate, [column for _, column in pairs], threshold)


def _pairs(reference: Detections, candidate: Detections) -> list[tuple[int, int]]:
    """Partners of one class, the largest overlap first, each used once."""
    overlap = iou_matrix(reference.boxes_xyxy_px, candidate.boxes_xyxy_px)
    overlap[reference.class_ids[:, None] != candidate.class_ids[None, :]] = 0
    pairs: list[tuple[int, int]] = []
    while overlap.size and overlap.max() >= SAME_BOX_IOU:
        row, column = np.unravel_index(int(overlap.argmax()), overlap.shape)
        pairs.append((int(row), int(column)))
        overlap[row, :] = 0
        overlap[:, column] = 0
    return pairs


def _alone(side: Detections, paired: list[int], threshold: float) -> int:
    sure = side.scores >= threshold + MARGIN
    sure[paired] = False
    return int(sure.sum())


def row_differences(reference: Tensors, candidate: Tensors, *, floor: float) -> tuple[float, float]:
    """Largest differences of canonical rows above `floor`, matched as sets.

    Returns:
        Box difference in input pixels and score difference; infinite when a row is missing.
    """
    box, score = 0.0, 0.0
    for first, second in ((reference, candidate), (candidate, reference)):
        rows, others = _stack(first), _stack(second)
        for row in rows[rows[:, 4] > floor]:
            same = others[others[:, 5] == row[5]]
            if not len(same):
                return np.inf, np.inf
            nearest = same[np.abs(same[:, :4] - row[:4]).max(axis=1).argmin()]
            box = max(box, float(np.abs(nearest[:4] - row[:4]).max()))
            score = max(score, float(abs(nearest[4] - row[4])))
    return box, score


def _stack(rows: Tensors) -> F32:
    """(K, 6): box, score, class."""
    scores, class_ids = rows["scores"][0][:, None], rows["class_ids"][0][:, None]
    return np.concatenate([rows["boxes"][0], scores, class_ids], axis=1).astype(np.float32)
