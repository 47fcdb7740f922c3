"""The yardstick: the original model as its authors ran it."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.catalog.card import Channels, InputCard, Interpolation, Layout, read_card
from appliance.geometry import Fit, FitMode
from appliance.optimizer.fittings import letterbox_of
from appliance.optimizer.heads import centernet
from appliance.optimizer.measures.detection import MEASURE
from appliance.optimizer.reference import Reference, place
from tests.support.models import paint


@pytest.fixture(scope="module")
def card(bright_spots):
    """The tiny detector's card."""
    return read_card(bright_spots / "model.toml")


@pytest.fixture(scope="module")
def reference(bright_spots, card):
    """The tiny detector as its authors would run it."""
    return Reference(bright_spots / "model.onnx", card, centernet.HEAD, threads=1)


@pytest.fixture(scope="module")
def detect(reference, card):
    """What the original finds in a frame, as the measure makes it of the reference's rows."""
    return lambda frame, confidence: MEASURE.predict(*reference.look(frame), card, confidence)


def with_input(card, **changes):
    return replace(card, input=replace(card.input, **changes))


def noise(size_wh):
    width, height = size_wh
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_it_finds_what_was_painted(detect):
    """Painted squares come out with their boxes, in source pixels; blue is nobody's color."""
    picture = paint(
        [("red", 30, 40, 90, 100), ("green", 200, 120, 280, 200), ("blue", 150, 20, 210, 80)]
    )
    found = detect(picture, confidence=0.5)
    by_class = dict(zip(found.class_ids.tolist(), found.boxes_xyxy_px.tolist(), strict=True))
    assert by_class[0] == pytest.approx([30, 40, 90, 100], abs=2)
    assert by_class[1] == pytest.approx([200, 120, 280, 200], abs=2)
    assert len(found) == 2


def test_boxes_end_at_the_frame(detect):
    """A square at the corner is not longer than the picture."""
    found = detect(paint([("red", 0, 0, 60, 60)]), confidence=0.5)
    assert found.boxes_xyxy_px.min() >= 0
    assert found.boxes_xyxy_px[0].tolist() == pytest.approx([0, 0, 60, 60], abs=2)


def test_the_confidence_is_heeded(detect):
    """Nothing below it comes out, something above it does."""
    picture = paint([("red", 100, 100, 140, 140)])
    everything = detect(picture, confidence=0.5)
    score = float(everything.scores[0])
    assert len(detect(picture, confidence=score + 0.01)) == 0


sizes = st.tuples(st.integers(1, 400), st.integers(1, 400))


@given(source_wh=sizes, mode=st.sampled_from([FitMode.LETTERBOX, FitMode.STRETCH]))
@settings(max_examples=50)
def test_it_places_a_frame_where_the_product_does(card, source_wh, mode):
    """Two independent letterboxes agree on every rectangle, whatever the frame's size."""
    image, placed = place(noise(source_wh), with_input(card, fit=mode, pad_value=9))
    fit = Fit.of(mode, source_wh, card.input.size_wh)
    assert image.shape == (64, 64, 3)
    assert placed.size_wh == source_wh
    assert placed.offset_xy.tolist() == list(fit.offset_xy)
    assert (placed.scale_xy * source_wh).round(3).tolist() == list(fit.resized_wh)
    assert (image[: fit.offset_xy[1]] == 9).all()


@given(source_wh=sizes, crop=st.floats(0.05, 1))
@settings(max_examples=50)
def test_it_crops_a_frame_where_the_product_does(card, source_wh, crop):
    """Two independent crops take the same pixels, and bring a point back to the same place."""
    frame = noise(source_wh)
    cropping = with_input(card, fit=FitMode.CROP, crop=crop)
    image, placed = place(frame, cropping)
    fit = Fit.of(FitMode.CROP, source_wh, card.input.size_wh, crop)
    assert image.shape == (64, 64, 3)
    corners = np.array([[0, 0], [64, 64]])
    box = corners.reshape(1, 4).astype(np.float32)
    back = (corners - placed.offset_xy) / placed.scale_xy
    np.testing.assert_allclose(back.reshape(1, 4), fit.to_source(box), atol=1e-3)
    ours = np.empty((64, 64, 3), np.uint8)
    letterbox_of(cropping).place(frame, ours)
    assert np.abs(ours - image).max() <= 1


@pytest.mark.parametrize(
    ("interpolation", "flag"),
    [(Interpolation.LINEAR, cv2.INTER_LINEAR), (Interpolation.AREA, cv2.INTER_AREA)],
)
@pytest.mark.parametrize("size_wh", [(320, 200), (333, 77), (128, 128)])
def test_it_resizes_as_opencv_does(card, interpolation, flag, size_wh):
    """The interpolation of the card is OpenCV's of that name, in float."""
    frame = noise(size_wh)
    stretched = with_input(card, fit=FitMode.STRETCH, interpolation=interpolation)
    image, _ = place(frame, stretched)
    expected = cv2.resize(frame.astype(np.float32), (64, 64), interpolation=flag)
    np.testing.assert_allclose(image, expected, atol=0.05)


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("channels", Channels)
def test_it_prepares_the_input_by_the_cards_words(bright_spots, card, layout, channels):
    """Order, layout, mean and deviation are applied in the model's channel order."""
    image = noise((64, 64)).astype(np.float32)
    mean, std = (10.0, 20.0, 30.0), (2.0, 4.0, 8.0)
    spec = InputCard(size_wh=(64, 64), layout=layout, channels=channels, mean=mean, std=std)
    reference = Reference(
        bright_spots / "model.onnx", replace(card, input=spec), centernet.HEAD, threads=1
    )
    tensor = reference._tensor(image)
    assert tensor.dtype == np.float32
    assert tensor.shape == ((1, 64, 64, 3) if layout is Layout.NHWC else (1, 3, 64, 64))
    for index in range(3):
        plane = tensor[0, ..., index] if layout is Layout.NHWC else tensor[0, index]
        source = image[..., 2 - index] if channels is Channels.RGB else image[..., index]
        np.testing.assert_allclose(plane, (source - mean[index]) / std[index])
