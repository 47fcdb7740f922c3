"""Clocks that jump, and pictures that are as old as a clock says they are."""

import os
import time

import pytest
from loguru import logger

from appliance.app.clock import RELEASED_S
from appliance.pipeline.ageing import Ageing
from appliance.pipeline.clock_watch import DAY_S, KEEP_EVERY_S, STEADY_S, ClockWatch
from tests.support.fakes import Clock

HOUR_S = 3600.0
YEARS_S = 9 * 365 * DAY_S


class Host:
    """A station's folder with pictures that go after ten days, under a clock of the test's."""

    def __init__(self, folder, now_s=None):
        self.folder, self.clock, self.jumps = folder, Clock(), []
        self.now_s = time.time() if now_s is None else now_s
        self.begin()

    def begin(self):
        """A new run."""
        self.watch = ClockWatch(
            self.folder / "clock",
            wall_s=lambda: self.now_s,
            clock_ns=self.clock,
            right_from_s=RELEASED_S,
            on_jump=self.jumps.append,
        )
        self.ageing = Ageing(10, watch=self.watch, clock_ns=self.clock)

    def take(self, count=1, age_days=0.0):
        for index in range(count):
            path = self.folder / f"gate-{time.monotonic_ns() % 10**8:08}.jpg"
            while path.exists():
                path = path.with_name(f"gate-{int(path.stem[-8:]) + 1:08}.jpg")
            path.write_bytes(b"")
            at_s = self.now_s - age_days * DAY_S + index / 1000
            os.utime(path, (at_s, at_s))
            if not age_days:
                self.ageing.taken(path)

    def wait(self, seconds, *, look_every_s=HOUR_S):
        """Time passes; the watch and the ageing look now and then, as in the station."""
        while seconds > 0:
            step_s = min(seconds, look_every_s)
            seconds -= step_s
            self.clock.advance(step_s)
            self.now_s += step_s
            self.watch.look()
            self.ageing.forget({"parts": self.folder})

    def set_clock(self, by_s):
        self.now_s += by_s
        self.watch.look()
        self.ageing.forget({"parts": self.folder})

    def left(self):
        return len(list(self.folder.glob("*.jpg")))


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


@pytest.fixture
def lines():
    """What is logged."""
    found = []
    sink = logger.add(found.append, format="{level} {message}")
    yield found
    logger.remove(sink)


def test_a_tenth_an_hour_goes_by_age_and_the_oldest_first(host):
    """Whatever the clock says, not all is gone in a hurry."""
    host.wait(STEADY_S - HOUR_S + 60)
    host.take(60, age_days=11)
    host.take(40, age_days=1)
    counts = []
    for _ in range(4):
        host.wait(HOUR_S, look_every_s=60)
        counts.append(host.left())
    assert counts == [90, 81, 73, 66]
    host.wait(3 * DAY_S)
    assert host.left() == 40


def test_a_clock_that_jumps_years_ahead_and_back_takes_no_picture(host, lines):
    """All of them seem too old at once, and those that are taken meanwhile seem to come."""
    host.wait(2 * DAY_S)
    host.take(50, age_days=1)
    host.take(10)
    host.set_clock(YEARS_S)
    host.wait(0.9 * DAY_S)
    host.take(10)
    host.set_clock(-YEARS_S)
    host.wait(2 * DAY_S)
    assert host.left() == 70
    ahead, back = host.jumps
    assert ahead.startswith("ahead by 3285.0 days, from ")
    assert back.startswith("back by 3285.0 days, from ")
    told = [line for line in lines if "clock: it jumped" in line]
    assert len(told) == 2
    assert all(line.startswith("WARNING") for line in told)


def test_pictures_that_were_dated_before_the_clock_was_right_stay_as_long_as_others(tmp_path):
    """A host without a battery begins in the past; its pictures are as old as they really are."""
    host = Host(tmp_path, now_s=0.0)
    host.take(10)
    host.wait(DAY_S)
    host.set_clock(time.time())
    host.wait(8 * DAY_S)
    assert host.left() == 10
    host.wait(2 * DAY_S)
    assert host.left() == 0


@pytest.mark.parametrize("age_days", [20_000, -400], ids=["of the past", "to come"])
def test_a_date_that_cannot_be_right_counts_from_now(host, age_days):
    """Of a run before, under a wrong clock: nobody knows better, and it goes in its turn."""
    host.take(10, age_days=age_days)
    host.wait(STEADY_S + 9 * DAY_S)
    assert host.left() == 10
    host.wait(2 * DAY_S)
    assert host.left() == 0


def test_a_clock_before_the_release_judges_nothing(tmp_path):
    """However steadily it moves."""
    host = Host(tmp_path, now_s=RELEASED_S - 400 * DAY_S)
    host.take(10, age_days=300)
    host.wait(5 * DAY_S)
    assert host.left() == 10


def test_small_corrections_are_no_jump(host):
    """As a time server makes them, all day long."""
    for _ in range(100):
        host.set_clock(1.0)
        host.wait(60, look_every_s=60)
    assert host.jumps == []


def test_a_station_that_restarts_every_night_judges_as_well(host):
    """The clock was steady in the run before, and little time has passed since."""
    host.take(10, age_days=30)
    for _ in range(2):
        host.wait(0.7 * DAY_S)
        host.begin()
    assert host.left() < 10


@pytest.mark.parametrize("gap_s", [400 * DAY_S, -2 * DAY_S], ids=["ahead", "back"])
def test_a_clock_that_changed_between_two_runs_is_watched_for_a_day(host, lines, gap_s):
    """Or the station was switched off: who knows."""
    host.wait(2 * DAY_S)
    host.take(10, age_days=9)
    host.now_s += gap_s
    host.begin()
    host.wait(0.9 * STEADY_S)
    assert host.left() == 10
    assert any("when this station last looked" in line for line in lines)


def test_a_file_of_the_watch_that_is_damaged_or_cannot_be_written_is_no_end(host, lines):
    """The clock is then watched for a day, as at the first start."""
    (host.folder / "clock").write_text("?")
    host.begin()
    assert not host.watch.is_steady()
    (host.folder / "clock").unlink()
    (host.folder / "clock").mkdir()
    host.begin()
    host.wait(KEEP_EVERY_S)
    assert any("cannot be written" in line for line in lines)
