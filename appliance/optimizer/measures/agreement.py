"""How well two sets of instances, or of canonical rows, agree: for the tasks that find things."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from appliance.nms import iou_matrix
from appliance.predictions import Instances
from appliance.tasks import Outputs
from appliance.values import F32

MARGIN = 0.02  # scores this close to the threshold count for neither side
SAME_BOX_IOU = 0.5
CERTAIN_SHARE = 0.9  # of a full set of rows; the last ones trade places with those left out

Flags = NDArray[np.bool_]


@dataclass(slots=True)
class Agreement:
    """Counts over many frames, and the differences of the pairs.

    Attributes:
        matched: pairs of one class that overlap.
        missed: reference predictions without a partner.
        invented: candidate predictions without a partner.
        box_px: largest corner difference of each pair, source pixels.
        score: score difference of each pair.
        moved_px: from the reference's center to the candidate's of each pair, x and y, in input
            pixels.
    """

    matched: int = 0
    missed: int = 0
    invented: int = 0
    box_px: list[float] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    moved_px: list[F32] = field(default_factory=list)

    @property
    def f1(self) -> float:
        """2 matched / (2 matched + missed + invented); 1 when both sides are empty."""
        total = 2 * self.matched + self.missed + self.invented
        return 2 * self.matched / total if total else 1.0

    @property
    def references(self) -> int:
        """How many reference predictions counted."""
        return self.matched + self.missed

    @property
    def shift_px(self) -> float:
        """How far the candidate's boxes lie beside the reference's on average, input pixels."""
        return shift(np.reshape(np.array(self.moved_px, np.float32), (-1, 2)))

    def add(
        self,
        reference: Instances,
        candidate: Instances,
        threshold: float,
        scale_xy: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        """Count one frame; both sides come with everything above `threshold` - MARGIN.

        `scale_xy` is the size of a source pixel in input pixels.
        """
        for row, column in _pairs(reference, candidate):
            scores = reference.scores[row], candidate.scores[column]
            if min(scores) < threshold + MARGIN:
                continue
            self.matched += 1
            corners = candidate.boxes_xyxy_px[column] - reference.boxes_xyxy_px[row]
            self.box_px.append(float(np.abs(corners).max()))
            self.score.append(abs(float(scores[0] - scores[1])))
            self.moved_px.append(_centers(corners) * np.array(scale_xy, np.float32))
        missed, invented = alone(reference, candidate, threshold)
        self.missed += int(missed.sum())
        self.invented += int(invented.sum())


def alone(reference: Instances, candidate: Instances, threshold: float) -> tuple[Flags, Flags]:
    """Which predictions of either side are sure, and have no partner on the other."""
    missed = reference.scores >= threshold + MARGIN
    invented = candidate.scores >= threshold + MARGIN
    for row, column in _pairs(reference, candidate):
        missed[row] = invented[column] = False
    return missed, invented


def shift(moved_px: F32) -> float:
    """The longer side of the mean of (N, 2) moves: 0 where they go in all directions, or nowhere.

    The mean, since a median would be deaf to a shift that only some boxes follow, as those that
    lie on a grid.
    """
    return float(np.abs(moved_px.mean(axis=0)).max()) if len(moved_px) else 0.0


def _pairs(reference: Instances, candidate: Instances) -> list[tuple[int, int]]:
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


@dataclass(frozen=True, slots=True)
class RowDifferences:
    """How canonical rows differ from their partners, each row of either side once.

    Attributes:
        box_px: (N,) largest difference of an edge, input pixels.
        score: (N,) difference of scores.
        is_tie: (N,) the other side has this very box and score under another class: the two
            classes were as good as equal.
        moved_px: (M, 2) from the reference's center to the candidate's, input pixels, of the rows
            within the limits: what went astray tells no direction.
    """

    box_px: F32
    score: F32
    is_tie: Flags
    moved_px: F32

    @classmethod
    def joined(cls, parts: Sequence["RowDifferences"]) -> "RowDifferences":
        """Of many frames, or of none."""
        none = np.empty(0, np.float32)
        return cls(
            np.concatenate([none, *(part.box_px for part in parts)]),
            np.concatenate([none, *(part.score for part in parts)]),
            np.concatenate([none.astype(bool), *(part.is_tie for part in parts)]),
            np.concatenate([np.empty((0, 2), np.float32), *(part.moved_px for part in parts)]),
        )


def row_differences(
    reference: Outputs, candidate: Outputs, *, floor: float, limits: tuple[float, float]
) -> RowDifferences:
    """Differences of canonical rows scored `floor` or more, matched as sets.

    A row's partner is the one of its class that is nearest in box and score, each measured by
    its limit. A row without one is compared with an unused row, which is empty: a row that was
    lost or invented differs by all that it is.

    Args:
        reference: boxes (1, K, 4), scores (1, K), class_ids (1, K).
        candidate: the same.
        floor: rows scored lower are not asked for; they may still be partners.
        limits: of box, input pixels, and of score.
    """
    rows, others = _stack(reference), _stack(candidate)
    there = [_compare(row, others, limits) for row in _asked_for(rows, floor)]
    back = [_compare(row, rows, limits) for row in _asked_for(others, floor)]
    found = np.array(there + back, np.float32).reshape(-1, 5)
    box_px, score, moved_px, is_tie = found[:, 0], found[:, 1], found[:, 2:4], found[:, 4] > 0
    moved_px[len(there) :] *= -1
    within = (box_px <= limits[0]) & (score <= limits[1])
    return RowDifferences(box_px, score, is_tie, moved_px[within])


def _asked_for(rows: F32, floor: float) -> F32:
    """The rows from `floor` on; of a full set, none that a hair's breadth could have left out."""
    best_first = rows[np.argsort(-rows[:, 4], kind="stable")]
    is_full = bool((rows[:, 5] >= 0).all())
    certain = best_first[: int(np.ceil(CERTAIN_SHARE * len(rows)))] if is_full else best_first
    result: F32 = certain[(certain[:, 4] >= floor) & (certain[:, 5] >= 0)]
    return result


def _compare(row: F32, others: F32, limits: tuple[float, float]) -> tuple[float, ...]:
    """Box and score difference to the partner, the way to its center in x and y, and a tie."""
    empty = np.array([[0, 0, 0, 0, 0, row[5]]], np.float32)
    same = np.concatenate([others[others[:, 5] == row[5]], empty])
    box, score = np.abs(same[:, :4] - row[:4]).max(axis=1), np.abs(same[:, 4] - row[4])
    nearest = int(np.maximum(box / limits[0], score / limits[1]).argmin())
    tied = (others[:, 5] >= 0) & (others[:, 5] != row[5])
    tied &= np.abs(others[:, :4] - row[:4]).max(axis=1) <= limits[0]
    tied &= np.abs(others[:, 4] - row[4]) <= limits[1]
    way = _centers(same[nearest, :4] - row[:4])
    return float(box[nearest]), float(score[nearest]), *way.tolist(), bool(tied.any())


def _centers(corners: F32) -> F32:
    """(2,) the middle of a box's (4,) corners, or of a difference of such."""
    result: F32 = corners.reshape(2, 2).mean(axis=0)
    return result


def _stack(rows: Outputs) -> F32:
    """(K, 6): box, score, class."""
    scores, class_ids = rows["scores"][0][:, None], rows["class_ids"][0][:, None]
    return np.concatenate([rows["boxes"][0], scores, class_ids], axis=1).astype(np.float32)
