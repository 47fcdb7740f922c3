"""Cameras that send more than the station should hold."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache

import psutil

from tests.support.cameras import jpeg, numbered_frame
from tests.support.refusing import MULTIPART, head

ENDLESS = bytes(1 << 20)


@cache
def claiming(width: int, height: int) -> bytes:
    """A JPEG whose head says that it has this size, long enough to be believed."""
    small = bytearray(jpeg(numbered_frame(1)))
    sizes = small.find(b"\xff\xc0") + 5
    small[sizes : sizes + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(small[:-2]) + bytes(width * height // 200) + b"\xff\xd9"


def part(picture: bytes) -> bytes:
    """One part of a motion JPEG stream, with its length."""
    lines = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
    return b"--frame\r\n" + lines.encode() + picture + b"\r\n"


GOOD = part(jpeg(numbered_frame(1)))
HUGE = claiming(14000, 14000)
LONG = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 2000000000\r\n\r\n"
NO_END = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n"


def sending(*pieces: bytes, over: bytes) -> Callable[[], Iterator[bytes]]:
    """These, and then the last one for ever."""

    def body() -> Iterator[bytes]:
        yield head("HTTP/1.1 200 OK", MULTIPART)
        yield from pieces
        while True:
            time.sleep(0.001 if over is ENDLESS else 0.04)
            yield over

    return body


@contextlib.contextmanager
def grown_mb(pid: int | None = None) -> Iterator[list[float]]:
    """By how much a process, or this one, grew at most meanwhile, in MB."""
    process, ended = psutil.Process(pid), threading.Event()
    before, grown = process.memory_info().rss, [0.0]

    def watch() -> None:
        while not ended.wait(0.002):
            grown[0] = max(grown[0], (process.memory_info().rss - before) / 1e6)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield grown
    finally:
        ended.set()
        thread.join(5)
