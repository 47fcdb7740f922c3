"""Cameras that are after the station: the real process, its memory, and what its log says."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.hostile_cameras import ENDLESS, GOOD, HUGE, LONG, NO_END, grown_mb, part, sending
from tests.support.process import PATIENCE_S, seeing
from tests.support.refusing import answering, head

pytestmark = pytest.mark.slow

BOUND_MB = 50
SETTLING_S = 3.0
TRIES = 2  # of each camera, after it has begun
BODIES = {
    "frame": sending(over=part(HUGE)),
    "part": sending(LONG, over=ENDLESS),
    "no_end": sending(NO_END, over=ENDLESS),
    "later": sending(*[GOOD] * 5, over=part(HUGE)),
}
SAID = {
    "frame": "The pictures have 14000 x 14000 pixels, and no more than 40 megapixels are read",
    "part": "The camera sends pictures of 2000 MB, which are not read",
    "away": "The camera leads to another address (localhost:",
}


class Sleeper:
    """A camera that says nothing at first, and is hostile once it is told to."""

    def __init__(self, begun: threading.Event, body: Callable[[], Iterator[bytes]]) -> None:
        self.begun = begun
        self.body = body
        self.tries = 0

    def __call__(self) -> Iterator[bytes]:
        self.begun.wait(PATIENCE_S)
        self.tries += 1
        return self.body()


def test_hostile_cameras_cost_the_station_nothing_but_a_line(tmp_path):
    """All at once: its memory stays within bounds, another camera goes on, and each is told."""
    begun = threading.Event()
    hit: list[bytes] = []
    with contextlib.ExitStack() as stack:
        elsewhere = stack.enter_context(answering(lambda: iter(hit.append(b"x") or [b""])))
        location = f"Location: http://localhost:{elsewhere}/internal\r\n"
        leading = head("HTTP/1.1 302 Found", location)
        sleepers = {key: Sleeper(begun, body) for key, body in BODIES.items()}
        sleepers["away"] = Sleeper(begun, lambda: iter([leading]))
        ports = {key: stack.enter_context(answering(one)) for key, one in sleepers.items()}
        cameras = {
            f"APPLIANCE_CAMERAS__{key.upper()}__URL": f"http://127.0.0.1:{port}/x"
            for key, port in ports.items()
        }
        station = stack.enter_context(
            seeing(tmp_path, APPLIANCE_CAMERAS__GATE__REPEAT="on", **cameras)
        )
        time.sleep(SETTLING_S)
        with grown_mb(station.child.pid) as grown:
            begun.set()
            station.wait_until(lambda: min(one.tries for one in sleepers.values()) >= TRIES)
            station.wait_until(
                lambda: all(said in station.log.read_text() for said in SAID.values())
            )
        assert grown[0] < BOUND_MB
        assert station.ready().status_code == 200
        assert "Traceback" not in station.log.read_text()
    assert hit == []
