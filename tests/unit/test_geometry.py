"""Fitting a frame into an input and bringing boxes back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ModelError
from appliance.geometry import Fit, FitMode, clip, has_area

sides = st.integers(1, 8192)
sizes = st.tuples(sides, sides)
inputs = st.tuples(st.integers(16, 2048), st.integers(16, 2048))
shares = st.floats(0, 1, width=32)


def letterboxed(source_wh, input_wh):
    return Fit.of(FitMode.LETTERBOX, source_wh, input_wh)


def naive_to_source(box, source_wh, input_wh):
    """The usual mistake: one scale for both axes, and a padding from the unrounded size."""
    scale = min(input_wh[0] / source_wh[0], input_wh[1] / source_wh[1])
    pad = [round((input_wh[axis] - source_wh[axis] * scale) / 2 - 0.1) for axis in (0, 1)]
    return (np.array(box) - np.tile(pad, 2)) / scale


def drawn_at(box, fit):
    """Where a box of source pixels really lies in the input: the picture's own rectangle."""
    stretch = [fit.resized_wh[axis] / fit.source_wh[axis] for axis in (0, 1)]
    return np.array(box) * np.tile(stretch, 2) + np.tile(fit.offset_xy, 2)


@given(
    source_wh=sizes, input_wh=inputs, mode=st.sampled_from(FitMode), box=st.tuples(*[shares] * 4)
)
def test_boxes_come_back_within_half_a_pixel(source_wh, input_wh, mode, box):
    """To the input and back is the same box, for odd paddings and extreme ratios too."""
    fit = Fit.of(mode, source_wh, input_wh)
    boxes = np.array([box], np.float32) * np.tile(np.array(source_wh, np.float32), 2)
    back = fit.to_source(fit.to_input(boxes))
    assert back.dtype == np.float32
    assert np.abs(back - boxes).max() <= 0.5


@pytest.mark.parametrize(
    ("source_wh", "input_wh", "axis", "error_px"),
    [((3775, 1571), (1280, 1280), 1, 2.95), ((1600, 2128), (320, 320), 0, 6.65)],
)
def test_the_padding_that_was_painted_is_the_padding_that_is_taken_off(
    source_wh, input_wh, axis, error_px
):
    """Whole-pixel padding is kept, where the naive formula is off by pixels (O-15)."""
    fit = letterboxed(source_wh, input_wh)
    box = [0, 0, *source_wh]
    seen = drawn_at(box, fit)
    assert abs(naive_to_source(seen, source_wh, input_wh)[axis]) == pytest.approx(
        error_px, abs=0.01
    )
    ours = fit.to_source(np.array([seen], np.float32))[0]
    np.testing.assert_allclose(ours, box, atol=0.01)


@pytest.mark.slow
def test_ten_thousand_sizes_come_back_exactly():
    """Over random sizes the naive formula errs by pixels, ours by rounding of floats (O-15)."""
    random = np.random.default_rng(15)
    worst, worst_naive = 0.0, 0.0
    for width, height in random.integers(16, 4096, (10_000, 2)):
        source_wh, input_wh = (int(width), int(height)), (640, 640)
        fit = letterboxed(source_wh, input_wh)
        box = np.array([0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height])
        seen = drawn_at(box, fit)
        ours = fit.to_source(seen[None].astype(np.float32))[0]
        worst = max(worst, float(np.abs(ours - box).max()))
        naive = naive_to_source(seen, source_wh, input_wh)
        worst_naive = max(worst_naive, float(np.abs(naive - box).max()))
    assert worst < 0.05
    assert worst_naive > 2


@given(source_wh=sizes, input_wh=inputs)
def test_a_letterboxed_picture_lies_inside_and_centered(source_wh, input_wh):
    """Padding is whole pixels, at most one more right and below than left and above."""
    fit = letterboxed(source_wh, input_wh)
    touching = 0
    for axis in (0, 1):
        before = fit.offset_xy[axis]
        after = input_wh[axis] - fit.resized_wh[axis] - before
        assert fit.resized_wh[axis] >= 1
        assert after - before in {0, 1}
        touching += after == before == 0
    assert touching >= 1


def test_stretching_fills_the_input():
    """A stretched frame has no padding, and each axis its own scale."""
    fit = Fit.of(FitMode.STRETCH, (200, 50), (100, 100))
    assert (fit.resized_wh, fit.offset_xy) == ((100, 100), (0, 0))
    box = fit.to_input(np.array([[20, 10, 200, 50]], np.float32))
    np.testing.assert_allclose(box, [[10, 20, 100, 100]])


