"""From candidates to predictions: thresholds, suppression, source pixels, one clip."""

import numpy as np
import pytest

from appliance.errors import ApplianceError, NoNumbersError
from appliance.geometry import Fit, FitMode
from appliance.nms import NmsMode
from appliance.predictions import Instances
from appliance.tasks import Thresholds
from appliance.tasks.detection import TASK, DetectionTable

LABELS = ("person", "bicycle", "traffic light")
FIT = Fit.of(FitMode.LETTERBOX, (200, 100), (100, 100))  # half size, 25 px of padding above
BOX = (10, 35, 30, 55)  # input pixels; (20, 20, 60, 60) in the source
UNUSED = ((0, 0, 0, 0), 0.0, -1)


def judged(confidence=0.5, classes=None):
    return Thresholds.of(LABELS, confidence=confidence, classes=classes or {})


def table(**wanted):
    return DetectionTable(labels=LABELS, **{"max_detections": 10, **wanted})


def finish(*rows, fit=FIT, thresholds=judged(), **wanted):  # noqa: B008 - a frozen value
    """Rows are (box in input pixels, score, class); three unused ones follow."""
    boxes, scores, class_ids = zip(*rows, UNUSED, UNUSED, UNUSED, strict=True)
    outputs = {
        "boxes": np.array([boxes], np.float32),
        "scores": np.array([scores], np.float32),
        "class_ids": np.array([class_ids], np.int32),
    }
    return TASK.finish(outputs, fit, table(**wanted), thresholds)


def test_boxes_come_out_in_source_pixels():
    """A candidate in the input is a detection in the frame, in the contract's types."""
    found = finish((BOX, 0.9, 1))
    np.testing.assert_allclose(found.boxes_xyxy_px, [[20, 20, 60, 60]])
    np.testing.assert_allclose(found.scores, [0.9])
    assert found.class_ids.tolist() == [1]
    dtypes = [a.dtype.name for a in (found.boxes_xyxy_px, found.scores, found.class_ids)]
    assert dtypes == ["float32", "float32", "int32"]


def test_unused_rows_are_nothing():
    """Rows of class -1 never come out, even where everything is let through."""
    assert len(finish(thresholds=judged(confidence=0.0))) == 0


def test_the_confidence_is_the_lowest_score_that_counts():
    """A score at the threshold counts, one just below does not."""
    apart = (60, 35, 80, 55)
    found = finish((BOX, 0.5, 0), (apart, np.nextafter(np.float32(0.5), np.float32(0)), 0))
    assert found.scores.tolist() == [0.5]


def test_a_class_map_chooses_classes_and_thresholds():
    """Named classes have their own threshold or the common one; the others are left out."""
    mapped = judged(classes={"traffic light": 0.8, "person": None})
    apart = [(x, 35, x + 5, 55) for x in (0, 20, 40, 60, 80)]
    found = finish(
        (apart[0], 0.6, 0),
        (apart[1], 0.99, 1),
        (apart[2], 0.7, 2),
        (apart[3], 0.85, 2),
        (apart[4], 0.4, 0),
        thresholds=mapped,
    )
    assert sorted(zip(found.class_ids.tolist(), found.scores.round(2).tolist(), strict=True)) == [
        (0, pytest.approx(0.6)),
        (2, pytest.approx(0.85)),
    ]


def test_a_threshold_of_zero_is_a_threshold():
    """A class mapped to 0 lets every score through; it does not fall back to the common one."""
    assert len(finish((BOX, 0.1, 0), thresholds=judged(classes={"person": 0.0}))) == 1


def test_a_class_without_a_label_still_counts():
    """An id beyond the labels has the common threshold, and is left out of a class map (O-10)."""
    row = (BOX, 0.6, 7)
    assert finish(row).class_ids.tolist() == [7]
    assert len(finish((BOX, 0.4, 7))) == 0
    assert len(finish(row, thresholds=judged(classes={"person": 0.1}))) == 0


@pytest.mark.parametrize(
    ("box", "in_source"),
    [
        ((-5, 20, 20, 45), (0, 0, 40, 40)),
        ((-50, -50, 300, 300), (0, 0, 200, 100)),
        ((90, 60, 140, 90), (180, 70, 200, 100)),
    ],
)
def test_boxes_across_the_border_are_clipped_once(box, in_source):
    """A box that crosses the frame's border ends at it (O-16)."""
    np.testing.assert_allclose(finish((box, 0.9, 0)).boxes_xyxy_px, [in_source])


@pytest.mark.parametrize(
    "bad",
    [
        (400, 0, 500, 0),
        (400, 400, 500, 500),
        (30, 35, 10, 55),
        (10, 5, 30, 20),  # wholly in the padding
    ],
)
def test_a_bad_box_takes_no_other_with_it(bad):
    """A box outside, crossed, empty or no number goes; the good ones stay (O-16)."""
    found = finish((bad, 0.99, 0), (BOX, 0.9, 0))
    np.testing.assert_allclose(found.boxes_xyxy_px, [[20, 20, 60, 60]])


@pytest.mark.parametrize(
    ("nms", "classes_left"),
    [(NmsMode.PER_CLASS, [0, 1]), (NmsMode.AGNOSTIC, [0]), (NmsMode.NONE, [0, 0, 1])],
)
def test_suppression_follows_the_rules(nms, classes_left):
    """The card's mode decides whether classes compete."""
    found = finish((BOX, 0.9, 0), (BOX, 0.8, 0), (BOX, 0.7, 1), nms=nms)
    assert found.class_ids.tolist() == classes_left


def test_the_best_come_first_up_to_the_limit():
    """Instances are in the order of scores, and no more than asked for."""
    rows = [((10 * i, 35, 10 * i + 5, 55), 0.5 + 0.05 * i, 0) for i in range(6)]
    found = finish(*rows, max_detections=3)
    np.testing.assert_allclose(found.scores, [0.75, 0.7, 0.65])


def test_the_outputs_are_left_alone():
    """The slot's memory belongs to the engine: predictions do not point into it."""
    boxes = np.array([[BOX]], np.float32)
    scores, class_ids = np.array([[0.9]], np.float32), np.array([[0]], np.int32)
    outputs = {"boxes": boxes, "scores": scores, "class_ids": class_ids}
    found = TASK.finish(outputs, FIT, table(), judged())
    for ours, slot in (
        (found.boxes_xyxy_px, boxes),
        (found.scores, scores),
        (found.class_ids, class_ids),
    ):
        assert not np.shares_memory(ours, slot)


def test_detections_that_do_not_fit_together_are_refused():
    """Boxes, scores and classes have one row for each detection."""
    with pytest.raises(ApplianceError, match=r"boxes_xyxy_px: expected \(2, 4\), got \(1, 4\)"):
        Instances(np.zeros((1, 4), np.float32), np.zeros(2, np.float32), np.zeros(2, np.int32))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_an_error_and_not_an_empty_frame(number):
    """Whatever the other rows say: nobody knows what is in the picture."""
    with pytest.raises(NoNumbersError, match="scores holds values that are no numbers"):
        finish((BOX, 0.9, 0), (BOX, number, 1))


def test_a_box_that_is_no_number_is_an_error_where_its_score_counts():
    """Below the threshold it harms nobody: such rows are never looked at."""
    broken = (10, np.nan, 30, 55)
    assert len(finish((BOX, 0.9, 0), (broken, 0.1, 0))) == 1
    with pytest.raises(NoNumbersError, match="boxes holds values that are no numbers"):
        finish((BOX, 0.9, 0), (broken, 0.6, 0))
