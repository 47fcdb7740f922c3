"""When things happen to a camera: clocks, waiting between attempts, playing in real time."""

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

MAX_DOUBLINGS = 16


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a camera is tried again: doubling, up to a cap, spread out.

    Attributes:
        first_s: after the first failure.
        cap_s: never longer than this.
        jitter: the share of each wait that is left to chance, so that many cameras that
            were lost together do not come back in step.
        settled_s: a connection that lived this long starts the count anew.
        seldom_s: after a failure that does not pass by itself.
        chance: gives a number in 0..1.
    """

    first_s: float = 1.0
    cap_s: float = 30.0
    jitter: float = 0.3
    settled_s: float = 10.0
    seldom_s: float = 600.0
    chance: Callable[[], float] = random.random

    def delay_s(self, failures: int, *, seldom: bool = False) -> float:
        """The wait after so many failures in a row, seconds."""
        doubled_s = self.first_s * 2.0 ** min(failures - 1, MAX_DOUBLINGS)
        whole_s = self.seldom_s if seldom else min(self.cap_s, doubled_s)
        return whole_s * (1 - self.jitter * self.chance())


@dataclass(frozen=True, slots=True)
class Timing:
    """The clocks a camera lives by, and its patience.

    Attributes:
        wall_s: seconds since 1970; only ever a label.
        clock_ns: monotonic; the base of every interval.
        backoff: the waits between attempts.
        margin_s: a call that exceeds twice its timeout by this much counts as wedged.
    """

    wall_s: Callable[[], float]
    clock_ns: Callable[[], int] = time.monotonic_ns
    backoff: Backoff = field(default_factory=Backoff)
    margin_s: float = 5.0


class Pacer:
    """Shows the frames of a file as far apart as they were recorded.

    A file that starts over, a reader that falls behind and a hole in the file each move the
    start, so nothing is hurried to catch up.
    """

    LONGEST_GAP_S = 10.0
    LATEST_S = 1.0

    def __init__(self) -> None:
        self._media_s: float | None = None
        self._due_ns = 0
        self._gap_s = 0.0

    def wait_s(self, media_s: float, now_ns: int) -> float:
        """Seconds until the frame with this media time is due; 0 for the first."""
        if self._media_s is None:
            self._media_s, self._due_ns = media_s, now_ns
            return 0.0
        gap_s = media_s - self._media_s
        if gap_s >= 0:
            self._gap_s = min(gap_s, self.LONGEST_GAP_S)
        self._media_s = media_s  # behind the one before: the file starts over, one gap later
        self._due_ns += round(self._gap_s * 1e9)
        wait_s = (self._due_ns - now_ns) / 1e9
        if wait_s < -self.LATEST_S:
            self._due_ns = now_ns
        return max(0.0, wait_s)


class FrameMeter:
    """Counts the frames of one camera and measures their rate. Thread-safe."""

    WINDOW_NS = 4_000_000_000

    def __init__(self) -> None:
        self._lock = Lock()
        self._recent_ns: deque[int] = deque(maxlen=240)
        self._frames = 0

    @property
    def frames(self) -> int:
        """Frames grabbed since the process started."""
        return self._frames

    def count(self, grabbed_ns: int) -> int:
        """Count one frame; returns its number, from 1."""
        with self._lock:
            self._frames += 1
            self._recent_ns.append(grabbed_ns)
            return self._frames

    def fps(self, now_ns: int) -> float | None:
        """Frames per second over the last four seconds; None while there are too few."""
        with self._lock:
            recent_ns = [at for at in self._recent_ns if now_ns - at <= self.WINDOW_NS]
        if len(recent_ns) < 2 or recent_ns[-1] == recent_ns[0]:
            return None
        return (len(recent_ns) - 1) * 1e9 / (recent_ns[-1] - recent_ns[0])
