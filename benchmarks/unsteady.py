"""A network camera that goes away again and again."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
from typing_extensions import override

from benchmarks.inputs import Inputs
from benchmarks.steady import clip_frames

THERE_S, AWAY_S = 20.0, 8.0
FPS = 10


class _Camera(ThreadingHTTPServer):
    """Serves motion JPEG while it is there; in between it cuts and refuses connections."""

    daemon_threads = True

    def __init__(self, pictures: list[bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Stream)
        self.pictures = pictures
        self.connections = 0
        self._begin_s = time.monotonic()

    def is_there(self) -> bool:
        """Whether it may be reached now."""
        return (time.monotonic() - self._begin_s) % (THERE_S + AWAY_S) < THERE_S


class _Stream(BaseHTTPRequestHandler):
    server: _Camera

    def do_GET(self) -> None:
        """One endless stream, until the camera goes away."""
        if not self.server.is_there():
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        self.server.connections += 1
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
        self.end_headers()
        turn = 0
        try:
            while self.server.is_there():
                jpeg = self.server.pictures[turn % len(self.server.pictures)]
                head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}"
                self.wfile.write(head.encode() + b"\r\n\r\n" + jpeg + b"\r\n")
                turn += 1
                time.sleep(1 / FPS)
        except ConnectionError:
            self.close_connection = True  # the station has hung up

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: its coming and going is the plan."""


@contextmanager
def unsteady_camera(inputs: Inputs) -> Iterator[_Camera]:
    """A camera at `http://127.0.0.1:<server_port>/`, until the block ends."""
    frames = clip_frames(inputs.clip)
    pictures = [cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames]
    with _Camera(pictures) as camera:
        thread = threading.Thread(target=camera.serve_forever, daemon=True)
        thread.start()
        yield camera
        camera.shutdown()
        thread.join()
