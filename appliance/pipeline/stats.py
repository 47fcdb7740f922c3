"""Rolling figures of one camera: rates, times and ages of the last seconds."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from appliance.predictions import Result

WINDOW_S = 5.0
HISTORY_S = 120
MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Figures:
    """See `appliance.readings.CameraReading`."""

    fps: float | None
    inference_ms: float | None
    inference_p99_ms: float | None
    age_ms: float | None
    age_p99_ms: float | None
    inferred: int
    dropped_per_minute: int
    fps_history: tuple[float | None, ...]


class CameraStats:
    """Written by the loop, sampled once a second by the supervisor, read by anyone."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._recent: deque[tuple[int, float, float]] = deque()
        self._inferred = 0
        self._sampled = 0
        self._history: deque[float | None] = deque(maxlen=HISTORY_S)
        self._dropped: deque[int] = deque(maxlen=MINUTE_S + 1)

    def record(self, result: Result) -> None:
        """Count one result."""
        with self._lock:
            self._inferred += 1
            self._recent.append((result.finished_ns, result.inference_ms, result.age_ms))
            self._forget()

    def sample(self, *, dropped: int, live: bool) -> None:
        """Once a second: note the last second's rate; None while the camera is not live."""
        with self._lock:
            rate = float(self._inferred - self._sampled)
            self._sampled = self._inferred
            self._history.append(rate if live or rate else None)
            self._dropped.append(dropped)

    def figures(self) -> Figures:
        """The last seconds in figures; None where there was no result."""
        with self._lock:
            self._forget()
            recent = list(self._recent)
            inferred, history = self._inferred, tuple(self._history)
            drops = self._dropped[-1] - self._dropped[0] if self._dropped else 0
        inference = sorted(entry[1] for entry in recent)
        ages = sorted(entry[2] for entry in recent)
        return Figures(
            fps=_rate(recent),
            inference_ms=_quantile(inference, 0.5),
            inference_p99_ms=_quantile(inference, 0.99),
            age_ms=_quantile(ages, 0.5),
            age_p99_ms=_quantile(ages, 0.99),
            inferred=inferred,
            dropped_per_minute=drops,
            fps_history=history,
        )

    def _forget(self) -> None:
        oldest = self._clock_ns() - int(WINDOW_S * 1e9)
        while self._recent and self._recent[0][0] < oldest:
            self._recent.popleft()


def _rate(recent: list[tuple[int, float, float]]) -> float | None:
    """Results per second, from the first to the last of the window."""
    if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
        return None
    return (len(recent) - 1) / ((recent[-1][0] - recent[0][0]) / 1e9)


def _quantile(ordered: list[float], share: float) -> float | None:
    """Nearest rank."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
