"""Fitting a frame into an engine slot: in place, exact, and without new memory."""

import tracemalloc

import numpy as np
import pytest

from appliance.errors import EngineError
from appliance.geometry import FitMode
from appliance.letterbox import Letterbox

PAD = 114


def letterbox(input_wh=(64, 48), *, mode=FitMode.LETTERBOX, interpolation="linear", crop=1.0):
    return Letterbox(
        input_wh=input_wh, mode=mode, pad_value=PAD, interpolation=interpolation, crop=crop
    )


def noise(size_wh, seed=0):
    width, height = size_wh
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def dirty_slot(input_wh=(64, 48)):
    return np.full((input_wh[1], input_wh[0], 3), 7, np.uint8)


def resized_by_hand(frame, size_wh):
    """Bilinear interpolation with half-pixel centers in float, (h, w, 3)."""
    rows, columns = (
        weights(source, target)
        for source, target in zip(frame.shape[:2], size_wh[::-1], strict=True)
    )
    return np.einsum("yh,hwc,xw->yxc", rows, frame.astype(float), columns, optimize=True)


def weights(source, target):
    """(target, source): how much each source line gives to each target line."""
    centers = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    return np.clip(1 - np.abs(centers[:, None] - np.arange(source)), 0, None)


@pytest.mark.parametrize("mode", FitMode)
@pytest.mark.parametrize("size_wh", [(320, 240), (37, 211), (500, 20), (64, 48), (10, 8)])
def test_it_equals_an_independent_letterbox(size_wh, mode):
    """Picture and padding are those of a float letterbox, within one gray level."""
    frame, slot = noise(size_wh), dirty_slot()
    fit = letterbox(mode=mode).place(frame, slot)
    expected = np.full(slot.shape, float(PAD))
    (left, top), (width, height) = fit.offset_xy, fit.resized_wh
    (x, y), (wide, high) = fit.taken_xy, fit.taken_wh
    inner = resized_by_hand(frame[y : y + high, x : x + wide], fit.resized_wh)
    expected[top : top + height, left : left + width] = inner
    assert np.abs(slot - expected).max() <= 1
    outside = np.ones(slot.shape, bool)
    outside[top : top + height, left : left + width] = False
    assert (slot[outside] == PAD).all()


def test_a_crop_takes_the_center_alone():
    """What lies outside the center leaves no trace in the slot."""
    frame = noise((128, 96))
    frame[24:72, 32:96] = 200
    slot = dirty_slot()
    letterbox(mode=FitMode.CROP, crop=0.5, interpolation="area").place(frame, slot)
    assert (slot == 200).all()


@pytest.mark.parametrize("mode", FitMode)
def test_a_single_picture_comes_into_a_slot_as_a_frame_does(mode):
    """A picture that was fitted apart is copied, not fitted again, and padding stays right."""
    box, slot, frame = letterbox(mode=mode, crop=0.5), dirty_slot(), noise((320, 60))
    box.place(frame, slot)
    expected = slot.copy()
    fitted, fit = box.fitted(picture := noise((60, 320), seed=1))
    box.put(fitted, slot)
    np.testing.assert_array_equal(slot, fitted)
    assert fit == box.place(picture, dirty_slot())
    box.place(frame, slot)
    np.testing.assert_array_equal(slot, expected)


def test_area_interpolation_averages():
    """With area, each target pixel is the mean of the source pixels under it."""
    frame, slot = noise((128, 96)), dirty_slot()
    letterbox(interpolation="area").place(frame, slot)
    means = frame.reshape(48, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(slot - means).max() <= 1


def test_a_frame_of_the_inputs_size_is_copied_exactly():
    """Nothing is interpolated where nothing has to be."""
    frame, slot = noise((64, 48)), dirty_slot()
    letterbox().place(frame, slot)
    np.testing.assert_array_equal(slot, frame)


def test_it_writes_into_the_slots_own_memory():
    """The picture lands in the slot of an engine's batch, and nowhere else."""
    batch = np.full((3, 48, 64, 3), 7, np.uint8)
    letterbox().place(noise((320, 200)), batch[1])
    assert batch[1].std() > 0
    assert (batch[[0, 2]] == 7).all()


def test_padding_is_painted_again_when_the_frame_size_changes():
    """Two cameras of different shapes may share a slot: no stripe of the other stays."""
    box, slot = letterbox(), dirty_slot()
    for size_wh in ((320, 60), (60, 320), (320, 60), (60, 320)):
        frame, fresh = noise(size_wh), dirty_slot()
        box.place(frame, slot)
        letterbox().place(frame, fresh)
        np.testing.assert_array_equal(slot, fresh)


def test_each_slot_gets_its_own_padding():
    """A second slot is painted too, although its fit is known already."""
    box, slots = letterbox(), [dirty_slot(), dirty_slot()]
    frame = noise((320, 60))
    for slot in slots:
        box.place(frame, slot)
    np.testing.assert_array_equal(slots[0], slots[1])


def test_the_frame_is_left_alone():
    """Published frames are read-only, and reading is all that is done."""
    frame = noise((320, 240))
    before = frame.copy()
    frame.flags.writeable = False
    letterbox().place(frame, dirty_slot())
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize(
    "slot", [np.zeros((48, 64, 3), np.float32), np.zeros((48, 64, 4), np.uint8)]
)
def test_a_slot_of_another_kind_is_an_error(slot):
    """OpenCV would write elsewhere without a word; the old picture would be inferred on."""
    with pytest.raises(EngineError, match="slot: expected"):
        letterbox().place(noise((320, 240)), slot)


def test_a_slot_of_another_size_is_an_error():
    """A slot that is smaller than the input is refused."""
    with pytest.raises(EngineError, match="slot: expected"):
        letterbox().place(noise((320, 240)), np.zeros((20, 20, 3), np.uint8))


def test_a_running_camera_allocates_no_frame():
    """After the first frame nothing of a frame's size is allocated any more."""
    box, slot = letterbox((640, 640)), np.zeros((640, 640, 3), np.uint8)
    frame = noise((1280, 720))
    box.place(frame, slot)
    tracemalloc.start()
    try:
        for _ in range(5):
            box.place(frame, slot)
        _, peak_bytes = tracemalloc.get_traced_memory()
        kept = [frame.copy()]
        _, with_copy_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 64 * 1024
    assert with_copy_bytes > kept[0].nbytes  # numpy's memory is seen: the check can fail
