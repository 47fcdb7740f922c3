"""Pictures for the gate: now and then, as many as asked for, whole, and never in the loop's way."""

import cv2
import numpy as np
import pytest
from loguru import logger

from appliance.pipeline.collector import PERIOD_S, Collector
from tests.support.fakes import Clock, counted_lease, result_of, wait_until


class Bench:
    """A collector for two models and three cameras, on a clock of the test's."""

    def __init__(self, folder, wanted):
        self.folders = {
            "parts": folder / "parts" / "verify",
            "people": folder / "people" / "verify",
        }
        self.enough, self.held, self.clock = [], [], Clock()
        models = {"door": "people", "yard": "people", "belt": "parts"}
        self.collector = Collector(
            self.folders, models, wanted=wanted, on_enough=self.enough.append, clock_ns=self.clock
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

    def make(wanted):
        made.append(Bench(tmp_path, wanted))
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
    assert "not kept" in lines[0]
    (tmp_path / "parts").unlink()
    one.offer()
    wait_until(lambda: one.enough == ["parts"])
    logger.remove(sink)


def test_none_are_wanted_none_are_kept(bench):
    """Nothing is written unless the setting says so."""
    one = bench(0)
    one.offer()
    assert not one.folders["parts"].exists()
    assert one.enough == []
