"""Watches over the station once a second, and alone feeds the service manager's watchdog.

The watchdog is fed while the vital loop ticks, idle turns included. A dead camera is a degraded
station, not a hang: restarting the process would not bring it back.
"""

from collections.abc import Callable

from loguru import logger
from typing_extensions import override

from appliance.pipeline.station import STUCK_S, Station
from appliance.readings import StationReading
from appliance.redaction import one_line
from appliance.threads import Worker
from appliance.values import Health

PERIOD_S = 1.0


class Supervisor(Worker):
    """One thread.

    Args:
        station: what is watched.
        notify: tells the service manager, in sd_notify's words; does nothing without one.
        period_s: between two looks; at most half the watchdog's time.
    """

    def __init__(
        self, station: Station, notify: Callable[[str], None], *, period_s: float = PERIOD_S
    ) -> None:
        super().__init__("supervisor")
        self._station = station
        self._notify = notify
        self._period_s = period_s
        self._health: Health | None = None
        self._told = ""
        self._failed = ""
        self._failures = 0

    @override
    def _run(self) -> None:
        looks_per_sample = max(1, round(PERIOD_S / self._period_s))
        look = 0
        while not self._stop.wait(self._period_s):
            look += 1
            is_sample = look % looks_per_sample == 0
            try:
                if is_sample:
                    self._station.sample()
                self._look(self._station.reading())
            except Exception as error:  # noqa: BLE001 - top of the thread: told, not swallowed
                self._tell_failure(error)
            else:
                if is_sample and self._failures:
                    self._tell_end_of_failures()

    def _tell_failure(self, error: Exception) -> None:
        """Once for each kind; a machine without a free descriptor fails every second the same."""
        self._failures += 1
        if (told := f"{type(error).__name__}: {error}") != self._failed:
            self._failed = told
            logger.exception("supervisor: unexpected error")

    def _tell_end_of_failures(self) -> None:
        logger.info("supervisor: it looks again, after {} failures", self._failures)
        self._failed, self._failures = "", 0

    def _look(self, reading: StationReading) -> None:
        line = _line(reading)
        if reading.health is not self._health:
            self._health = reading.health
            logger.info("station: {}", line)
        if line != self._told:  # as with each percent of a build
            self._told = line
            self._notify(f"STATUS={one_line(line)}")
        if reading.loop_age_s <= STUCK_S:
            self._notify("WATCHDOG=1")


def _line(reading: StationReading) -> str:
    return ". ".join([reading.health.capitalize(), *reading.reasons])
