"""Watches the wall clock: what is as old as it says is judged only by one that moved steadily.

A host without a battery starts in the past, and a wrong word from the network, or a person, can put
its clock years ahead. By such a clock all that is kept would be too old at once.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from loguru import logger

JUMP_S = 60.0  # between two looks; what a time server corrects little by little is far less
STEADY_S = 86400.0  # of moving steadily, until the clock is believed
KEEP_EVERY_S = 3600.0
DAY_S = 86400.0


class ClockWatch:
    """Compares the wall clock with one that nobody sets; across restarts by a file.

    Looked at once a second by one thread, asked by any.

    Args:
        file: where it is kept since when the clock moves steadily, and when it was last seen.
        wall_s: the wall clock.
        clock_ns: monotonic.
        right_from_s: the wall clock cannot show less and be right.
        on_jump: gets each jump in words.

    Attributes:
        wall_s: the wall clock.
    """

    def __init__(
        self,
        file: Path,
        *,
        wall_s: Callable[[], float],
        clock_ns: Callable[[], int],
        right_from_s: float,
        on_jump: Callable[[str], None],
    ) -> None:
        self.wall_s = wall_s
        self._right_from_s = right_from_s
        self._file = file
        self._clock_ns = clock_ns
        self._on_jump = on_jump
        self._lock = threading.Lock()
        self._seen_s, self._seen_ns = wall_s(), clock_ns()
        self._moved_s = 0.0
        self._steady_from_s = self._carried_over()
        self._kept_ns = self._seen_ns

    def look(self) -> None:
        """Find out whether the clock was set since the last look."""
        with self._lock:
            now_s, now_ns = self.wall_s(), self._clock_ns()
            step_s = now_s - self._seen_s - (now_ns - self._seen_ns) / 1e9
            before_s, self._seen_s, self._seen_ns = self._seen_s, now_s, now_ns
            has_jumped = abs(step_s) > JUMP_S
            if has_jumped:
                self._moved_s += step_s
                self._steady_from_s = now_s
            if has_jumped or now_ns - self._kept_ns >= KEEP_EVERY_S * 1e9:
                self._keep()
        if has_jumped:
            self._tell(before_s, now_s)

    def moved_s(self) -> float:
        """By how much the clock was set in this run, all jumps together, in seconds."""
        with self._lock:
            return self._moved_s

    def is_steady(self) -> bool:
        """Whether ages may be judged by the clock."""
        with self._lock:
            long_enough = self._seen_s - self._steady_from_s >= STEADY_S
            return long_enough and self._seen_s >= self._right_from_s

    def _carried_over(self) -> float:
        """Since when the clock moves steadily: from the run before, where it ended not long ago."""
        try:
            steady_from_s, seen_s = map(float, self._file.read_text(encoding="ascii").split())
        except (OSError, ValueError):  # the first run, or a file that is of no use
            return self._seen_s
        gap_s = self._seen_s - seen_s
        if -JUMP_S <= gap_s <= STEADY_S:
            return steady_from_s
        logger.warning("clock: it showed {} when this station last looked", _shown(seen_s))
        return self._seen_s

    def _keep(self) -> None:
        self._kept_ns = self._seen_ns
        try:
            self._file.write_text(f"{self._steady_from_s} {self._seen_s}\n", encoding="ascii")
        except OSError as error:  # then the next run waits a day before it judges
            logger.warning("clock: {}: cannot be written ({})", self._file, error.strerror)

    def _tell(self, before_s: float, now_s: float) -> None:
        direction = "ahead" if now_s > before_s else "back"
        days = abs(now_s - before_s) / DAY_S
        told = f"{direction} by {days:.1f} days, from {_shown(before_s)} to {_shown(now_s)}"
        logger.warning("clock: it jumped {}; nothing is judged by its age for a day", told)
        self._on_jump(told)


def _shown(wall_s: float) -> str:
    return f"{datetime.fromtimestamp(wall_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
