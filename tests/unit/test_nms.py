"""Suppression: which boxes survive, in which order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.nms import NmsMode, iou_matrix, suppress

# Two boxes that overlap by 0.6 of their union, and one far away.
BOXES = np.array([[0, 0, 10, 10], [0, 0, 10, 6], [50, 50, 60, 60]], np.float32)


def survivors(scores, class_ids, *, mode=NmsMode.PER_CLASS, iou=0.5, limit=10, boxes=BOXES):
    kept = suppress(
        np.asarray(boxes, np.float32),
        np.asarray(scores, np.float32),
        np.asarray(class_ids, np.int32),
        mode=mode,
        iou=iou,
        limit=limit,
    )
    return kept.tolist()


def slow_iou(one, two):
    """Intersection over union of two boxes, in plain words."""
    width = max(0.0, min(one[2], two[2]) - max(one[0], two[0]))
    height = max(0.0, min(one[3], two[3]) - max(one[1], two[1]))
    union = area(one) + area(two) - width * height
    return width * height / union if union else 0.0


def area(box):
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def slow_suppress(rows, *, mode, iou, limit):
    """Greedy suppression by its definition: rows are (box, score, class)."""
    kept = []
    for place in sorted(range(len(rows)), key=lambda place: -rows[place][1]):
        box, _, class_id = rows[place]
        rivals = [rows[k] for k in kept if mode is not NmsMode.NONE]
        if mode is NmsMode.PER_CLASS:
            rivals = [rival for rival in rivals if rival[2] == class_id]
        if all(slow_iou(box, rival[0]) <= iou for rival in rivals):
            kept.append(place)
    return kept[:limit]


@pytest.mark.parametrize(
    ("mode", "class_ids", "expected"),
    [
        (NmsMode.PER_CLASS, [0, 0, 0], [0, 2]),
        (NmsMode.PER_CLASS, [0, 1, 0], [0, 1, 2]),
        (NmsMode.AGNOSTIC, [0, 1, 0], [0, 2]),
        (NmsMode.NONE, [0, 0, 0], [0, 1, 2]),
    ],
)
def test_boxes_compete_within_the_mode(mode, class_ids, expected):
    """A box goes only for a better one that the mode lets it compete with."""
    assert survivors([0.9, 0.8, 0.7], class_ids, mode=mode) == expected


def test_an_overlap_equal_to_the_limit_survives():
    """A box goes when its overlap is above the limit, not at it."""
    halves = [[0, 0, 10, 10], [0, 0, 10, 5]]
    assert survivors([0.9, 0.8], [0, 0], iou=0.5, boxes=halves) == [0, 1]
    assert survivors([0.9, 0.8], [0, 0], iou=0.49, boxes=halves) == [0]


def test_a_suppressed_box_suppresses_nobody():
    """Of a chain of overlaps the first and the third survive."""
    chain = [[0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10]]
    assert survivors([0.9, 0.8, 0.7], [0, 0, 0], boxes=chain) == [0, 2]


def test_equal_scores_keep_their_row_order():
    """Among equals the first row wins."""
    assert survivors([0.5, 0.5, 0.5], [0, 0, 0]) == [0, 2]
    assert survivors([0.5, 0.5, 0.5], [0, 1, 2]) == [0, 1, 2]


@pytest.mark.parametrize("mode", NmsMode)
def test_the_best_survive_the_limit(mode):
    """The limit keeps the best rows, best first, in every mode."""
    assert survivors([0.1, 0.8, 0.9], [0, 1, 2], mode=mode, limit=1) == [2]


@pytest.mark.parametrize("mode", NmsMode)
def test_nothing_survives_nothing(mode):
    """No rows in, no rows out."""
    assert survivors([], [], mode=mode, boxes=np.empty((0, 4))) == []


def test_boxes_without_area_overlap_nothing():
    """Empty and crossed boxes have an overlap of zero, even with themselves."""
    boxes = np.array([[5, 5, 5, 9], [9, 9, 1, 1], [0, 0, 10, 10]], np.float32)
    expected = np.zeros((3, 3), np.float32)
    expected[2, 2] = 1
    np.testing.assert_array_equal(iou_matrix(boxes, boxes), expected)


corners = st.integers(-4, 12)
rows_of_boxes = st.lists(
    st.tuples(st.tuples(corners, corners, corners, corners), st.integers(0, 5), st.integers(0, 2)),
    max_size=12,
)


@given(
    rows=rows_of_boxes,
    mode=st.sampled_from(list(NmsMode)),
    iou=st.sampled_from([0.3, 0.52, 0.7]),
    limit=st.integers(1, 12),
)
def test_it_equals_the_definition(rows, mode, iou, limit):
    """Whatever the boxes, also crossed, empty and tied ones: the rows are those of the rule."""
    boxes = np.array([row[0] for row in rows], np.float32).reshape(-1, 4)
    scores, class_ids = [row[1] / 5 for row in rows], [row[2] for row in rows]
    found = survivors(scores, class_ids, mode=mode, iou=iou, limit=limit, boxes=boxes)
    assert found == slow_suppress(rows, mode=mode, iou=iou, limit=limit)
