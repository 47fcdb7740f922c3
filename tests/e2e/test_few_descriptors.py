"""A station that may open few files, and a crowd that opens connections and says nothing."""

import re
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.web.access.connections import CONNECTIONS, RESERVE
from tests.support.process import TOKEN, started, station_environ, write_clip

pytestmark = pytest.mark.slow

CROWD = 90
CROWD_S = 8.0
FEW = ("sh", "-c", 'ulimit -n 64 && exec "$@"', "sh")  # soft and hard


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    """With a clip as its camera."""
    folder = tmp_path_factory.mktemp("few")
    clip = str(write_clip(folder / "clip.avi"))
    environ = station_environ(folder, APPLIANCE_CAMERAS__GATE__URL=clip)
    with started(environ, folder / "log", prefix=FEW) as process:
        process.wait_until_ready()
        process.wait_until_page()
        yield process


def crowd(station, running):
    """Connections on which nothing is ever sent."""
    port = int(station.environ["APPLIANCE_WEB__PORT"])
    for _ in range(CROWD):
        running.enter_context(socket.create_connection(("127.0.0.1", port)))


def processed(station):
    """How many pictures the model has seen."""
    text = station.get("/metrics", Authorization=f"Bearer {TOKEN}").text
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("appliance_frames_inferred_total")
    )


def test_a_crowd_with_few_descriptors_is_told_in_a_few_lines(station):
    """Health is answered all the while, the camera goes on, and the log stays short."""
    before, seen = station.log.read_text(), processed(station)
    with ExitStack() as running:
        crowd(station, running)
        end_s = time.monotonic() + CROWD_S
        answers = []
        while time.monotonic() < end_s:
            answers.append(station.get("/api/health").status_code)
            time.sleep(0.2)
    assert set(answers) == {200}
    assert len(answers) > CROWD_S
    assert processed(station) > seen
    lines = station.log.read_text()[len(before) :].splitlines()
    assert len(lines) < 10, lines[:20]
    assert station.ready().json()["health"] == "ready"


def test_a_low_limit_is_told_once_with_what_to_raise(station):
    """For a unit and for Compose, with the number."""
    (line,) = [line for line in station.log.read_text().splitlines() if "limits: 64" in line]
    assert f"not {CONNECTIONS}; raise LimitNOFILE=" in line
    assert f"ulimits: nofile: in the Compose file, to {CONNECTIONS + RESERVE}" in line


def test_the_usual_limit_is_raised_to_what_is_allowed(tmp_path):
    """Where only the soft limit is low, as a login shell's may be, nothing is missing."""
    environ = station_environ(tmp_path)
    soft = ("sh", "-c", 'ulimit -S -n 64 && exec "$@"', "sh")
    with started(environ, tmp_path / "log", prefix=soft) as process:
        process.wait_until(lambda: process.get("/api/health").status_code == 200)
        limits = Path(f"/proc/{process.child.pid}/limits").read_text()
        (now, most) = re.search(r"^Max open files +(\S+) +(\S+)", limits, re.MULTILINE).groups()
        assert now == most != "64"
        assert "limits:" not in process.log.read_text()
