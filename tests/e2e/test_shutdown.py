"""SIGTERM at any moment: what runs is ended in order, within the grace, with 0 (O-21)."""

import asyncio
import json
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import pytest
import websockets

from tests.support.cameras import MjpegServer
from tests.support.models import paint
from tests.support.process import (
    GRACE_S,
    MODEL,
    PASSWORD,
    run,
    started,
    station_environ,
    write_clip,
)

pytestmark = pytest.mark.slow

KILLED_BY_THE_SECOND = 128 + signal.SIGTERM
TERM_BIT = 1 << (signal.SIGTERM - 1)


def with_clip(folder, *, built=False, **changes):
    """Variables of a station that has never run, with one camera that plays a clip."""
    clip = str(write_clip(folder / "clip.avi"))
    return station_environ(folder, built=built, APPLIANCE_CAMERAS__GATE__URL=clip, **changes)


def wait_until_heeding(station):
    """Until the process has a handler for SIGTERM: before, no program can do anything."""
    status = Path(f"/proc/{station.child.pid}/status")

    def heeds():
        caught = status.read_text().partition("SigCgt:")[2].split()[0]
        return int(caught, 16) & TERM_BIT

    deadline_s = time.monotonic() + GRACE_S
    while not heeds():
        assert time.monotonic() < deadline_s, "never heeds SIGTERM"


@pytest.fixture(scope="module")
def start_s(tmp_path_factory):
    """Seconds from a first start to ready on this machine."""
    folder = tmp_path_factory.mktemp("measured")
    with started(with_clip(folder), folder / "log") as station:
        wait_until_heeding(station)
        before_s = time.monotonic()
        station.wait_until_ready()
        taken_s = time.monotonic() - before_s
        assert station.stop() == 0
    return taken_s


@pytest.mark.parametrize("turn", range(6))
def test_a_signal_at_any_moment_of_the_start_ends_it_in_order(tmp_path, start_s, turn):
    """From the first moment that it can be heard until ready: 0 in time, and no traceback."""
    moment_s = random.uniform(0, start_s) if turn else 0.0  # noqa: S311 - any moment will do
    environ = with_clip(tmp_path)
    with started(environ, tmp_path / "log") as station:
        wait_until_heeding(station)
        time.sleep(moment_s)
        assert station.stop() == 0, f"after {moment_s} s"
    assert "Traceback" not in station.log.read_text(), f"after {moment_s} s"


def test_a_signal_while_an_engine_is_built_ends_the_build_too(tmp_path):
    """Station and child go, what was half made is cleared, and the next build is a whole one."""
    environ = with_clip(tmp_path)
    engines = tmp_path / "cache" / "engines" / MODEL
    frames = tmp_path / "state" / "models" / MODEL / "verify"
    frames.mkdir()
    for index in range(100):  # large ones: to compare them takes much longer than to stop
        cv2.imwrite(str(frames / f"{index}.jpg"), paint([], (1280, 720)))
    with started(environ, tmp_path / "log") as station:
        station.wait_until(lambda: list(engines.glob(".building-*")))
        assert station.stop() == 0
    assert not re.search("Traceback|ERROR", station.log.read_text())
    assert not list(engines.glob("[!.]*"))
    shutil.rmtree(frames)
    assert run(environ, "build").returncode == 0
    assert list(engines.glob("[!.]*"))
    assert not list(engines.glob(".building-*"))


@contextmanager
def half_open(station, cookie, count):
    """Connections that begin something and never go on: peers that have lost their network."""
    address = ("127.0.0.1", int(station.environ["APPLIANCE_WEB__PORT"]))
    host = f"Host: 127.0.0.1:{address[1]}\r\nOrigin: {station.origin}\r\n"
    upgrade = (
        f"GET /live HTTP/1.1\r\n{host}Cookie: {cookie}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    beginnings = [
        "GET /live HT",
        f"POST /login HTTP/1.1\r\n{host}Content-Type: application/x-www-form-urlencoded\r\n"
        "Content-Length: 60\r\n\r\nuser=ada&pass",
        upgrade,
    ]
    with ExitStack() as held:
        for beginning in beginnings * count:
            peer = held.enter_context(socket.create_connection(address))
            peer.sendall(beginning.encode())
            if beginning is upgrade:
                assert b" 101 " in peer.recv(64)
                peer.sendall(masked(json.dumps({"watch": ["gate"]})))
        yield


