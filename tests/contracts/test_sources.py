"""Every kind of source keeps the contract of `Capture`; and says in words why it does not open."""

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from appliance.capture.contract import CameraSpec, Source, choose, place_of
from appliance.capture.opencv import same_memory
from appliance.capture.sources import device, file, stream
from appliance.errors import SourceError
from tests.support.cameras import (
    PASSWORD,
    MjpegServer,
    MjpegStyle,
    RtspServer,
    closed_port,
    numbered_frame,
    silent_server,
    why_no_rtsp,
)
from tests.support.scripted import ScriptedCapture, scripted_source
from tests.support.videos import (
    write_concatenated_jpegs,
    write_sound_only,
    write_video_with_times,
)

SOURCES = {source.kind: source for source in (device.SOURCE, file.SOURCE, stream.SOURCE)}
SHAPE = (240, 320, 3)


def spec_of(url: object, **changes: object) -> CameraSpec:
    spec = CameraSpec(key="dock", name="Dock", url=str(url), open_timeout_s=3, read_timeout_s=2)
    return replace(spec, **changes)


class FakeDevice:
    """Stands where OpenCV meets Video4Linux: there is no such device on the test machine."""

    def __init__(self, *, opens: bool = True, frames: int = 1000) -> None:
        self.opens = opens
        self.frames = frames
        self.asked: list[tuple[int, float]] = []
        self.released = False

    def isOpened(self):  # noqa: N802 (OpenCV's name)
        return self.opens

    def set(self, prop, value):
        self.asked.append((prop, value))
        return True

    def grab(self):
        self.frames -= 1
        return self.frames >= 0

    def retrieve(self, image=None):
        if image is None or image.shape != SHAPE:
            image = np.empty(SHAPE, np.uint8)
        image[:] = numbered_frame(1)
        return True, image

    def release(self):
        self.released = True


def device_source(handle: FakeDevice) -> Source:
    return replace(
        device.SOURCE, open=lambda spec: device.DeviceCapture(spec, handle_of=lambda _path: handle)
    )


@contextlib.contextmanager
def opened(kind: str, folder: Path):
    """An open capture of each kind, on the real thing where there is one."""
    with contextlib.ExitStack() as stack:
        source, url = SOURCES.get(kind), ""
        if kind == "file":
            url = folder / "some.mjpeg"
            write_concatenated_jpegs(url, 5)
        elif kind == "stream":
            url = stack.enter_context(MjpegServer()).url
        elif kind == "device":
            source, url = device_source(FakeDevice()), folder
        elif kind == "scripted":
            source = scripted_source(ScriptedCapture([(320, 240)] * 5))
        elif kind == "real device":
            source, url = device.SOURCE, "/dev/video0"
        capture = source.open(spec_of(url))
        stack.callback(capture.close)
        yield capture


EVERY_KIND = pytest.mark.parametrize(
    "kind",
    [
        "file",
        "stream",
        "device",
        "scripted",
        pytest.param("real device", marks=pytest.mark.camera),
    ],
)


@EVERY_KIND
def test_a_frame_is_decoded_into_the_buffer_that_fits(kind, tmp_path):
    """A buffer of the frame's shape is filled in place: same memory, new pixels."""
    with opened(kind, tmp_path) as capture:
        assert capture.grab() is not None
        first = capture.retrieve(None)
        assert first.dtype == np.uint8
        buffer = np.full_like(first, 201)
        assert capture.grab() is not None
        pixels = capture.retrieve(buffer)
        assert same_memory(pixels, buffer)
        assert not (buffer == 201).all()


@EVERY_KIND
def test_a_buffer_of_another_shape_is_left_alone(kind, tmp_path):
    """Where the buffer does not fit the frame comes in new memory and the buffer keeps its own."""
    with opened(kind, tmp_path) as capture:
        assert capture.grab() is not None
        buffer = np.full((10, 10, 3), 201, np.uint8)
        pixels = capture.retrieve(buffer)
        assert pixels.shape[2] == 3
        assert pixels.shape != buffer.shape
        assert (buffer == 201).all()


