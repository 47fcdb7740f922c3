"""A picture counts as read only when it was written: FFmpeg refuses some, and OpenCV is silent."""

import threading

import numpy as np
import pytest

from appliance.capture.contract import CameraSpec
from appliance.capture.memory import FrameMemory
from appliance.capture.opencv import ProvenFrames
from appliance.capture.reading import Reading
from appliance.capture.sources import file
from appliance.capture.timing import FrameMeter, Timing
from appliance.errors import SourceError
from appliance.ffmpeg import FFMPEG
from appliance.values import Drop
from tests.support.cameras import why_no_rtsp
from tests.support.videos import write_concatenated_jpegs, write_interlaced

NO_GSTREAMER = why_no_rtsp()
CLOCK = Timing(wall_s=lambda: 0.0)


@pytest.fixture(scope="module")
def interlaced(tmp_path_factory):
    if NO_GSTREAMER:
        pytest.skip(NO_GSTREAMER)
    path = tmp_path_factory.mktemp("clips") / "interlaced.mkv"
    write_interlaced(path)
    return path


def read(path, **changes):
    """An attempt at this file, to its end, and its memory."""
    spec = CameraSpec(key="dock", name="Dock", url=str(path), paced=False, **changes)
    memory = FrameMemory(
        count=2,
        allocate=lambda shape: np.empty(shape, np.uint8),
        on_publish=lambda: None,
        clock_ns=CLOCK.clock_ns,
    )
    reading = Reading(
        spec, file.SOURCE, memory=memory, meter=FrameMeter(), timing=CLOCK, wake=lambda: None
    )
    reading.start()
    assert reading.join(10)
    return reading, memory


@pytest.mark.parametrize("repeat", [False, True])
def test_interlaced_pictures_are_broken_and_told_and_never_live(interlaced, repeat):
    """Not one is published, each is counted, and the reason says what to set."""
    reading, memory = read(interlaced, repeat=repeat)
    assert reading.grabbed == 0  # so the camera never counts as live
    assert memory.take() is None
    assert memory.drops[Drop.BROKEN] == (25 if repeat else 10)
    assert (
        str(reading.error) == "The pictures are interlaced, and only progressive ones can be read"
    )
    assert "progressive" in reading.error.hint


def test_what_was_not_converted_is_found_whatever_lay_in_the_memory(interlaced):
    """The first picture of a connection would be memory that nobody wrote."""
    capture = file.SOURCE.open(CameraSpec(key="dock", name="Dock", url=str(interlaced)))
    for _ in range(3):
        assert capture.grab() is not None
        with pytest.raises(SourceError, match="interlaced"):
            capture.retrieve(None)
    capture.close()


def test_a_still_scene_is_read(tmp_path):
    """Pictures that equal the ones before are proven one by one, and none is lost."""
    path = tmp_path / "still.mjpeg"
    write_concatenated_jpegs(path, 1)
    path.write_bytes(path.read_bytes() * 5)
    capture = file.SOURCE.open(CameraSpec(key="dock", name="Dock", url=str(path)))
    first = None
    for _ in range(5):
        assert capture.grab() is not None
        first = capture.retrieve(first)
    capture.close()


class Handle:
    """OpenCV's part: its buffer stays as it is while FFmpeg refuses."""

    def __init__(self):
        self.buffer = np.zeros((64, 48, 3), np.uint8)
        self.asked = 0

    def get(self, _prop):
        return 0.0

    def retrieve(self, _image=None):
        self.asked += 1
        return True, self.buffer.copy()


def test_only_what_may_be_unwritten_is_converted_twice():
    """The first picture, one of another size, and one like the one before."""
    handle = Handle()
    frames = ProvenFrames(handle, CameraSpec(key="dock", name="", url=""))
    for change, asked in [
        (lambda: None, 2),
        (lambda: handle.buffer.fill(9), 1),
        (lambda: None, 2),
        (lambda: handle.buffer.fill(7), 1),
        (lambda: setattr(handle, "buffer", np.zeros((96, 48, 3), np.uint8)), 2),
    ]:
        change()
        handle.asked = 0
        frames.decode(None)
        assert handle.asked == asked


def test_only_the_errors_of_the_own_thread_are_heard():
    """Another camera's trouble is not this one's."""
    library = FFMPEG._library

    def another() -> None:
        thread = threading.Thread(target=library.av_log, args=(None, 16, b"another's\n"))
        thread.start()
        thread.join()

    assert FFMPEG.complaint(lambda: library.av_log(None, 16, b"broken %d\n", 7)) == "broken 7"
    assert FFMPEG.complaint(lambda: library.av_log(None, 24, b"only a warning\n")) == ""
    assert FFMPEG.complaint(another) == ""