def masked(text):
    """One text frame of a WebSocket client, shorter than 126 bytes."""
    return struct.pack("!BB4x", 0x81, 0x80 | len(text)) + text.encode()


def test_whoever_holds_on_the_station_ends(tmp_path):
    """Viewers that read, that stare and that are half open, a camera whose read hangs, a sign-in.

    Who reads is told that the station goes (1001), the others are left; the camera's connection
    is cut; nothing is half written.
    """

    async def watch_and_stop(station, cookie):
        url = station.url.replace("http", "ws") + "/live"
        headers = {"Cookie": cookie, "Origin": station.origin}
        options = {"additional_headers": headers, "max_size": None, "close_timeout": 1}
        async with (
            websockets.connect(url, **options) as reader,
            websockets.connect(url, **options) as starer,
        ):
            for viewer in (reader, starer):
                await viewer.send(json.dumps({"watch": ["gate"]}))
            starer.transport.pause_reading()
            await asyncio.wait_for(reader.recv(), 20)
            signing_in = asyncio.create_task(asyncio.to_thread(try_to_sign_in, station))
            await asyncio.sleep(random.uniform(0, 0.1))  # noqa: S311 - any moment will do
            station.child.send_signal(signal.SIGTERM)
            async for _ in reader:
                pass
            code = await asyncio.to_thread(station.child.wait, GRACE_S)
            await signing_in
            return reader.close_code, code

    with MjpegServer() as wedged:
        environ = with_clip(
            tmp_path,
            APPLIANCE_CAMERAS__DOCK__URL=wedged.url,
            APPLIANCE_CAMERAS__DOCK__READ_TIMEOUT_S="600",
        )
        with started(environ, tmp_path / "log") as station:
            station.wait_until_ready()
            station.wait_until(lambda: "live, attempt 1 camera=dock" in station.log.read_text())
            wedged.talking.clear()
            cookie = station.sign_in()
            with half_open(station, cookie, count=5):
                assert asyncio.run(watch_and_stop(station, cookie)) == (1001, 0)
    assert "Traceback" not in station.log.read_text()
    left = [path.name for path in tmp_path.glob("cache/engines/*/*") if path.name.startswith(".")]
    assert left == []


def try_to_sign_in(station):
    """A sign-in that may be let in, refused or cut off."""
    form = f"user=ada&password={PASSWORD}"
    request = (
        f"POST /login HTTP/1.1\r\nHost: 127.0.0.1:{station.environ['APPLIANCE_WEB__PORT']}\r\n"
        f"Origin: {station.origin}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(form)}\r\nConnection: close\r\n\r\n{form}"
    )
    address = ("127.0.0.1", int(station.environ["APPLIANCE_WEB__PORT"]))
    try:
        with socket.create_connection(address) as peer:
            peer.settimeout(GRACE_S)
            peer.sendall(request.encode())
            return peer.recv(64)
    except ConnectionError:
        return b""


def test_a_second_signal_ends_at_once(tmp_path):
    """While the first one waits for a request that never goes on, the second does not wait."""
    environ = with_clip(tmp_path, built=True)
    with started(environ, tmp_path / "log") as station:
        station.wait_until_ready()
        with half_open(station, station.sign_in(), count=1):
            station.child.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                station.child.wait(0.3)
            station.child.send_signal(signal.SIGTERM)
            assert station.child.wait(GRACE_S) == KILLED_BY_THE_SECOND
    assert run(environ, "check").returncode == 0


def test_the_problem_page_ends_as_well(tmp_path):
    """It holds nothing, whoever looks at it."""
    environ = station_environ(tmp_path, APPLIANCE_MODL="x")
    with started(environ, tmp_path / "log") as station:
        station.wait_until(lambda: station.get("/").status_code == 503)
        with socket.create_connection(("127.0.0.1", int(environ["APPLIANCE_WEB__PORT"]))) as peer:
            peer.sendall(b"GET / HT")
            assert station.stop() == 0
