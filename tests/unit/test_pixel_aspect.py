"""Pictures whose pixels are not square are shown and inferred as players show them."""

import numpy as np
import pytest

from appliance.app.pipeline import camera_spec
from appliance.capture.contract import CameraSpec, TooLargeError
from appliance.capture.opencv import same_memory
from appliance.capture.sources import file
from appliance.settings import SettingsProblems, load
from tests.support.cameras import jpeg, numbered_frame, why_no_rtsp
from tests.support.videos import write_squeezed


def squeezed(number: int, aspect: tuple[int, int]) -> bytes:
    """A JPEG of 320x240 that says how wide and high its pixels are."""
    picture = bytearray(jpeg(numbered_frame(number)))
    assert picture[6:10] == b"JFIF"
    picture[14:18] = b"".join(number.to_bytes(2, "big") for number in aspect)
    return bytes(picture)


def opened(path, **changes):
    spec = CameraSpec(key="dock", name="", url=str(path), **changes)
    capture = file.SOURCE.open(spec)
    assert capture.grab() is not None
    return capture


@pytest.mark.parametrize(
    ("aspect", "setting", "shape"),
    [
        ((1, 1), None, (240, 320, 3)),
        ((2, 1), None, (240, 640, 3)),
        ((1, 2), None, (480, 320, 3)),
        ((16, 11), None, (240, 465, 3)),
        ((4, 1), None, (240, 1280, 3)),
        ((5, 1), None, (240, 320, 3)),
        ((0, 1), None, (240, 320, 3)),
        ((1001, 1000), None, (240, 320, 3)),
        ((1, 1), 2.0, (240, 640, 3)),
        ((1, 1), 0.5, (480, 320, 3)),
        ((2, 1), 1.0, (240, 320, 3)),
    ],
)
def test_a_picture_is_stretched_by_what_it_says_or_what_is_set(tmp_path, aspect, setting, shape):
    """Wider or higher, never smaller; what cannot be true is not believed, a setting is."""
    path = tmp_path / "clip.mjpeg"
    path.write_bytes(squeezed(1, aspect) * 2)
    capture = opened(path, pixel_aspect=setting)
    assert capture.retrieve(None).shape == shape
    capture.close()


def test_what_is_stretched_is_the_whole_picture_in_the_memory_that_is_given(tmp_path):
    """Each frame anew: nothing is cut off, and nothing is left of the one before."""
    path = tmp_path / "clip.mjpeg"
    path.write_bytes(squeezed(0, (2, 1)) + squeezed(0xFFFF, (2, 1)))
    capture = opened(path)
    buffer = np.zeros((240, 640, 3), np.uint8)
    means = []
    for _ in range(2):
        pixels = capture.retrieve(buffer)
        assert same_memory(pixels, buffer)
        means.append(pixels[4:12, :500].mean())  # the blocks are 256 wide: 512 now
        capture.grab()
    assert means[0] < 10
    assert means[1] > 245
    small = np.full((10, 10, 3), 7, np.uint8)
    assert (small == 7).all()
    capture.close()


def test_h264_says_it_as_well(tmp_path):
    """As the recorders do that halve the width."""
    if reason := why_no_rtsp():
        pytest.skip(reason)
    path = tmp_path / "clip.mkv"
    write_squeezed(path)
    capture = opened(path)
    assert capture.retrieve(None).shape == (240, 640, 3)
    capture.close()


def test_stretching_makes_no_picture_larger_than_it_may_be(tmp_path):
    """It is judged as it will be."""
    path = tmp_path / "clip.mjpeg"
    frame = numbered_frame(1, (1200, 600))  # 0.72 megapixels
    path.write_bytes(jpeg(frame) * 2)
    capture = opened(path, megapixels=1, pixel_aspect=2.0)
    with pytest.raises(TooLargeError, match="2400 x 600"):
        capture.retrieve(None)
    capture.close()


@pytest.mark.parametrize(
    ("text", "aspect"), [("2:1", 2.0), ("1:2", 0.5), (" 16 : 11 ", 16 / 11), ("4:1", 4.0)]
)
def test_the_setting_is_a_ratio(text, aspect, tmp_path):
    """As players and recorders write it."""
    environ = {
        "APPLIANCE_CAMERAS__DOCK__URL": "/clip.mp4",
        "APPLIANCE_CAMERAS__DOCK__PIXEL_ASPECT": text,
    }
    camera = load(environ, secrets_dir=tmp_path).settings.cameras["dock"]
    assert camera_spec("dock", camera).pixel_aspect == pytest.approx(aspect)


@pytest.mark.parametrize("text", ["2", "0:1", "5:1", "1:5", "2:1:1", "wide", "-2:1"])
def test_a_ratio_that_is_none_or_not_to_be_believed_is_refused(text, tmp_path):
    """With the form that is meant."""
    environ = {
        "APPLIANCE_CAMERAS__DOCK__URL": "/clip.mp4",
        "APPLIANCE_CAMERAS__DOCK__PIXEL_ASPECT": text,
    }
    with pytest.raises(SettingsProblems) as caught:
        load(environ, secrets_dir=tmp_path)
    assert "APPLIANCE_CAMERAS__DOCK__PIXEL_ASPECT" in str(caught.value)