@EVERY_KIND
def test_media_time_is_unknown_or_rises(kind, tmp_path):
    """A grab gives a number: -1 where no time is known, and rising times where it is."""
    with opened(kind, tmp_path) as capture:
        times = [capture.grab() for _ in range(4)]
    assert times == [-1.0] * 4 or (times == sorted(set(times)) and times[0] >= 0)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("rtsp://10.0.0.1/a", "stream"),
        ("RTSPS://10.0.0.1/a", "stream"),
        ("http://h:80/v", "stream"),
        ("https://h/v", "stream"),
        ("/dev/video2", "device"),
        ("v4l2:///dev/video2", "device"),
        ("/srv/clip.mp4", "file"),
        ("clip.mp4", "file"),
        ("file:///srv/clip.mp4", "file"),
    ],
)
def test_the_source_follows_from_the_url(url, kind):
    """A URL's scheme, or the look of a path, decides which source opens it."""
    assert choose(url, SOURCES).kind == kind


def test_an_unknown_scheme_names_the_known_ones():
    """Nobody has to guess which schemes there are; and nothing else of the URL is repeated."""
    with pytest.raises(SourceError, match="ftp://") as caught:
        choose("ftp://u:hunter2@h/x", SOURCES)
    assert "file, http, https, rtsp, rtsps, v4l2" in caught.value.hint
    assert "hunter2" not in caught.value.sentence()


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("rtsp://u:hunter2@h:554/x?token=hunter2", "h:554"),
        ("http://[::1]:8080/hunter2", "::1:8080"),
        ("rtsp://h:hunter2/x", "its address"),
    ],
)
def test_a_message_says_where_but_no_secret(url, place):
    """Only host and port of a URL are fit to be shown (O-24)."""
    assert place_of(url) == place


def failure(source: Source, spec: CameraSpec) -> SourceError:
    with pytest.raises(SourceError) as caught:
        source.open(spec)
    return caught.value


def test_a_wrong_password_is_told_from_a_missing_one():
    """401 with a password and 401 without lead to different sentences, naming the variables."""
    with MjpegServer() as server:
        server.scheme = "Basic"
        missing = failure(stream.SOURCE, spec_of(server.url))
        wrong = spec_of(server.url, username="operator", password="hunter2")
        refused = failure(stream.SOURCE, wrong)
    assert str(missing) == "The camera asks for a password (401)"
    assert str(refused) == "The camera refuses the user name or password (401)"
    variables = "APPLIANCE_CAMERAS__DOCK__USERNAME and APPLIANCE_CAMERAS__DOCK__PASSWORD"
    assert missing.hint == refused.hint == f"Check {variables}."
    assert "hunter2" not in f"{refused.sentence()} {wrong}"


def test_a_password_may_hold_any_character():
    """A password with @, #, %, / and an umlaut reaches the camera as it was given."""
    with MjpegServer() as server:
        server.scheme = "Basic"
        spec = spec_of(server.url, username="operator", password=PASSWORD)
        capture = stream.SOURCE.open(spec)
        assert capture.grab() is not None
        capture.close()


def test_behind_a_digest_the_true_cause_is_found():
    """A camera that checks passwords by digest is asked that way before it is called unwilling."""
    with MjpegServer() as server:
        server.scheme, server.status = "Digest", 404
        error = failure(stream.SOURCE, spec_of(server.url, username="operator", password="x"))
    assert "no stream at this path (404)" in str(error)


