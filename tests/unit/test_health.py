"""Health over a Unix socket in the state folder."""

import asyncio
import socket
from dataclasses import replace

import pytest

from appliance.errors import StoreError
from appliance.values import Health
from appliance.web.health import NAME, ask_health, serve_health
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
