"""Programs that read a camera's stream: what comes over the line, part by part."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import httpx
import numpy as np
from numpy.typing import NDArray

HELD_BACK_S = 3.0  # a picture that is older was kept somewhere on its way; slow cores need less


@dataclass(frozen=True, slots=True)
class Part:
    """One picture of a stream.

    Attributes:
        jpeg: its bytes.
        age_s: how old it was when its last byte had come.
    """

    jpeg: bytes
    age_s: float

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 BGR."""
        return cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR)


def parts_of(chunks: Iterable[bytes], boundary: bytes = b"--picture\r\n") -> Iterator[Part]:
    """The pictures of a multipart body, each as soon as it is whole, by its own length."""
    buffer = b""
    for chunk in chunks:
        buffer += chunk
        while (part := _first(buffer, boundary)) is not None:
            head, jpeg, buffer = part
            fields = dict(line.split(b": ") for line in head.split(b"\r\n"))
            assert fields[b"Content-Type"] == b"image/jpeg"
            yield Part(jpeg, time.time() - float(fields[b"X-Timestamp"]))


def _first(buffer: bytes, boundary: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Head, picture and what follows it, where a whole part is there."""
    head, found, rest = buffer.partition(b"\r\n\r\n")
    if not found:
        return None
    assert head.startswith(boundary)
    head = head.removeprefix(boundary)
    (length,) = [line for line in head.split(b"\r\n") if line.startswith(b"Content-Length")]
    size = int(length.partition(b": ")[2])
    if len(rest) < size + len(b"\r\n"):
        return None
    assert rest[size : size + 2] == b"\r\n"
    return head, rest[:size], rest[size + 2 :]


def read_parts(client: httpx.Client, url: str, count: int) -> list[Part]:
    """The first pictures of a stream; then the connection is closed."""
    with client.stream("GET", url) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=picture"
        return [part for part, _ in zip(parts_of(answer.iter_raw()), range(count), strict=False)]
