"""Pictures for the gate: now and then, as many as asked for, whole, and never in the loop's way."""

import errno
import os
import time

import cv2
import numpy as np
import pytest
from loguru import logger

from appliance.app.clock import RELEASED_S
from appliance.errors import StoreError
from appliance.pipeline import collector as collector_module
from appliance.pipeline.clock_watch import DAY_S, STEADY_S, ClockWatch
from appliance.pipeline.collector import PERIOD_S, Collector, Keeping
from tests.support.fakes import Clock, counted_lease, result_of, wait_until


class Bench:
    """A collector for two models and three cameras, on clocks of the test's."""

    def __init__(self, folder, wanted, days=0):
        self.folders = {
            "parts": folder / "parts" / "verify",
            "people": folder / "people" / "verify",
        }
        self.enough, self.held, self.clock = [], [], Clock()
        models = {"door": "people", "yard": "people", "belt": "parts"}
        self.now_s = time.time()
        self.watch = ClockWatch(
            folder / "clock",
            wall_s=lambda: self.now_s,
            clock_ns=self.clock,
            right_from_s=RELEASED_S,
            on_jump=[].append,
        )
        self.collector = Collector(
            self.folders,
            models,
            Keeping(wanted, days),
            on_enough=self.enough.append,
            clock_ns=self.clock,
            watch=self.watch,
        )

    def offer(self, camera="belt", level=0, after_s=PERIOD_S):
        self.clock.advance(after_s)
        lease, held = counted_lease(np.full((24, 32, 3), level, np.uint8), sequence=level + 1)
        self.held.append(held)
        self.collector.offer(result_of(camera, lease), lease)
        lease.release()
        wait_until(lambda: not any(held() for held in self.held))

    def kept(self, model="parts"):
        return sorted(self.folders[model].glob("*.jpg"))


@pytest.fixture
def bench(tmp_path):
    """Makes running benches, and ends them."""
    made = []

    def make(wanted, days=0):
        made.append(Bench(tmp_path, wanted, days))
        made[-1].collector.start()
        return made[-1]

    yield make
    for each in made:
        each.collector.stop()
        assert each.collector.join(10)


def test_as_many_as_were_asked_for_are_kept(bench):
    """Each differs, all can be read, and that they are there is told once."""
    one = bench(3)
    for level in (10, 60, 110, 160, 210):
        one.offer(level=level)
    wait_until(lambda: one.enough)
    levels = [round(float(cv2.imread(str(path)).mean())) for path in one.kept()]
    assert sorted(levels) == [10, 60, 110]
    assert one.enough == ["parts"]
    assert {path.suffix for path in one.folders["parts"].iterdir()} == {".jpg"}


def test_pictures_lie_apart_in_time(bench):
    """Neighbors are too much alike to prove twice as much; each camera has its own beat."""
    one = bench(10)
    for _ in range(5):
        one.offer("door", after_s=PERIOD_S / 10)
    one.offer("yard", after_s=0)
    wait_until(lambda: len(one.kept("people")) == 2)
    assert {path.name.partition("-")[0] for path in one.kept("people")} == {"door", "yard"}


def test_a_restart_goes_on_where_it_was(bench):
    """What lies there counts."""
    one = bench(2)
    one.offer(level=1)
    wait_until(lambda: len(one.kept()) == 1)
    again = bench(2)
    again.offer(level=2)
    wait_until(lambda: again.enough == ["parts"])
    again.offer(level=3)
    assert len(again.kept()) == 2


def test_a_folder_that_cannot_be_written_is_said_and_tried_again(bench, tmp_path):
    """The station goes on; with room again the pictures come (disk full, wrong rights)."""
    lines = []
    sink = logger.add(lines.append, format="{message}", level="WARNING")
    one = bench(1)
    (tmp_path / "parts").write_text("in the way")
    one.offer()
    wait_until(lambda: lines)
    assert "none are kept" in lines[0]
    one.offer()
    assert one.collector.trouble().startswith("Saving of pictures to verify with is paused: ")
    assert len(lines) == 1  # said once, until it changes
    (tmp_path / "parts").unlink()
    one.offer()
    wait_until(lambda: one.enough == ["parts"])
    assert one.collector.trouble() == ""
    logger.remove(sink)


