"""A camera's next picture, for a person who asks for it.

Taken from what was inferred, not from the camera: that would change what counts as dropped.
"""

import threading
from concurrent.futures import Future

from appliance.buffers import Lease
from appliance.predictions import Result
from appliance.values import U8


class Snapshots:
    """Copies a frame when somebody waits for one, and else does nothing.

    Args:
        cameras: keys that may be asked for.

    Attributes:
        name: as a sink.
        frames_held: none; what is wanted is copied at once.
    """

    name = "snapshots"
    frames_held = 0

    def __init__(self, cameras: frozenset[str]) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Future[U8]]] = {camera: [] for camera in cameras}

    def ask(self, camera: str) -> Future[U8] | None:
        """The next picture of `camera` to come, (H, W, 3) uint8 BGR; None: no such camera.

        Whoever waits no longer cancels it.
        """
        with self._lock:
            waiting = self._waiting.get(camera)
            if waiting is None:
                return None
            waiting[:] = [each for each in waiting if not each.cancelled()]
            waiting.append(Future())
            return waiting[-1]

    def offer(self, result: Result, lease: Lease) -> None:
        """A frame that was inferred; all who wait for its camera share one copy."""
        with self._lock:
            waiting, self._waiting[result.camera] = self._waiting[result.camera], []
        wanted = [each for each in waiting if each.set_running_or_notify_cancel()]
        if wanted:
            picture = lease.pixels.copy()
            for each in wanted:
                each.set_result(picture)
