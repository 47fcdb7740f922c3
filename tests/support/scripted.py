"""A source under the test's control, for what no real camera does on command."""

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from appliance.capture.contract import UNKNOWN_TIME_S, CameraSpec, Source

Pixels = NDArray[np.uint8]


class ScriptedCapture:
    """Delivers the frames of a list, each filled with its index, at 200 frames/s.

    Attributes:
        sizes_wh: size of each frame; after the last it has ended.
        before_grab: called with the index of each frame before it is delivered.
        before_retrieve: likewise, before each decoding.
        closed: whether `close` was called.
    """

    def __init__(self, sizes_wh: list[tuple[int, int]]) -> None:
        self.sizes_wh = sizes_wh
        self.before_grab: Callable[[int], None] = lambda _index: None
        self.before_retrieve: Callable[[int], None] = lambda _index: None
        self.closed = False
        self._index = -1
        self._tick = threading.Event()

    def grab(self) -> float | None:
        """The next frame."""
        self._tick.wait(0.005)
        self.before_grab(self._index + 1)
        self._index += 1
        return UNKNOWN_TIME_S if self._index < len(self.sizes_wh) else None

    def retrieve(self, into: Pixels | None) -> Pixels:
        """A frame filled with its index."""
        self.before_retrieve(self._index)
        width, height = self.sizes_wh[self._index]
        if into is None or into.shape != (height, width, 3):
            into = np.empty((height, width, 3), np.uint8)
        into[:] = self._index % 256
        return into

    def close(self) -> None:
        """Note it."""
        self.closed = True


def scripted_source(*captures: ScriptedCapture, live: bool = True) -> Source:
    """A source that hands out these captures, one for each attempt; the last one again."""
    waiting = list(captures)

    def open_next(_spec: CameraSpec) -> ScriptedCapture:
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return Source(kind="scripted", schemes=("scripted",), live=live, open=open_next)
