"""A camera goes away, comes back, hangs, floods and ends; what the station sees of that."""

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from loguru import logger

from appliance.buffers import Lease
from appliance.capture.camera import Camera
from appliance.capture.contract import CameraSpec
from appliance.capture.sources import file, stream
from appliance.capture.timing import Backoff, Timing
from appliance.errors import SourceError
from appliance.values import CameraState, FrameStamp
from tests.support.cameras import (
    MjpegServer,
    MjpegStyle,
    RtspServer,
    closed_port,
    jpeg,
    number_of,
    numbered_frame,
    silent_server,
    why_no_rtsp,
)
from tests.support.fakes import wait_until
from tests.support.refusing import refusing_cameras
from tests.support.scripted import ScriptedCapture, scripted_source
from tests.support.videos import (
    write_concatenated_jpegs,
    write_sound_only,
    write_video_with_times,
)

AT_ONCE = Backoff(first_s=0.01, cap_s=0.02)
TIMING = Timing(wall_s=time.time, backoff=AT_ONCE, margin_s=0.1)
CONNECTING, LIVE, STALLED, OFFLINE, ENDED = CameraState


def spec_of(url: object, **changes: object) -> CameraSpec:
    spec = CameraSpec(key="dock", name="Dock", url=str(url), open_timeout_s=3, read_timeout_s=0.5)
    return replace(spec, **changes)


@pytest.fixture
def log():
    """The lines that were logged."""
    lines: list[str] = []
    sink = logger.add(lines.append, format="{level} {extra} {message}", level="INFO")
    yield lines
    logger.remove(sink)


@pytest.fixture
def run():
    """Starts cameras, and sees to it that each of them ends."""
    cameras: list[Camera] = []

    def start(spec, source=stream.SOURCE, *, timing=TIMING, **options) -> Camera:
        camera = Camera(spec, source, timing=timing, **{"slots_count": 6, **options})
        cameras.append(camera)
        camera.start()
        return camera

    yield start
    for camera in cameras:
        camera.stop()
    assert all(camera.join(10) for camera in cameras)


def becomes(camera: Camera, state: CameraState, timeout_s: float = 10.0) -> None:
    wait_until(lambda: camera.status().state is state, timeout_s)


def take_next(camera: Camera, after_sequence: int) -> Lease:
    leases: list[Lease] = []
    wait_until(lambda: leases.extend(filter(None, [camera.take(after_sequence)])) or leases)
    return leases[0]


def next_frame(camera: Camera, after_sequence: int = 0) -> tuple[FrameStamp, int]:
    """Stamp and number of the next frame."""
    with take_next(camera, after_sequence) as lease:
        return lease.stamp, number_of(lease.pixels)


def numbers_of_all_frames(camera: Camera) -> tuple[list[int], list[float]]:
    """What a reader that is never late gets of a file, and when, in seconds."""
    numbers, times_s, after = [], [], 0
    while camera.status().state is not ENDED or camera.take(after):
        lease = camera.take(after)
        if lease is None:
            time.sleep(0.002)
            continue
        with lease:
            after = lease.stamp.sequence
            numbers.append(number_of(lease.pixels))
            times_s.append(lease.stamp.captured_ns / 1e9)
    return numbers, [at - times_s[0] for at in times_s]


def test_a_camera_that_sends_is_live(run, log):
    """Frames arrive in order with rising stamps; state, rate and size are known; one log line."""
    with MjpegServer() as server:
        camera = run(spec_of(server.url))
        becomes(camera, LIVE)
        first, number = next_frame(camera)
        second, later_number = next_frame(camera, first.sequence)
        wait_until(lambda: camera.status().frames_grabbed > 12)
        status = camera.status()
    assert second.sequence > first.sequence
    assert second.captured_ns > first.captured_ns
    assert abs(first.captured_at_s - time.time()) < 60
    assert later_number > number
    assert (status.size_wh, status.attempt, status.retry_in_s) == ((320, 240), 0, None)
    assert 12 < status.source_fps < 50
    assert log[0].startswith("INFO {'camera': 'dock'} camera live")