@pytest.mark.parametrize(
    ("status", "content_type", "sentence"),
    [
        (404, "", "The camera has no stream at this path (404)"),
        (503, "", "The camera answers with error 503"),
        (200, "text/html", 'The camera sends "text/html", which is no video'),
        (200, "image/png", "The camera answers, but sends no video that can be read"),
    ],
    ids=["no path", "error", "web page", "no frames"],
)
def test_what_a_web_camera_answers_is_put_into_words(status, content_type, sentence):
    """The error text says what was wrong with the stream (O-09)."""
    with MjpegServer() as server:
        server.status, server.content_type = status, content_type
        server.talking.clear()
        error = failure(stream.SOURCE, spec_of(server.url, open_timeout_s=0.7))
    assert str(error) == sentence
    assert error.hint


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http"])
def test_a_closed_port_is_told(scheme):
    """Nobody listening is a refusal, at once."""
    with closed_port() as port:
        error = failure(stream.SOURCE, spec_of(f"{scheme}://127.0.0.1:{port}/x"))
    assert str(error) == f"The camera refuses the connection at 127.0.0.1:{port}"


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_camera_that_says_nothing_is_given_up(scheme):
    """Accepting and staying silent ends with the time-out, in words of its own (O-06)."""
    with silent_server() as port:
        spec = spec_of(f"{scheme}://127.0.0.1:{port}/x", open_timeout_s=0.4)
        error = failure(stream.SOURCE, spec)
    assert "takes the connection, then says nothing" in str(error)


def test_rtsp_to_a_web_server_is_no_camera():
    """Something else behind the port is not taken for a camera."""
    with MjpegServer() as server:
        url = server.url.replace("http", "rtsp")
        error = failure(stream.SOURCE, spec_of(url))
    assert "is no camera of this kind" in str(error)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("rtsp://127.0.0.1:port/x", "The address is no URL"),
        ("rtsp://no-such-host.invalid/x", "Nobody knows the name in no-such-host.invalid"),
        (f"rtsp://{'a' * 70}.invalid/x", "Nobody knows the name in "),
    ],
    ids=["port", "name", "long name"],
)
def test_a_wrong_address_is_told(url, sentence):
    """A port that is no number and a name that nobody knows lead to the URL's variable."""
    error = failure(stream.SOURCE, spec_of(url))
    assert str(error).startswith(sentence)
    assert "APPLIANCE_CAMERAS__DOCK__URL" in error.hint


@pytest.mark.slow
def test_an_rtsp_camera_checks_the_password():
    """A real RTSP server lets the right password in, and the wrong one is told."""
    if reason := why_no_rtsp():
        pytest.skip(f"no RTSP server: {reason}")
    with RtspServer(password="p@ss#1") as server:
        spec = spec_of(server.url, username="operator", password="p@ss#1", open_timeout_s=10)
        capture = stream.SOURCE.open(spec)
        assert capture.grab() is not None
        assert capture.retrieve(None).shape == SHAPE
        capture.close()
        wrong = failure(stream.SOURCE, replace(spec, password="hunter2"))
        lost = failure(stream.SOURCE, replace(spec, url=spec.url.replace("cam", "yard")))
    assert "(401)" in str(wrong)
    assert "(404)" in str(lost)


@pytest.mark.parametrize("part_length", [True, False])
@pytest.mark.parametrize("boundary_in_header", [True, False])
def test_every_style_of_motion_jpeg_opens(part_length, boundary_in_header):
    """Streams without part length or without a boundary in the header are read too (O-09)."""
    style = MjpegStyle(fps=10, part_length=part_length, boundary_in_header=boundary_in_header)
    with MjpegServer(style) as server:
        capture = stream.SOURCE.open(spec_of(server.url))
        for _ in range(3):
            assert capture.grab() is not None
        assert capture.retrieve(None).shape == SHAPE
        capture.close()


def test_a_file_of_unknown_length_is_read_to_its_end(tmp_path):
    """Thirty concatenated JPEGs are thirty frames, whatever the frame count claims (O-04)."""
    path = tmp_path / "clip.mjpeg"
    write_concatenated_jpegs(path, 30)
    capture = file.SOURCE.open(spec_of(path))
    times = list(iter(capture.grab, None))
    capture.close()
    assert len(times) == 30


