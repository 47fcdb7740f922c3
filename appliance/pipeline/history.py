"""The last hour of each camera, in steps of ten seconds, for the plots.

Everything is allocated at the start. Places in the rings follow the monotonic clock, so a wall
clock that is set moves nothing; and a step that nobody wrote in stays unknown, so a camera that
was away, or a machine that slept, shows as a gap.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from appliance.values import F32

STEP_S = 10
STEPS = 360
SPAN_S = STEP_S * STEPS
_FPS, _AGE, _INFERENCE = range(3)


@dataclass(frozen=True, slots=True)
class Series:
    """One camera's last hour; (STEPS,) float32 each, oldest first, NaN where unknown.

    Attributes:
        fps: inferred pictures per second, the mean of each step.
        age_ms: from grab to result, the highest of each step's medians: a bad moment stays seen.
        inference_ms: of the model alone, the highest of each step's medians.
    """

    fps: F32
    age_ms: F32
    inference_ms: F32


@dataclass(frozen=True, slots=True)
class Hour:
    """The last hour of all cameras.

    Attributes:
        ago_s: (STEPS,) float32, seconds since each step began, the largest first.
        series: by the camera's key.
    """

    ago_s: F32
    series: Mapping[str, Series]


class History:
    """Written once a second by the supervisor, read by anyone.

    Args:
        cameras: their keys.
        clock_ns: monotonic.
    """

    def __init__(self, cameras: Sequence[str], clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._values = {key: np.full((3, STEPS), np.nan, np.float32) for key in cameras}
        self._seconds = dict.fromkeys(cameras, 0)  # that the newest step's mean is made of
        self._newest = self._now()

    def add(
        self, camera: str, fps: float | None, age_ms: float | None, inference_ms: float | None
    ) -> None:
        """Note one second of a camera; None is unknown."""
        with self._lock:
            self._advance()
            step = self._values[camera][:, self._newest % STEPS]
            if fps is not None:
                self._seconds[camera] += 1
                mean = 0.0 if self._seconds[camera] == 1 else float(step[_FPS])
                step[_FPS] = mean + (fps - mean) / self._seconds[camera]
            for row, value in ((_AGE, age_ms), (_INFERENCE, inference_ms)):
                if value is not None:
                    step[row] = np.fmax(step[row], value)

    def hour(self) -> Hour:
        """A copy of everything, up to now."""
        with self._lock:
            self._advance()
            order = np.arange(self._newest + 1, self._newest + 1 + STEPS) % STEPS
            series = {key: Series(*values[:, order]) for key, values in self._values.items()}
            into_step_s = max(0.0, self._clock_ns() / 1e9 - self._newest * STEP_S)
        ago_s = np.arange(STEPS - 1, -1, -1, dtype=np.float32) * STEP_S + np.float32(into_step_s)
        return Hour(ago_s, series)

    def _now(self) -> int:
        return self._clock_ns() // (STEP_S * 10**9)

    def _advance(self) -> None:
        """Make the steps since the last call unknown; those before the last hour are gone."""
        passed = self._now() - self._newest
        if passed <= 0:
            return
        stale = np.arange(self._newest + 1, self._newest + 1 + min(passed, STEPS)) % STEPS
        for key, values in self._values.items():
            values[:, stale] = np.nan
            self._seconds[key] = 0
        self._newest += passed