def test_a_camera_that_falls_silent_is_stalled_until_it_sends_again(run, log):
    """Silence on an open connection is told as such, and ends by itself (O-06)."""
    with MjpegServer() as server:
        camera = run(spec_of(server.url))
        before, _ = next_frame(camera)
        server.talking.clear()
        becomes(camera, STALLED)
        status = camera.status()
        server.talking.set()
        becomes(camera, LIVE)
        after, _ = next_frame(camera, camera.status().frames_grabbed)
    assert status.sentence == "No new picture. The connection is open"
    assert status.next_step
    assert after.sequence > before.sequence
    assert sum("stalled" in line for line in log) == 1


def test_a_camera_that_restarts_comes_back(run, log):
    """A camera that is killed is offline, with the cause in words, and live after its return."""
    with MjpegServer() as server:
        camera = run(spec_of(server.url))
        becomes(camera, LIVE)
        port = server.port
    becomes(camera, OFFLINE)
    wait_until(lambda: "refuses the connection" in camera.status().sentence)
    wait_until(lambda: camera.status().attempt > 3)
    with MjpegServer(port=port):
        becomes(camera, LIVE)
        assert camera.status().attempt == 0
    lines = [line.split("camera ")[1].split()[0].strip(":,") for line in log]
    assert lines[:3] == ["live", "offline", "live"]


@pytest.mark.slow
def test_an_rtsp_camera_restarts_and_comes_back(run):
    """A real RTSP server is read, killed, started again and read again."""
    if reason := why_no_rtsp():
        pytest.skip(f"no RTSP server: {reason}")
    with RtspServer() as server:
        camera = run(spec_of(server.url, open_timeout_s=10, read_timeout_s=2))
        becomes(camera, LIVE, 20)
        port = server.port
    becomes(camera, OFFLINE)
    with RtspServer(port=port):
        becomes(camera, LIVE, 20)
        assert camera.status().size_wh == (320, 240)


@pytest.mark.slow
def test_an_rtsp_camera_that_freezes_is_stalled_and_comes_back(run):
    """A camera whose computer stops is stalled in time, and live again when it goes on (O-06)."""
    if reason := why_no_rtsp():
        pytest.skip(f"no RTSP server: {reason}")
    with RtspServer() as server:
        camera = run(spec_of(server.url, open_timeout_s=4, read_timeout_s=1))
        becomes(camera, LIVE, 20)
        server.process.send_signal(signal.SIGSTOP)
        becomes(camera, STALLED)
        server.process.send_signal(signal.SIGCONT)
        becomes(camera, LIVE, 30)
    assert not camera.wedged


def test_one_silent_camera_holds_up_no_other(run):
    """While one camera is still opening, another one is live (O-09)."""
    with silent_server() as port, MjpegServer() as server:
        url = f"rtsp://127.0.0.1:{port}/x"
        silent = run(spec_of(url, key="yard", open_timeout_s=60, read_timeout_s=60))
        time.sleep(0.2)
        camera = run(spec_of(server.url))
        becomes(camera, LIVE)
        assert silent.status().state is CONNECTING


def test_a_camera_that_never_says_a_word_is_stalled(run):
    """A camera that accepts and says nothing is given up after the time-out, again and again."""
    with silent_server() as port:
        camera = run(spec_of(f"rtsp://127.0.0.1:{port}/x", open_timeout_s=0.2))
        becomes(camera, STALLED)
        wait_until(lambda: camera.status().attempt >= 3)
        assert "says nothing" in camera.status().sentence


def test_stop_does_not_wait_for_a_call_that_blocks(run):
    """A stop during a read that blocks for a minute takes effect at once, twice is as good."""
    with MjpegServer() as server:
        camera = run(spec_of(server.url, open_timeout_s=60, read_timeout_s=60))
        becomes(camera, LIVE)
        server.talking.clear()
        time.sleep(0.1)
        camera.stop()
        camera.stop()
        assert camera.join(5)
    wait_until(lambda: not any(t.name == "read-dock" for t in threading.enumerate()))


@pytest.mark.parametrize("attempts", [200, pytest.param(2000, marks=pytest.mark.long)])
def test_failed_attempts_leave_nothing_behind(tmp_path, attempts):
    """Threads, descriptors and memory stay flat, however a camera fails, and however often."""
    with refusing_cameras(tmp_path) as urls:
        command = [sys.executable, "-m", "tests.support.refusing", str(attempts), *urls.values()]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert all(told["sentences"])
    assert told["rss_mb"] < 2  # of all cameras together
    assert told["threads"] <= len(urls)  # of each an attempt may or may not be under way
    assert told["descriptors"] <= 3 * len(urls)