def test_a_file_has_the_times_of_its_frames(tmp_path):
    """Times come from each frame, though the file claims 1000 frames per second (O-05)."""
    path = tmp_path / "clip.mkv"
    times_ms = [0, 40, 80, 1080, 1120, 3000]
    write_video_with_times(path, times_ms)
    capture = file.SOURCE.open(spec_of(f"file://{path}"))
    times = list(iter(capture.grab, None))
    capture.close()
    assert times == pytest.approx([time_ms / 1000 for time_ms in times_ms])


@pytest.mark.parametrize(
    ("nominal_fps", "step_s"),
    [(10.0, 0.1), (1000.0, 0.04), (-1.0, 0.04), (float("nan"), 0.04), (0.0, 0.04)],
)
def test_frames_without_times_follow_the_nominal_rate(nominal_fps, step_s):
    """Where timestamps do not rise the nominal rate stands in, if it can be believed (O-05)."""
    clock = file.MediaClock(nominal_fps)
    times = [clock.at(time_ms) for time_ms in (0.0, 0.0, float("nan"), -5.0)]
    assert times == pytest.approx([0, step_s, 2 * step_s, 3 * step_s])


def test_a_repeated_file_starts_over(tmp_path):
    """With repeat the times begin again after the last frame, as often as it takes."""
    path = tmp_path / "clip.mjpeg"
    write_concatenated_jpegs(path, 3)
    capture = file.SOURCE.open(spec_of(path, repeat=True))
    times = [capture.grab() for _ in range(7)]
    capture.close()
    assert times == pytest.approx([0, 0.04, 0.08] * 2 + [0])


def write_truncated(path: Path) -> None:
    whole = path.with_suffix(".mkv")
    write_video_with_times(whole, [0, 40])
    path.write_bytes(whole.read_bytes()[:100])


@pytest.mark.parametrize(
    "write",
    [write_sound_only, write_truncated, lambda path: path.write_bytes(b""), Path.mkdir],
    ids=["sound", "damaged", "empty", "folder"],
)
def test_a_file_without_video_is_refused_in_words(write, tmp_path):
    """Sound named .mp4, a damaged and an empty file, and a folder: a clear sentence (O-04)."""
    path = tmp_path / "clip.mp4"
    write(path)
    error = failure(file.SOURCE, spec_of(path))
    assert "clip.mp4" in str(error)
    assert "APPLIANCE_CAMERAS__DOCK__URL" in error.hint


def test_a_missing_file_is_told(tmp_path):
    """A file that is not there is named."""
    assert str(failure(file.SOURCE, spec_of(tmp_path / "no.mp4"))) == 'There is no file "no.mp4"'


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/tmp"])  # noqa: S108 - any folder
def test_what_is_there_and_no_file_is_never_opened(path):
    """A device that a file's path names could be read for ever; it is told from a missing file."""
    error = failure(file.SOURCE, spec_of(path))
    assert str(error) == f'"{Path(path).name}" is no file'


def test_a_device_is_asked_for_format_size_and_rate_in_this_order(tmp_path):
    """V4L2 wants the format first, then the size, then the rate; and a short queue."""
    handle = FakeDevice()
    device_source(handle).open(spec_of(tmp_path, size_wh=(1280, 720), fps=15.0)).close()
    jpeg_code = float(int.from_bytes(b"MJPG", "little"))
    assert handle.asked == [(6, jpeg_code), (3, 1280), (4, 720), (5, 15.0), (38, 1)]
    assert handle.released


def test_a_device_that_is_not_there_or_not_free_is_told(tmp_path):
    """A missing device and a busy one are told apart, and the busy one is let go."""
    missing = failure(device.SOURCE, spec_of("/dev/video99"))
    assert str(missing) == "There is no camera at /dev/video99"
    handle = FakeDevice(opens=False)
    assert "another program" in str(failure(device_source(handle), spec_of(tmp_path)))
    assert handle.released


def test_a_device_that_is_unplugged_is_told(tmp_path):
    """A device that gives no more frames fails, so that it is opened again."""
    capture = device_source(FakeDevice(frames=1)).open(spec_of(tmp_path))
    assert capture.grab() == -1.0
    with pytest.raises(SourceError, match="no more pictures"):
        capture.grab()
