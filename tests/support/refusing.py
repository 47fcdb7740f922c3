"""Cameras that do not work, each in its own way; and a process that tries them again and again.

As a program: `python -m tests.support.refusing ATTEMPTS URL...` tries each camera so often, at once
after each failure, and prints as JSON what that took once it was warm.
"""

import contextlib
import gc
import json
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from loguru import logger

from appliance.capture.camera import Camera
from appliance.capture.contract import CameraSpec, Source
from appliance.capture.sources import file, stream
from appliance.capture.timing import Backoff, Timing
from appliance.settings.process import share_heaps
from tests.support.cameras import closed_port, jpeg, numbered_frame
from tests.support.videos import write_sound_only

WARM_UP = 50  # attempts
DIGEST = 'WWW-Authenticate: Digest realm="camera", nonce="00ff", qop="auth"\r\n'
MULTIPART = "Content-Type: multipart/x-mixed-replace; boundary=frame\r\n"


def head(status: str, lines: str = "") -> bytes:
    """The head of an answer, HTTP or RTSP as `status` begins."""
    sequence = "CSeq: 1\r\n" if status.startswith("RTSP") else "Connection: close\r\n"
    return f"{status}\r\n{sequence}{lines}\r\n".encode()


def part(picture: bytes) -> bytes:
    """One part of a motion JPEG stream."""
    return b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + picture + b"\r\n"


def answers() -> Mapping[str, tuple[str, bytes]]:
    """Scheme and answer of each camera that answers."""
    pictures = part(jpeg(numbered_frame(1))) * 5
    return {
        "http 503": ("http", head("HTTP/1.1 503 Busy")),
        "http 401": ("http", head("HTTP/1.1 401 No", DIGEST)),
        "http 404": ("http", head("HTTP/1.1 404 No")),
        "http cut in the head": ("http", b"HTTP/1.1 200"),
        "http cut in the stream": ("http", head("HTTP/1.1 200 OK", MULTIPART) + pictures[:-200]),
        "https that is none": ("https", head("HTTP/1.1 200 OK")),
        "rtsp 503": ("rtsp", head("RTSP/1.0 503 Busy")),
        "rtsp 401": ("rtsp", head("RTSP/1.0 401 No", DIGEST)),
        "rtsp 404": ("rtsp", head("RTSP/1.0 404 No")),
        "rtsp cut": ("rtsp", b""),
    }


@contextlib.contextmanager
def answering(answer: bytes | Callable[[], Iterator[bytes]]) -> Iterator[int]:
    """A server that gives each request the same answer and hangs up; yields its port.

    Args:
        answer: whole, or what gives it piece by piece, without an end if need be.
    """
    server = socket.create_server(("127.0.0.1", 0), backlog=64)

    def serve() -> None:
        with contextlib.suppress(OSError):  # it is shut down by the end of the block
            while True:
                connection, _ = server.accept()
                threading.Thread(target=_answer, args=(connection, answer), daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(server.getsockname()[1])
    finally:
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        server.close()


def _answer(connection: socket.socket, answer: bytes | Callable[[], Iterator[bytes]]) -> None:
    with connection, contextlib.suppress(OSError):  # the client may leave when it likes
        connection.settimeout(5)
        if connection.recv(4096):
            for piece in [answer] if isinstance(answer, bytes) else answer():
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass


@contextlib.contextmanager
def refusing_cameras(folder: Path) -> Iterator[Mapping[str, str]]:
    """Addresses of cameras that do not work, by what is wrong with them."""
    with contextlib.ExitStack() as stack:
        closed = stack.enter_context(closed_port())
        urls = {
            "http refused": f"http://127.0.0.1:{closed}/x",
            "rtsp refused": f"rtsp://127.0.0.1:{closed}/x",
            "no file": str(folder / "none.mp4"),
            "no video": str(folder / "sound.mp4"),
        }
        write_sound_only(folder / "sound.mp4")
        for name, (scheme, answer) in answers().items():
            port = stack.enter_context(answering(answer))
            urls[name] = f"{scheme}://127.0.0.1:{port}/x"
        yield urls


@dataclass(frozen=True, slots=True)
class Usage:
    """What the process holds."""

    threads: int
    descriptors: int
    rss_mb: float

    @classmethod
    def now(cls) -> "Usage":
        """At this moment."""
        process = psutil.Process()
        return cls(process.num_threads(), process.num_fds(), process.memory_info().rss / 1_000_000)


def try_again_and_again(urls: list[str], attempts: int) -> dict[str, object]:
    """Try each camera so often after a warm-up; what that took."""
    share_heaps()  # as a station does: else each thread may keep one of its own, half empty
    gc.set_threshold(3_000)  # a station collects more often: nothing large may wait for it
    tried: Counter[str] = Counter()
    at_once = Timing(wall_s=time.time, backoff=Backoff(first_s=0, cap_s=0))
    cameras = []
    for index, url in enumerate(urls):
        network = "://" in url
        spec = CameraSpec(
            key=f"c{index}",
            name=url,
            url=url,
            username="viewer" if network else "",
            password="secret" if network else "",
            paced=False,
            open_timeout_s=20,
            read_timeout_s=20,
        )
        source = _limited(stream.SOURCE if network else file.SOURCE, tried, WARM_UP + attempts)
        cameras.append(Camera(spec, source, timing=at_once, slots_count=2))
    for camera in cameras:
        camera.start()
    _wait(lambda: len(tried) == len(urls) and min(tried.values()) >= WARM_UP)
    before = Usage.now()
    _wait(lambda: min(tried.values()) >= WARM_UP + attempts)
    after = Usage.now()
    return {
        "rss_mb": after.rss_mb - before.rss_mb,
        "threads": after.threads - before.threads,
        "descriptors": after.descriptors - before.descriptors,
        "sentences": [camera.status().sentence for camera in cameras],
    }


def _limited(source: Source, tried: Counter[str], most: int) -> Source:
    """A source that counts, and rests once it was opened so often."""

    def count(spec: CameraSpec):
        tried[spec.key] += 1
        if tried[spec.key] > most:
            threading.Event().wait()
        return source.open(spec)

    return replace(source, open=count)


def _wait(condition) -> None:
    while not condition():
        time.sleep(0.02)


if __name__ == "__main__":
    logger.remove()
    told = try_again_and_again(sys.argv[2:], int(sys.argv[1]))
    print(json.dumps(told), flush=True)  # noqa: T201 - what it is for
    os._exit(0)