def test_failed_attempts_are_one_line(run, log):
    """However often a camera is tried in vain, the log says once that it is away."""
    with closed_port() as port:
        camera = run(spec_of(f"rtsp://127.0.0.1:{port}/x"))
        wait_until(lambda: camera.status().attempt > 20)
    assert len(log) == 1


def test_attempts_become_rare(run):
    """While the camera is away the page counts attempts and says when the next one is due."""
    with closed_port() as port:
        slow = replace(TIMING, backoff=Backoff(first_s=60, cap_s=60, jitter=0))
        camera = run(spec_of(f"http://127.0.0.1:{port}/x"), timing=slow)
        wait_until(lambda: camera.status().retry_in_s is not None)
        status = camera.status()
    assert 30 < status.retry_in_s <= 60
    assert status.attempt == 1


@pytest.mark.slow
def test_a_slow_reader_gets_the_newest_frame(run):
    """At 25 frames/s and 5 taken per second each taken frame is fresh, the rest counted (O-08)."""
    with MjpegServer(MjpegStyle(fps=25)) as server:
        camera = run(spec_of(server.url))
        becomes(camera, LIVE)
        after, behind, ages_s = 0, [], []
        for _ in range(15):
            time.sleep(0.2)  # the inference
            with camera.take(after) as lease:
                after = lease.stamp.sequence
                behind.append(server.number - number_of(lease.pixels))
                ages_s.append((time.monotonic_ns() - lease.stamp.captured_ns) / 1e9)
        dropped = camera.status().frames_dropped
    assert max(behind[1:]) <= 5  # a queue would be 20 frames further behind every second
    assert sorted(ages_s)[len(ages_s) // 2] < 0.1
    assert dropped > 30


@pytest.mark.parametrize(
    "style",
    [MjpegStyle(fps=8, part_length=length) for length in (True, False)],
    ids=["length", "no length"],
)
def test_slow_motion_jpeg_is_at_most_a_frame_late(run, style):
    """Without part lengths a frame waits for the next boundary, no longer (O-09)."""
    with MjpegServer(style) as server:
        camera = run(spec_of(server.url))
        stamp, _ = next_frame(camera)
        for _ in range(4):
            stamp, number = next_frame(camera, stamp.sequence)
        assert server.number - number <= 2


def test_a_file_is_played_whole_and_ends(run, tmp_path, log):
    """No frame of a file is dropped, however quick the file; then it has ended (O-04, O-08)."""
    path = tmp_path / "clip.mjpeg"
    write_concatenated_jpegs(path, 30)
    camera = run(spec_of(path, paced=False), file.SOURCE)
    numbers, _ = numbers_of_all_frames(camera)
    status = camera.status()
    assert numbers == list(range(1, 31))
    assert (status.frames_grabbed, status.frames_dropped) == (30, 0)
    assert status.sentence == "The file has been played to its end"
    assert [line.split()[0] for line in log] == ["INFO"] * len(log)


def test_a_file_waits_for_its_reader(run, tmp_path):
    """Nobody taking means nobody missing: the second frame is not before the first was taken."""
    path = tmp_path / "clip.mjpeg"
    write_concatenated_jpegs(path, 10)
    camera = run(spec_of(path, paced=False), file.SOURCE)
    becomes(camera, LIVE)
    time.sleep(0.2)
    stamp, number = next_frame(camera)
    assert (stamp.sequence, number) == (1, 1)
    assert next_frame(camera, 1)[1] == 2


def test_a_paced_file_plays_by_its_timestamps(run, tmp_path):
    """Frames at uneven times are shown at these times, not at the nominal rate (O-05)."""
    path = tmp_path / "clip.mkv"
    times_ms = [0, 40, 80, 600, 640, 900]
    write_video_with_times(path, times_ms)
    camera = run(spec_of(path, paced=True), file.SOURCE)
    numbers, times_s = numbers_of_all_frames(camera)
    assert numbers == [1, 2, 3, 4, 5, 6]
    for time_s, time_ms in zip(times_s, times_ms, strict=True):
        assert -0.05 < time_s - time_ms / 1000 < 0.5


def test_a_repeated_file_goes_on_for_ever(run, tmp_path):
    """With repeat the first frame follows the last, and sequence numbers rise on."""
    path = tmp_path / "clip.mjpeg"
    write_concatenated_jpegs(path, 3)
    camera = run(spec_of(path, paced=True, repeat=True), file.SOURCE)
    after, numbers = 0, []
    for _ in range(7):
        stamp, number = next_frame(camera, after)
        after = stamp.sequence
        numbers.append(number)
    assert numbers == [1, 2, 3, 1, 2, 3, 1]
    assert after == 7


def test_a_damaged_file_is_offline_until_it_is_replaced(run, tmp_path):
    """A file that holds no video is told, and read as soon as a good one takes its place."""
    path = tmp_path / "clip.mp4"
    write_sound_only(path)
    camera = run(spec_of(path, paced=False), file.SOURCE)
    becomes(camera, OFFLINE)
    assert "holds no readable video" in camera.status().sentence
    good = tmp_path / "good.mkv"
    write_video_with_times(good, [0, 40])
    good.rename(path)
    becomes(camera, LIVE) or camera.status().state is ENDED


def hang(release: threading.Event, at: int):
    """A hook that never returns at one frame, until released."""

    def hook(index: int) -> None:
        if index == at:
            release.wait(30)

    return hook


@pytest.mark.parametrize("call", ["before_grab", "before_retrieve"])
def test_a_call_that_hangs_is_left_behind_with_its_memory(run, call):
    """A call that never returns is replaced by a new attempt; what it delivers late is not seen."""
    release = threading.Event()
    hanging, healthy = ScriptedCapture([(64, 48)] * 9), ScriptedCapture([(64, 48)] * 9999)
    setattr(hanging, call, hang(release, at=3))
    spec = spec_of("scripted://", read_timeout_s=0.1)
    camera = run(spec, scripted_source(hanging, healthy))
    with take_next(camera, 0) as held:
        value = int(held.pixels[0, 0, 0])
        becomes(camera, STALLED)
        becomes(camera, LIVE)
        release.set()
        wait_until(lambda: hanging.closed)
        assert next_frame(camera, camera.status().frames_grabbed)
        assert (held.pixels == value).all()
    assert camera.status().state is LIVE
    assert not camera.wedged


@pytest.mark.slow
def test_three_hanging_calls_ask_for_a_restart(run):
    """After three calls that hang no fourth is made; when one returns after all, it goes on."""
    release = threading.Event()
    opened = []

    def open_and_hang(spec):
        opened.append(spec)
        release.wait(30)
        return ScriptedCapture([(320, 240)] * 9999)

    source = replace(scripted_source(ScriptedCapture([])), open=open_and_hang)
    camera = run(spec_of("scripted://", open_timeout_s=0.05), source)
    wait_until(lambda: camera.wedged)
    status = camera.status()
    assert status.state is OFFLINE
    assert "needs a restart" in status.sentence
    assert len(opened) == 3
    release.set()
    becomes(camera, LIVE)
    assert not camera.wedged


def test_a_late_frame_is_not_trusted(run):
    """A frame that comes after the time-out is a leftover: the camera is opened anew."""
    late, healthy = ScriptedCapture([(320, 240)] * 9), ScriptedCapture([(320, 240)] * 9999)
    late.before_grab = lambda index: time.sleep(0.15) if index == 2 else None
    patient = replace(TIMING, margin_s=60)
    spec = spec_of("scripted://", read_timeout_s=0.1)
    camera = run(spec, scripted_source(late, healthy), timing=patient)
    wait_until(lambda: late.closed)
    becomes(camera, LIVE)
    assert camera.status().frames_grabbed >= 2


def test_a_fault_inside_a_source_is_reported_and_survived(run, log):
    """A source that raises what it must not is logged with its trace, told, and tried again."""
    broken, healthy = ScriptedCapture([(320, 240)] * 9), ScriptedCapture([(320, 240)] * 9999)

    def fail(_index):
        raise ZeroDivisionError

    broken.before_grab = fail
    slow = replace(TIMING, backoff=Backoff(first_s=0.3))
    camera = run(spec_of("scripted://"), scripted_source(broken, healthy), timing=slow)
    becomes(camera, OFFLINE)
    assert "ZeroDivisionError" in camera.status().sentence
    assert broken.closed
    becomes(camera, LIVE)
    assert any("Traceback" in line for line in log)


def spoil(indices: range):
    """A hook that makes these frames undecodable."""

    def hook(index: int) -> None:
        if index in indices:
            raise SourceError("A picture of the camera cannot be decoded")

    return hook


def test_a_spoiled_frame_is_skipped_and_counted(run):
    """A few undecodable frames cost just these frames, and are counted as dropped."""
    capture = ScriptedCapture([(320, 240)] * 9999)
    capture.before_retrieve = spoil(range(3))
    camera = run(spec_of("scripted://"), scripted_source(capture))
    stamp, _ = next_frame(camera)
    assert stamp.sequence > 3
    assert camera.status().frames_dropped >= 3
    assert not capture.closed


def test_a_camera_that_sends_only_spoiled_frames_is_reopened(run):
    """Undecodable frames in a row are a failure like any other."""
    spoiled, healthy = ScriptedCapture([(320, 240)] * 99), ScriptedCapture([(320, 240)] * 9999)
    spoiled.before_retrieve = spoil(range(99))
    camera = run(spec_of("scripted://"), scripted_source(spoiled, healthy))
    wait_until(lambda: spoiled.closed)
    becomes(camera, LIVE)


def test_a_new_frame_size_brings_new_memory(run):
    """A camera that changes its size goes on at once, and a lease on an old frame holds."""
    capture = ScriptedCapture([(320, 240)] * 5 + [(64, 48)] * 9999)
    camera = run(spec_of("scripted://"), scripted_source(capture))
    with take_next(camera, 0) as held:
        wait_until(lambda: camera.status().size_wh == (64, 48))
        pixels = held.pixels
        assert (pixels == pixels[0, 0, 0]).all()
        assert next_frame(camera, held.stamp.sequence)[0].sequence > held.stamp.sequence


def test_leases_that_are_never_returned_cost_frames_but_not_the_camera(run):
    """When readers hold every slot the frames are counted as dropped and the camera stays live."""
    camera = run(
        spec_of("scripted://"),
        scripted_source(ScriptedCapture([(320, 240)] * 9999)),
        slots_count=2,
    )
    leases = [take_next(camera, 0)]
    leases.append(take_next(camera, leases[0].stamp.sequence))
    dropped = camera.status().frames_dropped
    wait_until(lambda: camera.status().frames_dropped > dropped + 5)
    assert camera.status().state is LIVE
    leases[0].release()
    assert next_frame(camera, leases[1].stamp.sequence)
    leases[1].release()


def test_every_frame_is_announced(run):
    """One waiting thread can be told of the frames of every camera."""
    announced = threading.Event()
    source = scripted_source(ScriptedCapture([(320, 240)] * 9999))
    camera = run(spec_of("scripted://"), source, on_publish=announced.set)
    assert announced.wait(10)
    camera.take().release()


def test_a_camera_that_was_never_started_stops_too():
    """Stopping and joining without a start is harmless: start-up may fail half-way."""
    camera = Camera(spec_of("/none.mp4"), file.SOURCE, timing=TIMING, slots_count=2)
    camera.stop()
    assert camera.join(1)
    assert camera.status().state is CONNECTING


class _OnePicture(BaseHTTPRequestHandler):
    """A camera's address for still pictures."""

    def do_GET(self) -> None:
        self.server.asked += 1
        picture = jpeg(numbered_frame(self.server.asked))
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(len(picture)))
        self.end_headers()
        self.wfile.write(picture)

    def log_message(self, *_: object) -> None:
        """Tests stay quiet."""


