"""From scores to classes: thresholds, order, and how they are told."""

import numpy as np
import pytest

from appliance.errors import ApplianceError, NoNumbersError
from appliance.geometry import Fit, FitMode
from appliance.predictions import Classification
from appliance.tasks import Thresholds
from appliance.tasks.classification import TASK, ClassificationTable

LABELS = ("cat", "dog", "fox")
FIT = Fit.of(FitMode.CROP, (200, 100), (100, 100))


def finish(scores, class_ids, *, confidence=0.0, classes=None, **wanted):
    outputs = {
        "scores": np.array([scores], np.float32),
        "class_ids": np.array([class_ids], np.int32),
    }
    thresholds = Thresholds.of(LABELS, confidence=confidence, classes=classes or {})
    return TASK.finish(outputs, FIT, ClassificationTable(labels=LABELS, **wanted), thresholds)


def rows(found):
    return list(zip(found.class_ids.tolist(), found.scores.round(3).tolist(), strict=True))


def test_the_best_classes_come_out_in_order():
    """Classes stay as the engine ranks them, in the contract's types."""
    found = finish([0.7, 0.2, 0.1], [2, 0, 1])
    assert rows(found) == [
        (2, pytest.approx(0.7)),
        (0, pytest.approx(0.2)),
        (1, pytest.approx(0.1)),
    ]
    assert (found.scores.dtype, found.class_ids.dtype) == (np.float32, np.int32)
    assert found.names(LABELS) == ["fox", "cat", "dog"]


def test_the_confidence_is_the_lowest_score_that_counts():
    """A score at the threshold counts, one just below does not; a class may have its own."""
    below = float(np.nextafter(np.float32(0.5), np.float32(0)))
    assert rows(finish([0.5, below], [1, 2], confidence=0.5)) == [(1, 0.5)]
    chosen = finish([0.5, 0.3, 0.2], [1, 2, 0], confidence=0.5, classes={"fox": 0.3, "cat": None})
    assert rows(chosen) == [(2, pytest.approx(0.3))]


def test_unused_rows_are_nothing():
    """Rows of class -1 never come out, even where everything is let through."""
    assert rows(finish([1.0, 0.0], [0, -1])) == [(0, 1.0)]


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_an_error_and_not_an_empty_picture(number):
    """Nobody knows what the picture shows, whatever the other scores say."""
    with pytest.raises(NoNumbersError, match="scores holds values that are no numbers"):
        finish([0.9, number], [0, 1])


def test_the_outputs_are_left_alone():
    """The slot's memory belongs to the engine: predictions do not point into it."""
    outputs = {"scores": np.ones((1, 2), np.float32), "class_ids": np.array([[0, 1]], np.int32)}
    thresholds = Thresholds.of(LABELS, confidence=0, classes={})
    found = TASK.finish(outputs, FIT, ClassificationTable(), thresholds)
    assert not np.shares_memory(found.scores, outputs["scores"])
    assert not np.shares_memory(found.class_ids, outputs["class_ids"])


@pytest.mark.parametrize(
    ("table", "classes", "leave"),
    [
        ({}, 1000, 5),
        ({}, 3, 3),
        ({"top_k": 10}, 1000, 10),
        ({"multi_label": True}, 80, 80),
        ({"multi_label": True}, 9000, 3840),
    ],
)
def test_where_classes_do_not_compete_all_of_them_are_told_of(table, classes, leave):
    """Of competing classes the best leave the engine; of others every one that TopK can take."""
    assert ClassificationTable(**table).rows(classes) == leave


def test_it_is_told_in_columns_and_as_a_document():
    """The page gets columns, programs get objects with names; numbers have few digits."""
    found = finish([0.123456, 0.1], [1, 7])
    assert TASK.columns(found) == {"scores": [0.123, 0.1], "class_ids": [1, 7]}
    assert TASK.document(found, LABELS) == {
        "classes": [
            {"class": "dog", "class_id": 1, "score": 0.1235},
            {"class": "class_7", "class_id": 7, "score": 0.1},
        ]
    }


def test_a_classification_is_the_same_in_every_size():
    """It is the whole picture's; what scores too little can be left out."""
    found = finish([0.7, 0.2], [2, 0])
    assert found.scaled(0.5) is found
    assert rows(found.from_score(0.5)) == [(2, pytest.approx(0.7))]
    assert len(Classification.empty()) == len(TASK.nothing) == 0


def test_columns_that_do_not_fit_together_are_refused():
    """Scores and classes have one row for each class."""
    with pytest.raises(ApplianceError, match=r"class_ids: expected \(2,\), got \(1,\)"):
        Classification(np.zeros(2, np.float32), np.zeros(1, np.int32))
