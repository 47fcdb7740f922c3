"""Removes pictures that are too old: a few at a time, and only by a clock that can be believed."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from appliance.pipeline.clock_watch import DAY_S, ClockWatch

FIRST_S = datetime(2026, 1, 1, tzinfo=UTC).timestamp()  # no station had taken a picture before
TIDY_EVERY_S = 3600.0
SHARE = 10  # of the pictures that may go at a time: one in so many
_OWN = re.compile(r"\.?[a-z0-9_]+-[a-z0-9_]{8}\.jpg")  # as the collector names them


class Ageing:
    """Used by one thread.

    Args:
        days: after which a picture is removed; 0 keeps all.
        watch: over the wall clock, by which files are dated.
        clock_ns: monotonic.
    """

    def __init__(self, days: int, *, watch: ClockWatch, clock_ns: Callable[[], int]) -> None:
        self._days = days
        self._watch = watch
        self._clock_ns = clock_ns
        self._moved_s = 0.0
        self._tidy_ns = 0
        self._taken: list[Path] = []

    def taken(self, path: Path) -> None:
        """A picture of this run: how old it is is known whatever the wall clock says."""
        if self._days:
            self._taken.append(path)

    def forget(self, folders: Mapping[str, Path]) -> dict[str, int]:
        """Remove those that are too old, the oldest first; how many it were in which folder.

        Once an hour a tenth at the most: a clock that is wrong after all takes only so many.

        Raises:
            OSError: a folder cannot be read or changed.
        """
        if not self._days:
            return {}
        self._follow_the_clock()
        now_ns = self._clock_ns()
        if now_ns < self._tidy_ns or not self._watch.is_steady():
            return {}
        self._tidy_ns = now_ns + int(TIDY_EVERY_S * 1e9)
        now_s = self._watch.wall_s()
        return {model: self._forget_in(folder, now_s) for model, folder in folders.items()}

    def _forget_in(self, folder: Path, now_s: float) -> int:
        own = own_pictures(folder)
        self._date_impossible(own, now_s)
        old = [path for path in own if _dated_s(path) < now_s - self._days * DAY_S]
        old = sorted(old, key=_dated_s)[: max(1, len(own) // SHARE)]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def _follow_the_clock(self) -> None:
        """Where it was set, the pictures of this run are dated as it would have dated them."""
        moved_s = self._watch.moved_s()
        step_s, self._moved_s = moved_s - self._moved_s, moved_s
        if step_s:
            self._taken = [path for path in self._taken if path.exists()]
            for path in self._taken:
                _date(path, _dated_s(path) + step_s)

    def _date_impossible(self, own: Sequence[Path], now_s: float) -> None:
        """What a wrong clock has dated in a run before: its age counts from now."""
        for path in own:
            if not FIRST_S <= _dated_s(path) <= now_s:
                _date(path, now_s)


def own_pictures(folder: Path) -> list[Path]:
    """The station's own, those half done included; what others put there is theirs."""
    return [path for path in folder.glob("*") if _OWN.fullmatch(path.name) and path.is_file()]


def _dated_s(path: Path) -> float:
    return path.stat().st_mtime


def _date(path: Path, wall_s: float) -> None:
    os.utime(path, (wall_s, wall_s))