def test_the_last_of_the_disk_is_left_to_others(bench, monkeypatch):
    """Nothing is begun there, and the reason is told; with room again the pictures come."""
    asked = []

    def full(_folder, size_bytes):
        asked.append(size_bytes)
        raise StoreError("the disk is full but for 1.2 MB")

    one = bench(1)
    with monkeypatch.context() as patched:
        patched.setattr(collector_module, "ask_for_room", full)
        one.offer()
        wait_until(one.collector.trouble)
    assert one.collector.trouble().endswith("paused: the disk is full but for 1.2 MB")
    assert list(one.folders["parts"].iterdir()) == []
    one.offer()
    wait_until(lambda: one.enough == ["parts"])
    assert asked == [one.kept()[0].stat().st_size]


def test_a_picture_that_does_not_fit_leaves_nothing(bench, monkeypatch):
    """The disk fills up while it is written."""
    one = bench(1)

    def full(_self, _data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(collector_module.os, "fdopen", lambda *_: Failing(full))
        one.offer()
        wait_until(one.collector.trouble)
    assert "No space left on device" in one.collector.trouble()
    assert list(one.folders["parts"].iterdir()) == []


class Failing:
    """A file whose writing fails."""

    def __init__(self, write):
        self._write = write

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def write(self, data):
        self._write(self, data)


def test_old_pictures_give_way_to_new_ones(bench):
    """Those that the station took itself; what somebody else put there is theirs."""
    one = bench(2, days=10)
    one.offer(level=10)
    one.offer(level=60)
    wait_until(lambda: one.enough == ["parts"])
    brought = one.folders["parts"] / "From the archive.jpg"
    brought.write_bytes(b"")
    for path in (*one.kept(), brought):
        os.utime(path, (one.now_s - 11 * DAY_S,) * 2)
    again = bench(3, days=10)
    again.now_s += STEADY_S + 1
    again.clock.advance(STEADY_S + 1)
    again.watch.look()
    again.offer("yard")  # whatever comes, the collector looks for the old ones as well
    wait_until(lambda: len(again.kept()) == 2)
    again.offer(level=110)
    wait_until(lambda: again.enough == ["parts"])
    assert brought in again.kept()
    assert len(again.kept()) == 3


def test_what_a_cut_has_left_half_done_is_removed(bench):
    """A hidden file of the run before; nothing else that is hidden."""
    folder = bench(0).folders["parts"]
    folder.mkdir(parents=True)
    (folder / ".belt-abcd1234.jpg").write_bytes(b"half")
    (folder / ".nfs0001").write_bytes(b"")
    again = bench(0)
    wait_until(lambda: [path.name for path in again.folders["parts"].iterdir()] == [".nfs0001"])


def test_a_folder_by_the_name_of_a_picture_of_ours_is_left_alone(bench):
    """It is nothing that the station has made, and no reason to end."""
    folder = bench(0).folders["parts"]
    for name in (".belt-abcd1234.jpg", "belt-abcd1234.jpg", os.fsdecode(b"\xdcber.jpg")):
        (folder / name).mkdir(parents=True)
        os.utime(folder / name, (0, 0))
    one = bench(4, days=10)
    one.offer(level=10)
    wait_until(lambda: len([path for path in one.kept() if path.is_file()]) == 1)
    assert len([path for path in folder.iterdir() if path.is_dir()]) == 3


def test_none_are_wanted_none_are_kept(bench):
    """Nothing is written unless the setting says so."""
    one = bench(0)
    one.offer()
    assert not one.folders["parts"].exists()
    assert one.enough == []
