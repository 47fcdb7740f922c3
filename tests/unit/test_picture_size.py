"""What a camera may make the station hold: its pictures, and what it says they will be."""

import contextlib
import time
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from appliance.capture.camera import Camera
from appliance.capture.contract import CameraSpec, TooLargeError
from appliance.capture.opencv import ProvenFrames
from appliance.capture.sources import device, file, stream
from appliance.capture.timing import Backoff, Timing
from appliance.errors import SourceError
from appliance.ffmpeg import FFMPEG
from appliance.settings.process import share_heaps
from appliance.values import CameraState
from tests.support.cameras import RtspServer, jpeg, numbered_frame, why_no_rtsp
from tests.support.fakes import wait_until
from tests.support.hostile_cameras import ENDLESS, GOOD, HUGE, LONG, NO_END, grown_mb, part, sending
from tests.support.refusing import answering

# In a process whose heaps other tests have filled, a buffer that grows is held twice. A station
# stays within 50 MB: tests/e2e/test_hostile_cameras.py.
BOUND_MB = 120
# No attempt is left behind, however busy the machine is: two at once would hold twice as much.
TIMING = Timing(wall_s=time.time, backoff=Backoff(first_s=0.05, cap_s=0.05), margin_s=20)


@pytest.fixture(autouse=True, scope="module")
def heaps():
    """As a station has them: what grows is not copied, and what is freed goes back."""
    share_heaps()


def spec_of(url: object, **changes: object) -> CameraSpec:
    options = {"open_timeout_s": 5, "read_timeout_s": 1, "paced": False, **changes}
    return CameraSpec(key="dock", name="Dock", url=str(url), **options)


@contextlib.contextmanager
def running(spec: CameraSpec, source=stream.SOURCE) -> Iterator[Camera]:
    camera = Camera(spec, source, timing=TIMING, slots_count=6)
    camera.start()
    try:
        yield camera
    finally:
        camera.stop()
        assert camera.join(10)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (sending(over=part(HUGE)), "The pictures have 14000 x 14000 pixels, and no more than"),
        (sending(LONG, over=ENDLESS), "The camera sends pictures of 2000 MB, which are not read"),
        (sending(NO_END, over=ENDLESS), ""),
        (sending(*[GOOD] * 5, over=part(HUGE)), ""),
        (sending(*[GOOD] * 5, LONG, over=ENDLESS), ""),
        (sending(*[GOOD] * 5, NO_END, over=ENDLESS), ""),
    ],
    ids=["frame", "part", "no end", "later frame", "later part", "later no end"],
)
def test_a_camera_cannot_make_the_station_hold_more_than_a_little(body, sentence):
    """However it is tried, three times in a row, memory stays within bounds."""
    told = set()
    with (
        answering(body) as port,
        grown_mb() as grown,
        running(spec_of(f"http://127.0.0.1:{port}/x")) as camera,
    ):

        def tried() -> bool:
            status = camera.status()
            told.add(status.sentence)
            return status.attempt >= 3 or status.reconnects >= 3

        wait_until(tried, 30)
        told.add(camera.status().sentence)
    assert grown[0] < BOUND_MB
    assert any(one.startswith(sentence) for one in told if one)


def test_a_file_of_huge_pictures_is_refused_by_name(tmp_path):
    """Before one of them takes memory."""
    path = tmp_path / "clip.mjpeg"
    path.write_bytes(HUGE * 3)
    with grown_mb() as grown, pytest.raises(TooLargeError, match="14000 x 14000") as caught:
        file.SOURCE.open(spec_of(path))
    assert "APPLIANCE_CAMERAS__DOCK__MEGAPIXELS" in caught.value.hint
    assert grown[0] < BOUND_MB


def test_a_file_whose_pictures_grow_is_read_no_further(tmp_path):
    """The first ones are small."""
    path = tmp_path / "clip.mjpeg"
    path.write_bytes(jpeg(numbered_frame(1)) * 3 + HUGE * 3)
    with grown_mb() as grown:
        capture = file.SOURCE.open(spec_of(path))
        sizes = set()
        with contextlib.suppress(SourceError):
            while capture.grab() is not None:
                sizes.add(capture.retrieve(None).shape)
        capture.close()
    assert sizes == {(240, 320, 3)}
    assert grown[0] < BOUND_MB


@pytest.mark.parametrize("kind", ["file", "stream", "rtsp"])
def test_the_largest_picture_is_a_setting(kind, tmp_path):
    """1.2 megapixels are too many where one is allowed, and read where two are."""
    picture = jpeg(np.full((960, 1280, 3), 90, np.uint8))
    with contextlib.ExitStack() as stack:
        if kind == "file":
            url = tmp_path / "clip.mjpeg"
            url.write_bytes(picture * 3)
        elif kind == "stream":
            port = stack.enter_context(answering(sending(over=part(picture))))
            url = f"http://127.0.0.1:{port}/x"
        else:
            if reason := why_no_rtsp():
                pytest.skip(f"no RTSP server: {reason}")
            url = stack.enter_context(RtspServer(size_wh=(1280, 960))).url
        source = file.SOURCE if kind == "file" else stream.SOURCE
        with pytest.raises(TooLargeError, match="1280 x 960 pixels, and no more than 1 megapix"):
            source.open(spec_of(url, megapixels=1))
        capture = source.open(spec_of(url, megapixels=2))
        assert capture.grab() is not None
        assert capture.retrieve(None).shape == (960, 1280, 3)
        capture.close()


def test_pictures_for_which_there_was_no_room_are_read_where_they_are_allowed(tmp_path):
    """There is room for them from then on, and the first one is not lost."""
    pixels = FFMPEG.room_bytes // 4 + 100_000
    height = pixels // 4000 + 1
    path = tmp_path / "clip.mjpeg"
    path.write_bytes(jpeg(np.full((height, 4000, 3), 90, np.uint8)) * 2)
    with running(spec_of(path, repeat=True), file.SOURCE) as camera:
        wait_until(lambda: camera.status().state is CameraState.LIVE)
        assert camera.status().size_wh == (4000, height)
    capture = file.SOURCE.open(spec_of(path))
    assert [capture.grab() is not None for _ in range(3)] == [True, True, False]
    capture.close()


class Growing:
    """A handle whose picture is larger than at the start."""

    def __init__(self) -> None:
        self.decoded = 0

    def isOpened(self):  # noqa: N802 (OpenCV's name)
        return True

    def get(self, prop):
        return {cv2.CAP_PROP_FRAME_WIDTH: 2000, cv2.CAP_PROP_FRAME_HEIGHT: 1000}.get(prop, 0)

    def set(self, _prop, _value):
        return True

    def grab(self):
        return True

    def retrieve(self, _image=None):
        self.decoded += 1
        return True, np.zeros((1000, 2000, 3), np.uint8)

    def release(self):
        pass


def test_a_picture_that_has_grown_too_large_is_not_decoded(tmp_path):
    """Nor published, where a device only shows it when it is there."""
    handle = Growing()
    spec = spec_of(tmp_path, megapixels=1)
    with pytest.raises(TooLargeError, match="2000 x 1000"):
        ProvenFrames(handle, spec).decode(None)
    assert handle.decoded == 0
    plugged = device.DeviceCapture(spec, handle_of=lambda _path: handle)
    with pytest.raises(TooLargeError, match="2000 x 1000"):
        plugged.retrieve(None)
