"""The measure behind the gate: who is whose partner, and who counts."""

import numpy as np
import pytest

from appliance.optimizer.measures.agreement import (
    MARGIN,
    Agreement,
    RowDifferences,
    alone,
    row_differences,
    shift,
)
from appliance.predictions import Instances

THRESHOLD = 0.3
BOX, APART = (10, 10, 30, 30), (100, 100, 120, 120)


def detections(*rows):
    """Rows are (box, score, class)."""
    boxes, scores, class_ids = zip(*rows, strict=True) if rows else ((), (), ())
    return Instances(
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


def test_a_shift_is_what_all_pairs_have_in_common():
    """Moves to both sides cancel out, one to the same side does not; measured in input pixels."""
    agreement = Agreement()
    for moved in ((12, 10, 32, 30), (8, 10, 28, 30)):
        agreement.add(detections((BOX, 0.9, 1)), detections((moved, 0.9, 1)), THRESHOLD, (0.5, 0.5))
    assert agreement.shift_px == 0
    for moved in ((10, 8, 30, 28), (10, 8, 30, 28)):
        agreement.add(detections((BOX, 0.9, 1)), detections((moved, 0.9, 1)), THRESHOLD, (0.5, 0.5))
    assert agreement.shift_px == pytest.approx(0.5)


def test_nothing_is_shifted_by_nothing():
    """Without a pair there is no shift."""
    assert Agreement().shift_px == 0


def test_the_lonely_ones_are_named():
    """Each side's predictions without a partner are told; near the threshold none is."""
    faint = THRESHOLD + MARGIN / 2
    missed, invented = alone(
        detections((BOX, 0.9, 1), (APART, 0.9, 1)), detections((BOX, 0.9, 1)), THRESHOLD
    )
    assert (missed.tolist(), invented.tolist()) == ([False, True], [False])
    missed, invented = alone(
        detections((BOX, faint, 1)), detections((BOX, 0.9, 2), (APART, faint, 1)), THRESHOLD
    )
    assert (missed.tolist(), invented.tolist()) == ([False], [True, False])


LIMITS = (0.25, 0.01)


def rows(*entries, unused=2):
    """Canonical rows (box, score, class), filled up with unused ones."""
    entries = [*entries, *[((0, 0, 0, 0), 0, -1)] * unused]
    boxes, scores, class_ids = zip(*entries, strict=True)
    return {
        "boxes": np.array([boxes], np.float32),
        "scores": np.array([scores], np.float32),
        "class_ids": np.array([class_ids], np.int32),
    }


def most(one, other, limits=LIMITS):
    """The largest differences of box and score, and how many rows were compared."""
    found = row_differences(one, other, floor=0.05, limits=limits)
    count = len(found.box_px)
    return (found.box_px.max(), found.score.max(), count) if count else (0, 0, 0)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([(BOX, 0.9, 1), (APART, 0.9, 1)], [(APART, 0.9, 1), (BOX, 0.9, 1)], (0, 0, 4)),
        ([(BOX, 0.9, 1)], [((10, 10.5, 30, 30), 0.8, 1)], (0.5, 0.1, 2)),
        ([(BOX, 0.9, 1)], [(BOX, 0.9, 2)], (30, 0.9, 2)),
        ([(BOX, 0.9, 1)], [], (30, 0.9, 1)),
        ([], [(BOX, 0.9, 1)], (30, 0.9, 1)),
        ([(BOX, 0.9, 1), (APART, 0.04, 1)], [(BOX, 0.9, 1)], (0, 0, 2)),
        ([(BOX, 0.06, 1)], [(BOX, 0.04, 1)], (0, 0.02, 1)),
        ([], [], (0, 0, 0)),
    ],
    ids=["order", "moved", "class", "missing", "invented", "noise", "floor", "nothing"],
)
def test_rows_are_compared_as_sets(one, other, expected):
    """Order and noise do not matter; a lost or invented row differs by all that it is."""
    assert most(rows(*one), rows(*other)) == pytest.approx(expected)


def test_a_partner_is_near_in_box_and_score_together():
    """Two candidates on one object are told apart by their scores, not by a hair's breadth."""
    near = (10.01, 10, 30, 30)
    one = rows((BOX, 0.9, 1), (near, 0.4, 1))
    other = rows((near, 0.9, 1), (BOX, 0.4, 1))
    box_px, score, _ = most(one, other)
    assert box_px == pytest.approx(0.01, abs=1e-5)
    assert score == 0


def test_the_last_rows_of_a_full_set_may_trade_places_with_those_left_out():
    """Where there is room for ten, the tenth may be another one; where there is more, not."""
    entries = [((20 * k, 0, 20 * k + 10, 10), 0.9 - 0.05 * k, 1) for k in range(10)]
    tenth = ((0, 50, 10, 60), entries[-1][1], 1)
    assert most(rows(*entries, unused=0), rows(*entries[:-1], tenth, unused=0)) == (0, 0, 18)
    assert most(rows(*entries), rows(*entries[:-1], tenth))[1] > 0.4


@pytest.mark.parametrize(
    ("score", "is_tie"), [(0.9, True), (0.895, True), (0.8, False)], ids=["same", "near", "far"]
)
def test_a_tie_is_the_same_box_and_score_under_another_class(score, is_tie):
    """Two classes that are as good as equal may change places; one that lost may not."""
    found = row_differences(rows((BOX, 0.9, 1)), rows((BOX, score, 2)), floor=0.05, limits=LIMITS)
    assert found.is_tie.tolist() == [is_tie, is_tie]


def test_rows_are_shifted_from_the_reference_to_the_candidate():
    """Both ways of looking tell the same direction; what is beyond the limits tells none."""
    moved, astray = (11, 10, 31, 30), (105, 100, 125, 120)
    found = row_differences(
        rows((BOX, 0.9, 1), (APART, 0.9, 1)),
        rows((moved, 0.9, 1), (astray, 0.9, 1)),
        floor=0.05,
        limits=(2, 0.01),
    )
    assert found.moved_px.tolist() == [[1, 0], [1, 0]]
    assert shift(found.moved_px) == 1


def test_differences_of_frames_are_joined():
    """Every row of every frame counts once."""
    part = row_differences(rows((BOX, 0.9, 1)), rows((BOX, 0.9, 1)), floor=0.05, limits=LIMITS)
    joined = RowDifferences.joined([part, part])
    assert [
        len(each) for each in (joined.box_px, joined.score, joined.is_tie, joined.moved_px)
    ] == [4] * 4
