"""The best classes, burned into a corner of a picture."""

import numpy as np
import pytest

from appliance.predictions import Classification
from appliance.render.classification import LINES, draw_classes
from appliance.render.labels import BOX_BGR, HALO_BGR

GRAY = 128


def drawn(count, size_wh=(640, 480)):
    picture = np.full((size_wh[1], size_wh[0], 3), GRAY, np.uint8)
    scores = np.linspace(0.9, 0.1, count, dtype=np.float32)
    found = Classification(scores, np.arange(count, dtype=np.int32))
    draw_classes(picture, found, [f"class {index}" for index in range(count)])
    return picture


def bottom(picture):
    """The last row that was drawn in, from 0; -1 where nothing was."""
    rows = np.flatnonzero((picture != GRAY).any(axis=(1, 2)))
    return int(rows[-1]) if len(rows) else -1


def test_the_best_classes_stand_in_the_corner():
    """Light letters on a dark ground, at the left top; the rest of the picture is untouched."""
    picture = drawn(2)
    assert (picture == BOX_BGR).all(axis=2).any()
    assert (picture == HALO_BGR).all(axis=2).any()
    assert (picture[240:] == GRAY).all()
    assert (picture[:, 320:] == GRAY).all()


def test_each_class_has_a_line_up_to_a_few():
    """Lines stand below each other, and a picture with many labels can still be seen."""
    heights = [bottom(drawn(count)) for count in range(1, LINES + 3)]
    assert (np.diff(heights[:LINES]) > 0).all()
    assert len(set(heights[LINES - 1 :])) == 1


@pytest.mark.parametrize("size_wh", [(16, 16), (20, 400), (4000, 30), (1, 1)])
def test_what_has_no_room_is_left_out(size_wh):
    """No line is cut at the bottom, and none fails, however small the picture is."""
    assert bottom(drawn(5, size_wh)) < size_wh[1]


def test_no_class_leaves_the_picture_as_it_is():
    """Where nothing counts, nothing is drawn."""
    assert (drawn(0) == GRAY).all()
