"""Health over a Unix socket in the state folder."""

import asyncio
import json
import os
import socket
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import pytest

from appliance.errors import StoreError
from appliance.values import Health
from appliance.web.health import LARGEST_BYTES, NAME, ask_health, serve_health
from tests.support.web import READING

DEGRADED = replace(READING, health=Health.DEGRADED, reasons=("Dock is offline",))


def asked(folder, reading, times=1):
    """What a station in `folder` with this reading answers."""

    async def serve_and_ask():
        async with await serve_health(folder, lambda: reading):
            return [await asyncio.to_thread(ask_health, folder) for _ in range(times)]

    return asyncio.run(serve_and_ask())[-1]


@pytest.mark.parametrize(
    ("health", "ready"),
    [
        (Health.READY, True),
        (Health.DEGRADED, True),
        (Health.STARTING, False),
        (Health.FAILED, False),
    ],
)
def test_a_degraded_station_is_ready_and_a_failed_one_is_not(tmp_path, health, ready):
    """A camera that is away is no reason to restart a station."""
    answer = asked(tmp_path, replace(DEGRADED, health=health))
    assert answer == {
        "ready": ready,
        "health": health,
        "reasons": ["Dock is offline"],
        "notices": [],
    }


def test_what_needs_a_person_soon_is_told(tmp_path):
    """A token that will expire is no fault yet."""
    answer = asked(tmp_path, replace(READING, notices=("The token prom expires",)))
    assert (answer["health"], answer["notices"]) == ("ready", ["The token prom expires"])


def test_it_answers_again_and_again(tmp_path):
    """Each question is a connection of its own."""
    assert asked(tmp_path, READING, times=20)["ready"]


def test_a_long_path_is_no_obstacle(tmp_path):
    """A state folder may lie deeper than a socket's address can say."""
    folder = tmp_path / ("deep" * 20) / ("deeper" * 20)
    folder.mkdir(parents=True)
    assert len(str(folder / NAME)) > 108
    assert asked(folder, READING)["ready"]


def test_what_a_killed_station_left_does_not_stop_the_next_one(tmp_path):
    """A socket file without a listener, as after a power cut, is replaced."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / NAME))
    with pytest.raises(StoreError):
        ask_health(tmp_path)
    assert asked(tmp_path, READING)["ready"]


@pytest.mark.parametrize("name", ["", "missing"])
def test_where_no_station_runs_the_error_says_so(tmp_path, name):
    """No socket, or not even a folder: a sentence and what to check, no traceback."""
    with pytest.raises(StoreError, match="no station answers in") as raised:
        ask_health(tmp_path / name)
    assert "settings" in raised.value.hint


GOOD = {"ready": True, "health": "ready", "reasons": [], "notices": []}


@contextmanager
def answering(path, parts, pause_s=0.0):
    """Somebody at a socket who sends these parts to whoever comes; yields how much was sent."""
    sent = [0]

    def serve():
        try:
            with listener.accept()[0] as channel:
                for part in parts:
                    sent[0] += channel.send(part)
                    time.sleep(pause_s)
        except OSError:
            return  # nobody came, or they had enough

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield sent
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    assert not thread.is_alive()


def test_no_link_is_followed(tmp_path):
    """Root asks, too: a link of the station's could lead it to any socket of the host."""
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / NAME).symlink_to(tmp_path / "other")
    with (
        answering(tmp_path / "other", [json.dumps(GOOD).encode()]) as sent,
        pytest.raises(StoreError),
    ):
        ask_health(folder)
    assert sent == [0]


@pytest.mark.parametrize("kind", ["file", "folder", "pipe"])
def test_what_is_no_socket_is_not_opened(tmp_path, kind):
    """A pipe would keep whoever opens it waiting."""
    made = {"file": Path.touch, "folder": Path.mkdir, "pipe": os.mkfifo}[kind]
    made(tmp_path / NAME)
    with pytest.raises(StoreError):
        ask_health(tmp_path)


def test_an_answer_without_an_end_is_not_read_to_its_end(tmp_path):
    """64 KiB, and what the socket itself takes."""
    with answering(tmp_path / NAME, repeat(b" " * 65536)) as sent, pytest.raises(StoreError):
        ask_health(tmp_path)
    assert sent[0] < 20 * LARGEST_BYTES


@pytest.mark.parametrize(("parts", "pause_s"), [(repeat(b" "), 0.02), ([b"{"], 0.4)])
def test_an_answer_that_drips_has_a_time_for_all_of_it(tmp_path, parts, pause_s):
    """However often a byte comes."""
    with answering(tmp_path / NAME, parts, pause_s):
        began_s = time.monotonic()
        with pytest.raises(StoreError):
            ask_health(tmp_path, timeout_s=0.2)
        assert 0.15 < time.monotonic() - began_s < 2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{}",
        b"ready",
        b"\xff",
        b"[" * 60_000,
        b"1" * 60_000,
        json.dumps({**GOOD, "ready": "yes"}).encode(),
        json.dumps({**GOOD, "health": None}).encode(),
        json.dumps({**GOOD, "reasons": "many"}).encode(),
        json.dumps({**GOOD, "reasons": [1]}).encode(),
        json.dumps({**GOOD, "notices": {}}).encode(),
    ],
    ids=lambda answer: repr(answer[:60]),
)
def test_an_answer_of_another_form_is_none(tmp_path, answer):
    """Whoever asks decides by it, so nothing of it is taken on trust."""
    with answering(tmp_path / NAME, [answer] if answer else []), pytest.raises(StoreError):
        ask_health(tmp_path)


def test_texts_of_an_answer_move_no_cursor(tmp_path):
    """They are printed where root looks; what the first releases did not tell may be missing."""
    hostile = {"ready": False, "health": "fail\x1b[2Jed", "reasons": ["a\nb", "\udcdc"]}
    with answering(tmp_path / NAME, [json.dumps(hostile).encode()]):
        answer = ask_health(tmp_path)
    assert (answer["health"], answer["notices"]) == ("fail\\x1b[2Jed", [])
    assert answer["reasons"] == ["a\\nb", "\\udcdc"]


@contextmanager
def answering_as(user, folder):
    """A process of another user that answers the first who comes as a station does."""
    listening, ready = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(user)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(folder / NAME))
                listener.listen()
                os.write(ready, b"1")
                listener.accept()[0].send(json.dumps(GOOD).encode())
        finally:
            os._exit(0)
    os.close(ready)
    os.read(listening, 1)
    os.close(listening)
    yield
    os.waitpid(child, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to act as another user")
@pytest.mark.parametrize(("user", "is_heard"), [(12345, True), (23456, False)])
def test_nobody_but_the_folders_owner_is_heard(user, is_heard):
    """By what the kernel says of who listens; others may have put a socket there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chown(folder, 12345, 12345)
        folder.chmod(0o777)
        with answering_as(user, folder):
            if is_heard:
                assert ask_health(folder) == GOOD
                return
            with pytest.raises(StoreError) as caught:
                ask_health(folder)
        assert "user 23456 listens" in str(caught.value.__cause__)
