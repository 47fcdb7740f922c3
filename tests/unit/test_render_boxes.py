"""Boxes burned into a picture: white with a halo, dashed where one side is alone, readable."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.predictions import Instances
from appliance.render.boxes import ALONE_BGR, BOX_BGR, HALO_BGR, draw_boxes
from tests.support.models import paint


def detections(*boxes, score=0.9):
    count = len(boxes)
    return Instances(
        np.array(boxes, np.float32).reshape(count, 4),
        np.full(count, score, np.float32),
        np.zeros(count, np.int32),
    )


def gray(size_wh=(640, 480)):
    return np.full((size_wh[1], size_wh[0], 3), 90, np.uint8)


def pixels(picture, color):
    return int((picture == np.array(color, np.uint8)).all(axis=2).sum())


def test_a_box_is_drawn_on_its_edges_with_a_halo():
    """The line lies on the box, white; beside it is a dark one, so that it shows on anything."""
    picture = gray()
    draw_boxes(picture, detections((100, 100, 300, 300)), ["person"])
    assert picture[200, 100].tolist() == list(BOX_BGR)
    assert picture[200, 300].tolist() == list(BOX_BGR)
    assert pixels(picture[150:250, 90:98], HALO_BGR) + pixels(picture[150:250, 102:106], HALO_BGR)
    assert picture[200, 200].tolist() == [90, 90, 90]


def test_a_lonely_box_is_amber_and_dashed():
    """What one side alone has seen is told by color and by line."""
    found = detections((50, 200, 250, 400), (350, 200, 550, 400))
    both, one = gray(), gray()
    draw_boxes(both, found, ["", ""])
    draw_boxes(one, found, ["", ""], alone=np.array([False, True]))
    assert pixels(both, ALONE_BGR) == 0
    edge = pixels(both[250:350, 345:355], BOX_BGR)
    assert pixels(one[250:350, 345:355], BOX_BGR) == 0
    assert 0.3 * edge < pixels(one[250:350, 345:355], ALONE_BGR) < 0.8 * edge
    np.testing.assert_array_equal(one[:, :300], both[:, :300])


def test_labels_stay_in_the_picture_and_off_each_other():
    """A box at the edge has its label inside; a second one on the same box finds another place."""
    one, two = gray(), gray()
    corner = (500, 0, 640, 60)
    draw_boxes(one, detections(corner), ["traffic light"])
    draw_boxes(two, detections(corner, corner), ["traffic light", "traffic light"])
    dark = [pixels(picture, HALO_BGR) for picture in (one, two)]
    assert dark[1] > 1.6 * dark[0]


@pytest.mark.parametrize(
    ("width", "labels"), [(80, False), (160, False), (640, True), (3840, True)]
)
def test_a_small_picture_shows_boxes_only(width, labels):
    """Where a label would cover what it names, there is none."""
    size_wh = (width, width * 3 // 4)
    box = tuple(width * share for share in (0.3, 0.3, 0.6, 0.6))
    named, nameless = gray(size_wh), gray(size_wh)
    draw_boxes(named, detections(box), ["person"])
    draw_boxes(nameless, detections(box), [""])
    assert (named != nameless).any() == labels


def test_a_large_picture_has_large_lines():
    """Shown as wide as a small one, it reads the same."""
    small, large = gray((640, 480)), gray((2560, 1920))
    draw_boxes(small, detections((100, 100, 300, 300)), [""])
    draw_boxes(large, detections((400, 400, 1200, 1200)), [""])
    shares = [pixels(picture, BOX_BGR) / picture.size for picture in (small, large)]
    assert shares[1] == pytest.approx(shares[0], rel=0.3)


def test_nothing_is_drawn_for_nothing():
    """Without detections a picture stays as it was."""
    picture = paint([("red", 10, 10, 60, 60)])
    before = picture.copy()
    draw_boxes(picture, Instances.empty(), [])
    np.testing.assert_array_equal(picture, before)


sides = st.integers(1, 300)
corners = st.floats(-1e4, 1e4, width=32)


@settings(max_examples=50)
@given(width=sides, height=sides, boxes=st.lists(st.tuples(*[corners] * 4), max_size=5))
def test_whatever_the_box_the_picture_stays_one(width, height, boxes):
    """Boxes beyond the frame, without area or with crossed corners are drawn as far as they go."""
    picture = gray((width, height))
    draw_boxes(
        picture,
        detections(*boxes),
        ["Fußgänger"] * len(boxes),
        alone=np.ones(len(boxes), bool),
    )
    assert picture.shape == (height, width, 3)
