"""How the start went: when the station first did what people wait for."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from loguru import logger

from appliance.values import Stage

_SENTENCES = {Stage.FIRST_RESULT: "first result", Stage.PAGE: "page: ready"}
_START_TIME = 19  # of the fields after the command's name, in ticks since the machine booted


def process_age_s() -> float:
    """Seconds since this process started, by the clock that nobody sets (Linux, 10 ms)."""
    fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
    ticks = int(fields.rpartition(")")[2].split()[_START_TIME])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def stopwatch() -> Callable[[], float]:
    """Seconds from now on, for a station that begins where its process has done something else."""
    begin_s = time.monotonic()
    return lambda: time.monotonic() - begin_s


class StartUp:
    """Notes when each stage was reached first, and says so once in the log.

    Args:
        age_s: seconds since the station's start, which is the process's unless it did more.
    """

    def __init__(self, age_s: Callable[[], float] = process_age_s) -> None:
        self._age_s = age_s
        self._reached_s: dict[Stage, float] = {}

    @property
    def reached_s(self) -> Mapping[Stage, float]:
        """Seconds from the start to each stage that was reached."""
        return dict(self._reached_s)

    def reached(self, stage: Stage) -> None:
        """From one thread for each stage; only the first time counts."""
        if stage not in self._reached_s:
            self._reached_s[stage] = self._age_s()
            logger.info("{} after {:.1f} s", _SENTENCES[stage], self._reached_s[stage])
