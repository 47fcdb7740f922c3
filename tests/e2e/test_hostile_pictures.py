"""Pictures that were made to do harm, sent to a real station: who else is there notices nothing."""

import statistics
import threading
import time

import httpx
import psutil
import pytest

from tests.support.hostile_pictures import liar_avif, many_scans, slow_jpeg
from tests.support.people import encoded, upright
from tests.support.process import PLAIN, password_hash, started, station_environ, write_clip

ASK = "/api/inspect?model=bright-spots&confidence=0.5"
SENDER, OTHER = "otto", "olga"  # both operators
SLOW = 3  # pictures that each take a core for six seconds

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    folder = tmp_path_factory.mktemp("station")
    people = [f"{name}:operator:{password_hash()}" for name in (SENDER, OTHER)]
    environ = station_environ(
        folder,
        APPLIANCE_AUTH__USERS="\n".join(people),
        APPLIANCE_CAMERAS__GATE__URL=str(write_clip(folder / "clip.avi")),
    )
    with started(environ, folder / "log") as process:
        process.wait_until_ready()
        process.wait_until_page()
        yield process


@pytest.fixture(scope="module")
def ask(station):
    """Sends a picture as somebody; gives status, document and seconds."""
    headers = {
        name: {"Cookie": station.sign_in(name), "Origin": station.origin}
        for name in (SENDER, OTHER)
    }

    def send(person, data, timeout_s=60):
        began_s = time.monotonic()
        answer = httpx.post(
            station.url + ASK, content=data, headers=headers[person], timeout=timeout_s, **PLAIN
        )
        return answer.status_code, answer.json(), time.monotonic() - began_s

    return send


def children(station):
    """The processes in which pictures are read."""
    found = psutil.Process(station.child.pid).children(recursive=True)
    return [each for each in found if "appliance.pictures.worker" in " ".join(each.cmdline())]


def test_hostile_pictures_are_refused_soon_and_in_words(ask, station):
    """A hundred thousand scans, and 1 kB that unpacks to 49 million pixels."""
    before = psutil.Process(station.child.pid).memory_info().rss
    for data, told in ((many_scans(100_000), "more than 100 scans"), (liar_avif(), "picture")):
        status, found, took_s = ask(SENDER, data)
        assert status == 400
        assert told in found["error"]
        assert found["hint"]
        assert took_s < 15
    assert psutil.Process(station.child.pid).memory_info().rss - before < 40_000_000
    assert all(each.memory_info().rss < 150_000_000 for each in children(station))


def test_while_somebody_sends_them_others_are_answered_and_health_is_quick(ask, station):
    """Some at once that take a decoder seconds each: one process reads them, not the station."""
    answers = []
    ask(OTHER, encoded(upright(), "PNG"))
    senders = [
        threading.Thread(target=lambda: answers.append(ask(SENDER, slow_jpeg(), 200)))
        for _ in range(SLOW)
    ]
    for sender in senders:
        sender.start()
    time.sleep(0.5)
    small, health_s = [], []
    for _ in range(10):
        began_s = time.monotonic()
        assert httpx.get(f"{station.url}/api/health", timeout=20, **PLAIN).status_code == 200
        health_s.append(time.monotonic() - began_s)
        small.append(ask(OTHER, encoded(upright(), "PNG")))
    assert len(answers) < SLOW
    assert [status for status, *_ in small] == [200] * 10
    assert statistics.median(took_s for *_, took_s in small) < 3
    assert statistics.median(health_s) < 0.5
    for sender in senders:
        sender.join(200)
    assert [status for status, *_ in answers] == [200] * SLOW


def test_who_leaves_takes_the_work_along(ask, station):
    """The page was closed in the middle of a slow picture: nothing reads it any more."""
    with pytest.raises(httpx.ReadTimeout):
        ask(SENDER, slow_jpeg(), timeout_s=1)
    deadline_s = time.monotonic() + 20
    while any(each.status() == psutil.STATUS_RUNNING for each in children(station)):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    status, _, took_s = ask(SENDER, encoded(upright(), "PNG"))
    assert status == 200
    assert took_s < 10
