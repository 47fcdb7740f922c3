"""What recorders and players see of a camera: the real station, and real programs that read it."""

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import cv2
import httpx
import numpy as np
import psutil
import pytest

from appliance.settings.tokens import TokenScope, new_token
from appliance.web.access.connections import UNREAD_S, UNSENT_BYTES
from tests.support.metrics import families_of
from tests.support.process import PLAIN, TOKEN, seeing, started, station_environ, write_clip
from tests.support.streams import HELD_BACK_S, parts_of, read_parts

pytestmark = pytest.mark.slow

PICTURES, KEPT = new_token(
    "recorder", [TokenScope.PICTURES], datetime.now(UTC).date() + timedelta(days=9)
)
METRICS, METRICS_KEPT = new_token(
    "prometheus", [TokenScope.METRICS], datetime.now(UTC).date() + timedelta(days=9)
)
STREAM, SNAPSHOT = "/api/cameras/gate/stream", "/api/cameras/gate/snapshot"
VIEWERS = 3
WINDOW_BYTES = 4096  # of a slow line
READ_BY_OPENCV = """
import sys
import cv2
capture = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG)
shapes = [capture.read()[1].shape for _ in range(10)]
print(set(shapes))
"""


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    """A station whose camera sees two squares for ever, and one that has nothing to see."""
    with seeing(
        tmp_path_factory.mktemp("station"),
        APPLIANCE_CAMERAS__GATE__REPEAT="on",
        APPLIANCE_CAMERAS__DARK__URL="rtsp://127.0.0.1:9/none",
        APPLIANCE_AUTH__TOKENS=f"{KEPT.line()},{METRICS_KEPT.line()}",
        APPLIANCE_LIVE__VIEWERS=str(VIEWERS),
    ) as process:
        yield process


def bearing(token=PICTURES):
    return {"Authorization": f"Bearer {token}"}


def client(station, **headers):
    return httpx.Client(base_url=station.url, headers=headers or bearing(), timeout=10, **PLAIN)


def viewers(station):
    text = station.get("/metrics", Authorization=f"Bearer {TOKEN}").text
    return families_of(text)["appliance_viewers"].samples[0].value


def white_lines(pixels):
    """How many pixels are nearly white: boxes are, and nothing in the clip is."""
    return int((pixels.min(axis=2) > 200).sum())


def test_a_stream_is_pictures_with_their_boxes(station):
    """One after the other, each fresh, with boxes that the camera's own picture has not."""
    with client(station) as machine:
        parts = read_parts(machine, STREAM, 8)
    assert {part.pixels.shape for part in parts} == {(240, 320, 3)}
    assert min(white_lines(part.pixels) for part in parts) > 200
    assert max(part.age_s for part in parts) < HELD_BACK_S
    cookie = {"cookie": station.sign_in("ada")}
    plain = httpx.get(f"{station.url}/api/inspect/cameras/gate", headers=cookie).content
    assert white_lines(cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_COLOR)) < 20


def test_a_viewer_may_watch_as_well(station):
    """With the session of the page."""
    with client(station, cookie=station.sign_in("vera")) as person:
        assert len(read_parts(person, STREAM, 2)) == 2
        assert person.get(SNAPSHOT).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        (bearing("wrong"), 401),
        (bearing(METRICS), 403),
        (bearing(TOKEN), 403),
        ({"Authorization": "Basic !"}, 401),
    ],
)
def test_nobody_else_sees_a_picture(station, headers, status):
    """Not a stranger, and no token that was made for something else."""
    for path in (STREAM, SNAPSHOT):
        answer = httpx.get(f"{station.url}{path}", headers=headers)
        assert answer.status_code == status
        assert ("www-authenticate" in answer.headers) == (status == 401)


def test_opencv_reads_it_with_a_header(station):
    """As a recorder does that may be told of headers."""
    shapes = read_by_opencv(f"{station.url}{STREAM}", f"headers;Authorization: Bearer {PICTURES}")
    assert shapes == "{(240, 320, 3)}"


def test_opencv_reads_it_with_a_password(station):
    """As players do: they ask first, are asked for a password, and bring the token as one."""
    url = f"{station.url}{STREAM}".replace("//", f"//any:{PICTURES}@")
    assert read_by_opencv(url, "") == "{(240, 320, 3)}"


