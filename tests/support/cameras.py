"""Real cameras for tests, on loopback: MJPEG over HTTP, RTSP, silence, and a closed port."""

import base64
import contextlib
import os
import select
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.settings.process import capture_options

# As the appliance does before it opens anything: OpenCV reads these at its first open.
os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = capture_options()
os.environ["OPENCV_FFMPEG_IS_THREAD_SAFE"] = "1"  # else one open waits for all others
os.environ["OPENCV_LOG_LEVEL"] = "ERROR"

SYSTEM_PYTHON = "/usr/bin/python3"  # the GStreamer bindings belong to the system's Python
COUNTER_BITS = 16
BLOCK_PX = 16
PASSWORD = "p@ss#1%/ö"


def numbered_frame(number: int, size_wh: tuple[int, int] = (320, 240)) -> NDArray[np.uint8]:
    """A (H, W, 3) uint8 BGR frame that carries its number as a row of black and white blocks."""
    width, height = size_wh
    frame = np.full((height, width, 3), 96, np.uint8)
    for bit in range(COUNTER_BITS):
        value = 255 if number >> bit & 1 else 0
        frame[:BLOCK_PX, bit * BLOCK_PX : (bit + 1) * BLOCK_PX] = value
    return frame


def number_of(pixels: NDArray[np.uint8]) -> int:
    """The number that `numbered_frame` wrote into a frame, after lossy compression."""
    centers = pixels[BLOCK_PX // 2, BLOCK_PX // 2 :: BLOCK_PX][:COUNTER_BITS]
    return sum(1 << bit for bit, value in enumerate(centers.mean(axis=1)) if value > 127)


def jpeg(frame: NDArray[np.uint8]) -> bytes:
    """One frame as JPEG."""
    return cv2.imencode(".jpg", frame)[1].tobytes()


@dataclass(frozen=True, slots=True)
class MjpegStyle:
    """How the server speaks: cameras differ in both headers."""

    fps: float = 25.0
    size_wh: tuple[int, int] = (320, 240)
    part_length: bool = True
    boundary_in_header: bool = True


class MjpegServer:
    """A camera that serves numbered frames over HTTP, and can fall silent or refuse.

    Attributes:
        number: of the frame sent last.
        status: HTTP status for new requests that may come in.
        content_type: instead of the multipart type, where it is not empty.
        scheme: "Basic" or "Digest" where a password is asked for; empty lets everyone in.
        talking: cleared, the connections stay open and nothing is sent.
    """

    def __init__(self, style: MjpegStyle | None = None, *, port: int = 0) -> None:
        self.style = style or MjpegStyle()
        self.number = 0
        self.status = 200
        self.talking = threading.Event()
        self.talking.set()
        self.content_type = ""
        self.scheme = ""
        self._closing = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", port), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Where its stream is."""
        return f"http://127.0.0.1:{self.port}/stream"

    def close(self) -> None:
        """Stop, and cut every open connection."""
        self._closing.set()
        self._server.shutdown()
        for connection in list(self._sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def lets_in(self, authorization: str) -> bool:
        """Whether it is `operator` with PASSWORD (of a digest, only the scheme is checked)."""
        token = base64.b64encode(f"operator:{PASSWORD}".encode()).decode()
        expected = f"Basic {token}" if self.scheme == "Basic" else self.scheme
        return authorization.startswith(expected)

    def send_frames(self, handler: BaseHTTPRequestHandler) -> None:
        """Write frames to one client until it or the server goes."""
        self._sockets.add(handler.connection)
        try:
            while not self._closing.wait(1 / self.style.fps):
                if self.talking.is_set():
                    self.number += 1
                    handler.wfile.write(self._part())
        except OSError:
            return  # the client has gone, which is its right
        finally:
            self._sockets.discard(handler.connection)

    def _part(self) -> bytes:
        picture = jpeg(numbered_frame(self.number, self.style.size_wh))
        length = f"Content-Length: {len(picture)}\r\n" if self.style.part_length else ""
        return f"--frame\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode() + picture + b"\r\n"


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True


def _handler_of(camera: MjpegServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not camera.lets_in(self.headers.get("Authorization", "")):
                self.send_response(401)
                challenge = f'{camera.scheme} realm="camera", nonce="00ff"'
                self.send_header("WWW-Authenticate", challenge)
                self.end_headers()
                return
            self.send_response(camera.status)
            if camera.status != 200:
                self.end_headers()
                return
            boundary = "; boundary=frame" if camera.style.boundary_in_header else ""
            multipart = f"multipart/x-mixed-replace{boundary}"
            self.send_header("Content-Type", camera.content_type or multipart)
            self.end_headers()
            camera.send_frames(self)

        def log_message(self, *_: object) -> None:
            """Tests stay quiet."""

    return Handler


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """A TCP server that accepts and never says a word; yields its port."""
    closing = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.ExitStack() as held:
                while not closing.is_set():
                    if select.select([server], [], [], 0.02)[0]:
                        held.enter_context(server.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            closing.set()
            thread.join(5)


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A loopback port that refuses, kept from everyone else while the test runs."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield int(reserved.getsockname()[1])


def why_no_rtsp() -> str:
    """What is missing for a real RTSP server; empty when nothing is."""
    if shutil.which(SYSTEM_PYTHON) is None:
        return f"no {SYSTEM_PYTHON}"
    check = [SYSTEM_PYTHON, str(_RTSP_SCRIPT), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


_RTSP_SCRIPT = Path(__file__).with_name("rtsp_server.py")


class RtspServer:
    """A GStreamer RTSP server in a process of its own: H.264 at 15 frames/s."""

    def __init__(
        self,
        *,
        port: int = 0,
        password: str = "",
        form: str = "basic",
        size_wh: tuple[int, int] = (320, 240),
    ) -> None:
        size = [str(number) for number in size_wh]
        command = [SYSTEM_PYTHON, str(_RTSP_SCRIPT), str(port), password, form, *size]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    @property
    def url(self) -> str:
        """Where its stream is."""
        return f"rtsp://127.0.0.1:{self.port}/cam"

    def close(self) -> None:
        """Kill it, as a power cut would."""
        self.process.kill()
        self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