@pytest.mark.parametrize("path", ["/snap.jpg?user=a", "/cgi-bin/snapshot"])
def test_an_address_of_one_picture_is_refused_once_and_tried_seldom(run, log, path):
    """It never counts as live, and is left alone for minutes."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _OnePicture)
    server.asked = 0
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    camera = run(spec_of(f"http://127.0.0.1:{server.server_port}{path}"))
    wait_until(lambda: camera.status().retry_in_s is not None)
    time.sleep(0.3)  # many times the wait after other failures
    status, asked = camera.status(), server.asked
    server.shutdown()
    server.server_close()
    thread.join(5)
    assert status.sentence == "This address gives one picture, not a stream"
    assert "APPLIANCE_CAMERAS__DOCK__URL" in status.next_step
    assert status.retry_in_s > 300
    assert (status.attempt, status.frames_grabbed) == (1, 0)
    assert asked <= 3
    assert [line.split()[0] for line in log] == ["WARNING"]


def test_a_camera_that_comes_and_goes_all_the_time_is_told_three_times(run, log):
    """Then the log waits until a connection lasts, and says so."""
    cameras: list[Camera] = []

    def end(index: int) -> None:
        if index == 3:
            wait_until(lambda: cameras and cameras[0].status().state is LIVE)
            raise SourceError("The camera ended the connection")

    brief = [ScriptedCapture([(64, 48)] * 4) for _ in range(8)]
    for capture in brief:
        capture.before_grab = end
    lasting = replace(AT_ONCE, settled_s=2)
    source = scripted_source(*brief, ScriptedCapture([(64, 48)] * 99999))
    patient = spec_of("scripted://", read_timeout_s=30)
    cameras.append(run(patient, source, timing=replace(TIMING, backoff=lasting)))
    wait_until(lambda: any("after 8 brief connections" in line for line in log))
    kinds = [line.split("} ")[1].removeprefix("camera ").split()[0].strip(":,") for line in log]
    assert kinds == [*["live", "offline"] * 3, "3", "live"]
    assert cameras[0].status().reconnects == 8


def test_a_connection_that_lasted_and_fell_silent_ends_the_quiet_as_well(run, log):
    """It lasted without being seen to: what comes after it is told again."""
    cameras: list[Camera] = []

    def live() -> bool:
        return bool(cameras) and cameras[0].status().state is LIVE

    def end(index: int) -> None:
        if index == 3:
            wait_until(live)
            raise SourceError("The camera ended the connection")

    def fall_silent(index: int) -> None:
        if index == 3:
            wait_until(live)
            time.sleep(1.6)

    brief = [ScriptedCapture([(64, 48)] * 4) for _ in range(3)]
    for capture in brief:
        capture.before_grab = end
    silent = ScriptedCapture([(64, 48)] * 4)
    silent.before_grab = fall_silent
    source = scripted_source(*brief, silent, ScriptedCapture([(64, 48)] * 99999))
    spec = spec_of("scripted://", read_timeout_s=1)
    lasting = replace(AT_ONCE, settled_s=1.2)
    cameras.append(run(spec, source, timing=replace(TIMING, backoff=lasting)))
    wait_until(lambda: cameras[0].status().reconnects == 4 and live())
    wait_until(lambda: len(log) == 9)
    kinds = [line.split("} ")[1].removeprefix("camera ").split()[0].strip(":,") for line in log]
    assert kinds == [*["live", "offline"] * 3, "3", "stalled", "live"]


def test_a_camera_that_worked_is_not_told_to_be_set_anew(run, log):
    """After a stall it still answers: the sentence, one number for one fact, and the next try."""
    slow = replace(TIMING, backoff=Backoff(first_s=1, cap_s=1, jitter=0))
    with MjpegServer() as server:
        spec = spec_of(server.url, open_timeout_s=0.5, read_timeout_s=0.3)
        camera = run(spec, timing=slow)
        becomes(camera, LIVE)
        server.talking.clear()
        wait_until(lambda: camera.status().attempt == 2)
        sentences = set()

        def waiting() -> bool:
            status = camera.status()
            sentences.add(status.sentence)
            return status.attempt == 2 and status.retry_in_s is not None

        wait_until(waiting)
        status = camera.status()
        server.talking.set()
        becomes(camera, LIVE)
    is_open = "No new picture. The connection is open"
    # On a busy machine the decoder returns later than its own limit.
    assert sentences - {"The connection to the camera hangs; a new one is made"} == {is_open}
    assert status.state is STALLED
    assert "H.264" not in status.next_step
    stalled = [line for line in log if "camera stalled" in line]
    assert len(stalled) == 1
    said = "No new picture. The connection is open. Connects again in 1 s, attempt 1. Check"
    assert said in stalled[0]


def test_a_camera_that_never_worked_is_told_what_to_set(run):
    """The same answer, from the first day on."""
    with MjpegServer() as server:
        server.talking.clear()
        camera = run(spec_of(server.url, open_timeout_s=0.3))
        becomes(camera, OFFLINE)
        assert "H.264" in camera.status().next_step