@pytest.mark.parametrize(
    ("source_wh", "input_wh", "crop", "taken_wh", "taken_xy"),
    [
        ((320, 240), (224, 224), 1.0, (240, 240), (40, 0)),
        ((451, 300), (224, 224), 0.875, (262, 262), (94, 19)),
        ((300, 451), (224, 224), 0.875, (262, 262), (19, 94)),
        ((1920, 1080), (320, 160), 0.5, (960, 480), (480, 300)),
        ((100, 1), (224, 224), 0.875, (1, 1), (49, 0)),
    ],
)
def test_a_cropped_frame_gives_its_center_in_the_inputs_shape(
    source_wh, input_wh, crop, taken_wh, taken_xy
):
    """Of the largest part in the input's shape the share is taken, and fills the input."""
    fit = Fit.of(FitMode.CROP, source_wh, input_wh, crop)
    assert (fit.taken_wh, fit.taken_xy) == (taken_wh, taken_xy)
    assert (fit.resized_wh, fit.offset_xy) == (input_wh, (0, 0))
    left, top, right, bottom = fit.to_source(np.array([[0, 0, *input_wh]], np.float32))[0]
    assert (left, top) == pytest.approx(taken_xy)
    assert (right - left, bottom - top) == pytest.approx(taken_wh, abs=1e-3)


@given(source_wh=sizes, input_wh=inputs, crop=st.floats(0.01, 1), box=st.tuples(*[shares] * 4))
def test_a_crop_lies_inside_and_boxes_come_back_from_it(source_wh, input_wh, crop, box):
    """Inside the frame, in its middle, and to the input and back is the same, in all sizes."""
    fit = Fit.of(FitMode.CROP, source_wh, input_wh, crop)
    for axis in (0, 1):
        before = fit.taken_xy[axis]
        after = source_wh[axis] - fit.taken_wh[axis] - before
        assert before >= 0
        assert after - before in {0, 1}
    boxes = np.array([box], np.float32) * np.tile(np.array(source_wh, np.float32), 2)
    assert np.abs(fit.to_source(fit.to_input(boxes)) - boxes).max() <= 0.5


@pytest.mark.parametrize("sizes_wh", [((0, 5), (64, 64)), ((5, 5), (64, 0)), ((-1, 5), (64, 64))])
@pytest.mark.parametrize("mode", FitMode)
def test_a_size_that_is_none_is_refused(mode, sizes_wh):
    """A frame or input without pixels is refused, not divided by."""
    with pytest.raises(ModelError, match="at least 1 x 1"):
        Fit.of(mode, *sizes_wh)


@pytest.mark.parametrize(
    ("box", "clipped", "visible"),
    [
        ((-5, -5, 20, 20), (0, 0, 20, 20), True),
        ((400, 0, 500, 0), (320, 0, 320, 0), False),
        ((900, 900, 950, 950), (320, 240, 320, 240), False),
        ((-50, -50, 900, 900), (0, 0, 320, 240), True),
        ((80, 20, 40, 60), (80, 20, 40, 60), False),
        ((10, 10, 10.005, 20), (10, 10, 10.005, 20), False),
        ((np.nan, 0, 10, 10), (np.nan, 0, 10, 10), False),
        ((0, 0, np.inf, 10), (0, 0, 320, 10), True),
    ],
)
def test_boxes_at_and_beyond_the_border(box, clipped, visible):
    """A box is cut to the frame, and one without an area is told from one with (O-16)."""
    found = clip(np.array([box], np.float32), (320, 240))
    np.testing.assert_allclose(found, [clipped])
    assert has_area(found).tolist() == [visible]


def test_infinite_corners_are_no_box():
    """Before clipping an infinite corner is a broken box, told without a warning (O-16)."""
    boxes = np.array([[0, 0, np.inf, 10], [-np.inf, -np.inf, np.inf, np.inf]], np.float32)
    assert has_area(boxes).tolist() == [False, False]


def test_no_boxes_are_no_trouble():
    """Zero boxes stay zero boxes."""
    none = np.empty((0, 4), np.float32)
    fit = letterboxed((320, 240), (64, 64))
    assert fit.to_source(fit.to_input(none)).shape == (0, 4)
    assert has_area(clip(none, (320, 240))).shape == (0,)