def read_by_opencv(url, options):
    environ = {**os.environ, "OPENCV_FFMPEG_CAPTURE_OPTIONS": options}
    done = subprocess.run(
        [sys.executable, "-c", READ_BY_OPENCV, url],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_snapshot_is_the_next_picture_with_its_age(station):
    """One JPEG, and when it was taken."""
    with client(station) as machine:
        answer = machine.get(SNAPSHOT)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "no-store"
    assert 0 <= int(answer.headers["x-age-ms"]) < 1000
    assert abs(float(answer.headers["x-timestamp"]) - time.time()) < 5
    pixels = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert white_lines(pixels) > 200


def test_a_camera_that_is_not_there_is_said_so(station):
    """One that sends nothing, and one that nobody has."""
    with client(station) as machine:
        offline = machine.get("/api/cameras/dark/snapshot")
        nobody = [machine.get(f"/api/cameras/none/{what}") for what in ("stream", "snapshot")]
    assert offline.status_code == 404
    assert offline.json()["error"] == "The camera sends no picture now."
    assert {answer.status_code for answer in nobody} == {404}
    assert {answer.json()["error"] for answer in nobody} == {"There is no such camera."}


def test_streams_take_the_seats_of_viewers(station):
    """No more than may watch; who goes makes room."""
    with client(station) as machine:
        with ExitStack() as open_ones:
            for _ in range(VIEWERS):
                answer = open_ones.enter_context(machine.stream("GET", STREAM))
                assert answer.status_code == 200
            assert viewers(station) == VIEWERS
            for path in (STREAM, SNAPSHOT):
                late = machine.get(path)
                assert late.status_code == 429
                assert "APPLIANCE_LIVE__VIEWERS" in late.json()["hint"]
        station.wait_until(lambda: viewers(station) == 0)
        assert machine.get(SNAPSHOT).status_code == 200


def test_a_stream_of_a_silent_camera_ends_with_its_reader(station):
    """It waits for a picture that does not come, and still notices who goes."""
    with client(station) as machine:
        with machine.stream("GET", "/api/cameras/dark/stream") as answer:
            assert answer.status_code == 200
            assert viewers(station) == 1
        station.wait_until(lambda: viewers(station) == 0)


def test_a_stream_ends_with_its_session(station):
    """In order, within two seconds after the sign-out."""
    cookie = station.sign_in("vera")
    with (
        client(station, cookie=cookie) as person,
        person.stream("GET", STREAM) as answer,
    ):
        parts = parts_of(answer.iter_raw())
        next(parts)
        out = httpx.post(
            f"{station.url}/logout", headers={"cookie": cookie, "Origin": station.origin}
        )
        assert out.status_code == 303
        began_s = time.monotonic()
        for _ in parts:
            assert time.monotonic() - began_s < 2
        assert time.monotonic() - began_s < 2


def slow_reader(station):
    """A connection that has asked for the stream, with a window as small as a slow line's."""
    host, port = station.origin.removeprefix("http://").split(":")
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
    line.settimeout(10)
    line.connect((host, int(port)))
    request = f"GET {STREAM} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {PICTURES}\r\n\r\n"
    line.sendall(request.encode())
    return line


def slowly(line, bytes_s):
    """What comes, at this speed; the head of the answer is left out."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += line.recv(1)
    while True:
        yield line.recv(bytes_s // 10)
        time.sleep(0.1)


def test_who_reads_slowly_sees_fewer_pictures_and_none_that_is_old(station):
    """At a tenth of what the camera sends: pictures are left out, not queued."""
    with client(station) as machine:
        size = len(read_parts(machine, STREAM, 1)[0].jpeg)
    with slow_reader(station) as line:
        parts = parts_of(slowly(line, bytes_s=int(1.5 * size)))
        ages_s = [next(parts).age_s for _ in range(25)]
    # What both kernels and one picture take at this speed; without a bound it would be 15 s by now.
    assert max(ages_s) < (UNSENT_BYTES + WINDOW_BYTES + 3 * size) / (1.5 * size)


def test_who_does_not_read_at_all_loses_the_seat(station):
    """After some patience, in which nothing piles up."""
    memory = psutil.Process(station.child.pid).memory_info
    with ExitStack() as lines:
        before = memory().rss
        for _ in range(VIEWERS):
            lines.enter_context(slow_reader(station))
        station.wait_until(lambda: viewers(station) == VIEWERS)
        station.wait_until(lambda: viewers(station) == 0, 3 * UNREAD_S)
        assert memory().rss - before < 10e6
    with client(station) as machine:
        assert machine.get(SNAPSHOT).status_code == 200


def test_the_station_ends_in_time_with_streams_open(tmp_path):
    """One that is read, one that is not, one of a silent camera; those who listen hear of it."""
    environ = station_environ(
        tmp_path,
        APPLIANCE_CAMERAS__GATE__URL=str(write_clip(tmp_path / "clip.avi")),
        APPLIANCE_CAMERAS__GATE__REPEAT="on",
        APPLIANCE_CAMERAS__DARK__URL="rtsp://127.0.0.1:9/none",
        APPLIANCE_AUTH__TOKENS=KEPT.line(),
    )
    with started(environ, tmp_path / "log") as process:
        process.wait_until_ready()
        with (
            client(process) as machine,
            slow_reader(process),
            machine.stream("GET", "/api/cameras/dark/stream") as silent,
            machine.stream("GET", STREAM) as read,
        ):
            parts = parts_of(read.iter_raw())
            next(parts)
            process.child.terminate()
            list(parts)  # to its end, in order
            assert b"".join(silent.iter_raw()) == b"--picture\r\n"
            assert process.child.wait(8) == 0
        assert "Traceback" not in process.log.read_text()
