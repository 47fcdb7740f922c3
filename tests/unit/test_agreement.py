"""The measure behind the gate: who is whose partner, and who counts."""

import numpy as np
import pytest

from appliance.optimizer.agreement import MARGIN, Agreement, row_differences
from appliance.values import Detections

THRESHOLD = 0.3
BOX, APART = (10, 10, 30, 30), (100, 100, 120, 120)


def detections(*rows):
    """Rows are (box, score, class)."""
    boxes, scores, class_ids = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(class_ids, np.int32),
    )


def counted(reference, candidate):
    """Matched, missed, invented after one frame."""
    agreement = Agreement()
    agreement.add(detections(*reference), detections(*candidate), THRESHOLD)
    return agreement.matched, agreement.missed, agreement.invented


@pytest.mark.parametrize(
    ("reference", "candidate", "expected"),
    [
        ([], [], (0, 0, 0)),
        ([(BOX, 0.9, 1)], [(BOX, 0.8, 1)], (1, 0, 0)),
        ([(BOX, 0.9, 1)], [], (0, 1, 0)),
        ([], [(BOX, 0.9, 1)], (0, 0, 1)),
        ([(BOX, 0.9, 1)], [(BOX, 0.9, 2)], (0, 1, 1)),
        ([(BOX, 0.9, 1)], [(APART, 0.9, 1)], (0, 1, 1)),
        ([(BOX, 0.9, 1), (APART, 0.8, 1)], [(APART, 0.8, 1), (BOX, 0.9, 1)], (2, 0, 0)),
        ([(BOX, 0.9, 1)], [(BOX, 0.9, 1), (BOX, 0.8, 1)], (1, 0, 1)),
    ],
    ids=[
        "nothing",
        "same",
        "missed",
        "invented",
        "other class",
        "elsewhere",
        "other order",
        "doubled",
    ],
)
def test_partners_are_of_one_class_and_overlap(reference, candidate, expected):
    """Each box has at most one partner, whatever the order of rows."""
    assert counted(reference, candidate) == expected


def test_the_largest_overlap_pairs_first():
    """A box goes with its own twin, not with a neighbor that overlaps it too."""
    shifted = (14, 10, 34, 30)
    assert counted([(BOX, 0.9, 1), (shifted, 0.8, 1)], [(shifted, 0.9, 1), (BOX, 0.8, 1)]) == (
        2,
        0,
        0,
    )


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [(0.31, None), (None, 0.31), (0.31, 0.29), (0.29, 0.9), (0.9, 0.31)],
)
def test_scores_near_the_threshold_count_for_neither_side(reference, candidate):
    """A box just above the threshold is no proof, alone or in a pair."""
    rows = [[(BOX, score, 1)] if score else [] for score in (reference, candidate)]
    assert counted(*rows) == (0, 0, 0)


def test_just_outside_the_margin_counts():
    """At the threshold and the margin a lone box is missed or invented."""
    sure = THRESHOLD + MARGIN + 0.001
    assert counted([(BOX, sure, 1)], []) == (0, 1, 0)
    assert counted([], [(BOX, sure, 1)]) == (0, 0, 1)


def test_f1_and_differences_of_pairs():
    """F1 is that of all frames together; each pair leaves its box and score difference."""
    agreement = Agreement()
    moved = (11, 10, 30, 33)
    agreement.add(detections((BOX, 0.9, 1)), detections((moved, 0.8, 1)), THRESHOLD)
    agreement.add(detections((BOX, 0.9, 1)), detections(), THRESHOLD)
    agreement.add(detections(), detections((BOX, 0.9, 1)), THRESHOLD)
    assert agreement.f1 == pytest.approx(0.5)
    assert agreement.references == 2
    assert agreement.box_px == pytest.approx([3])
    assert agreement.score == pytest.approx([0.1])


def test_agreement_on_nothing_is_agreement():
    """Two empty sides agree."""
    assert Agreement().f1 == 1


def rows(*entries):
    """Canonical rows (box, score, class), filled up with two unused ones."""
    entries = [*entries, ((0, 0, 0, 0), 0, -1), ((0, 0, 0, 0), 0, -1)]
    boxes, scores, class_ids = zip(*entries, strict=True)
    return {
        "boxes": np.array([boxes], np.float32),
        "scores": np.array([scores], np.float32),
        "class_ids": np.array([class_ids], np.int32),
    }


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([(BOX, 0.9, 1), (APART, 0.9, 1)], [(APART, 0.9, 1), (BOX, 0.9, 1)], (0, 0)),
        ([(BOX, 0.9, 1)], [((10, 10.5, 30, 30), 0.8, 1)], (0.5, 0.1)),
        ([(BOX, 0.9, 1)], [(BOX, 0.9, 2)], (np.inf, np.inf)),
        ([(BOX, 0.9, 1)], [], (np.inf, np.inf)),
        ([], [(BOX, 0.9, 1)], (np.inf, np.inf)),
        ([(BOX, 0.9, 1), (APART, 0.04, 1)], [(BOX, 0.9, 1)], (0, 0)),
        ([], [], (0, 0)),
    ],
    ids=["order", "moved", "class", "missing", "invented", "noise", "nothing"],
)
def test_rows_are_compared_as_sets(one, other, expected):
    """Order and noise do not matter; a missing or invented row is an infinite difference."""
    assert row_differences(rows(*one), rows(*other), floor=0.05) == pytest.approx(expected)
