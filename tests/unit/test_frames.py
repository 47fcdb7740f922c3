"""Frames to verify with."""

import os

import cv2
import numpy as np
import pytest

from appliance.errors import ModelError
from appliance.optimizer.frames import LIMIT, Frames
from tests.support.videos import write_concatenated_jpegs, write_sound_only


def write_picture(path, level=0):
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), np.full((12, 16, 3), level, np.uint8))


def levels(frames):
    return [int(frame[0, 0, 0]) for frame in frames]


def test_a_folder_gives_its_pictures_in_the_order_of_names(tmp_path):
    """Every kind of picture is read, in color; other files are passed over."""
    for level, name in enumerate(["a.png", "b.BMP", "c.png"]):
        write_picture(tmp_path / name, level)
    (tmp_path / "notes.txt").write_text("no picture")
    frames = Frames.of(tmp_path)
    assert levels(frames) == [0, 1, 2]
    assert levels(frames) == [0, 1, 2]  # as often as somebody looks
    assert {(frame.shape, frame.dtype.name) for frame in frames} == {((12, 16, 3), "uint8")}


@pytest.mark.parametrize("count", [LIMIT, LIMIT + 1, 250])
def test_a_large_folder_is_spread_evenly(tmp_path, count):
    """Of many pictures at most the limit is read, from the first to the last ones."""
    for level in range(count):
        write_picture(tmp_path / f"{level:03}.bmp", level)
    found = levels(Frames.of(tmp_path))
    steps = set(np.diff(found).tolist())
    assert LIMIT / 2 <= len(found) <= LIMIT
    assert len(steps) == 1
    assert found[0] == 0
    assert found[-1] >= count - max(steps)


def test_one_picture_is_enough_to_begin_with(tmp_path):
    """A single picture may be given instead of a folder."""
    write_picture(tmp_path / "a.png", 7)
    assert levels(Frames.of(tmp_path / "a.png")) == [7]


def test_a_video_gives_every_second_frame(tmp_path):
    """A video without a frame count is read to its end (O-04)."""
    write_concatenated_jpegs(tmp_path / "clip.mjpeg", 30)
    assert len(Frames.of(tmp_path / "clip.mjpeg")) == 15


def test_a_long_video_ends_at_the_limit(tmp_path):
    """No more than the limit is decoded."""
    write_concatenated_jpegs(tmp_path / "clip.mjpeg", 2 * LIMIT + 20)
    assert len(Frames.of(tmp_path / "clip.mjpeg")) == LIMIT


def test_a_picture_that_is_none_is_named(tmp_path):
    """A damaged picture is told by its name instead of being compared with nothing."""
    write_picture(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"not a picture")
    with pytest.raises(ModelError, match=r"b\.jpg: this is no picture that can be read") as caught:
        list(Frames.of(tmp_path))
    assert caught.value.hint


def test_nothing_to_read_is_said_so(tmp_path):
    """An empty folder, a sound and a missing file hold no picture to verify with."""
    write_sound_only(tmp_path / "sound.mp4")
    (tmp_path / "empty").mkdir()
    for name in ("empty", "sound.mp4", "missing.mp4"):
        with pytest.raises(ModelError, match="no picture to verify with") as caught:
            Frames.of(tmp_path / name)
        assert caught.value.hint


@pytest.mark.parametrize("count", [1, 2, 7])
def test_what_is_calibrated_on_is_not_compared(tmp_path, count):
    """Two halves without a frame in common, each spread over the whole; one frame serves both."""
    for level in range(count):
        write_picture(tmp_path / f"{level:03}.bmp", level)
    write_concatenated_jpegs(tmp_path / "clip.mjpeg", 2 * count)
    for frames in (Frames.of(tmp_path), Frames.of(tmp_path / "clip.mjpeg")):
        first, second = frames.parted()
        assert [len(first), len(second)] == [len(list(first)), len(list(second))]
        assert len(first) + len(second) == max(2, count)
    first, second = Frames.of(tmp_path).parted()
    assert levels(first) == list(range(0, count, 2))
    assert levels(second) == (list(range(1, count, 2)) or [0])


def test_what_is_no_file_is_no_picture(tmp_path):
    """A pipe by that name would keep whoever reads it waiting."""
    write_picture(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").mkdir()
    os.mkfifo(tmp_path / "c.jpg")
    (tmp_path / "d.jpg").symlink_to("/dev/zero")
    (tmp_path / "e.jpg").symlink_to(tmp_path / "nothing")
    assert len(levels(Frames.of(tmp_path))) == 1


def test_a_picture_whose_name_is_no_text_is_named_as_far_as_it_can_be(tmp_path):
    """The message is one that a page can show, and says which it is."""
    (tmp_path / os.fsdecode(b"\xdcber.jpg")).write_text("no picture")
    with pytest.raises(ModelError, match=r"\\udcdcber\.jpg") as caught:
        levels(Frames.of(tmp_path))
    caught.value.sentence().encode()


def test_a_picture_that_becomes_something_else_meanwhile_is_told(tmp_path):
    """Between the list and the reading there is time."""
    write_picture(tmp_path / "a.jpg")
    frames = Frames.of(tmp_path)
    (tmp_path / "a.jpg").unlink()
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(ModelError, match=r"a\.jpg: is no file"):
        levels(frames)
