"""Cameras and models come and go while the loop runs."""

import time
from collections import Counter
from dataclasses import replace

import pytest

from appliance.errors import EngineError
from appliance.pipeline.criteria import EVERYTHING, Criteria
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.lanes import Lane
from appliance.pipeline.loop import Loop
from appliance.pipeline.work import Urgency
from tests.support.fakes import LevelEngine, PaintedCamera, levels_of, served, wait_until
from tests.support.timed import TimedWork


class Bench:
    def __init__(self):
        self.results, self.failures, self.cameras = [], [], {}
        self.loop = Loop(
            [],
            on_result=lambda result, _: self.results.append(result),
            on_failure=lambda _, error: self.failures.append(str(error)),
            heartbeat=Heartbeat(time.monotonic_ns),
            clock_ns=time.monotonic_ns,
        )
        self.loop.start()

    def add(self, key, model, usual=EVERYTHING):
        self.cameras[key] = PaintedCamera()
        self.cameras[key].on_publish = self.loop.wake
        self.loop.add(Lane(key, self.cameras[key], model, usual))

    def install(self, name, **options):
        engine = LevelEngine(**options)
        self.loop.install(served(name, engine))
        wait_until(lambda: name in self.loop.engines.serving())
        return engine

    def see(self, key, level):
        before = len(self.results)
        self.cameras[key].show(level)
        wait_until(lambda: len(self.results) > before)
        assert levels_of(self.results)[-1] == (key, level)

    def counts(self, key, level):
        """How much of a frame counts, of which the one model says one thing."""
        before = len(self.results)
        self.cameras[key].show(level)
        wait_until(lambda: len(self.results) > before)
        return len(self.results[-1].prediction)


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.loop.stop()
    assert made.loop.join(10)
    assert all(camera.held == 0 for camera in made.cameras.values())


def test_a_camera_and_its_model_come_while_the_loop_runs(bench):
    """In whatever order; nobody else notices."""
    bench.add("door", "m")
    bench.install("m")
    bench.see("door", 1)
    bench.install("other")
    bench.add("gate", "other")
    bench.see("gate", 2)
    bench.see("door", 3)


def test_cameras_of_one_model_have_thresholds_of_their_own(bench):
    """What counts at one need not count at the other; an override is of both, until it ends."""
    bench.install("m")
    bench.add("door", "m", Criteria(0.8))
    bench.add("gate", "m", Criteria(0.2))
    assert [bench.counts(key, 128) for key in ("door", "gate", "door")] == [0, 1, 0]
    bench.loop.judge_by(Criteria(0.4))
    assert [bench.counts(key, 128) for key in ("door", "gate")] == [1, 1]
    bench.loop.judge_by(None)
    assert [bench.counts(key, 128) for key in ("door", "gate")] == [0, 1]


def test_a_camera_without_a_threshold_has_that_of_the_model_that_serves_it_now(bench):
    """Of another card it is another one, from the first frame on."""
    camera = bench.cameras["door"] = PaintedCamera()
    camera.on_publish = bench.loop.wake
    bench.loop.add(Lane("door", camera, "m", Criteria(0.9), is_by_card=True))
    for confidence, counts in ((0.2, 1), (0.8, 0)):
        model = served("m", LevelEngine())
        model.table = replace(model.table, confidence=confidence)
        bench.loop.install(model)
        wait_until(lambda made=model: bench.loop.engines.serving().get("m") is made)
        assert bench.counts("door", 128) == counts
    bench.loop.judge_by(Criteria(0.4))
    assert bench.counts("door", 128) == 1


def test_a_camera_that_leaves_is_seen_no_more_and_a_frame_in_flight_is_given_back(bench):
    """Whoever gets results never hears of a camera that has left."""
    engine = bench.install("m")
    for key in ("door", "gate"):
        bench.add(key, "m")
    engine.busy = {0, 1}
    bench.cameras["door"].show(1)
    wait_until(lambda: engine.history == [("submit", 0)])
    bench.loop.remove("door")
    engine.busy = set()
    wait_until(lambda: bench.cameras["door"].held == 0)
    bench.cameras["door"].show(2)
    bench.see("gate", 3)
    assert levels_of(bench.results) == [("gate", 3)]


def test_a_model_that_is_unloaded_is_closed_and_forgotten_and_may_come_again(bench):
    """Its frames in flight are finished; whoever waits for it is told; the other model goes on."""
    bench.add("door", "m")
    bench.add("gate", "other")
    engine = bench.install("m", slots=1)
    bench.install("other")
    engine.busy = {0}
    bench.cameras["door"].show(1)
    wait_until(lambda: engine.history)
    ended = Counter()
    for urgency in (Urgency.PEOPLE, Urgency.BACKGROUND):
        bench.loop.put(TimedWork("m", urgency, 1, ended))
    bench.loop.withdraw("m")
    wait_until(lambda: ended == {"no engine runs m yet": 2})
    bench.see("gate", 2)
    assert engine.closed == 0
    engine.busy = set()
    wait_until(lambda: bench.loop.engines.get("m") is None)
    assert (engine.closed, levels_of(bench.results)) == (1, [("gate", 2), ("door", 1)])
    with pytest.raises(EngineError, match="no engine runs m"):
        bench.loop.put(TimedWork("m", Urgency.PEOPLE, 1, ended))
    bench.install("m")
    bench.see("door", 3)
    assert bench.failures == []


def test_a_camera_whose_engine_is_at_work_keeps_its_turn(bench):
    """Two cameras of a slow model both get on, whatever the camera of a fast one does between."""
    slow = bench.install("slow", slots=1)
    bench.install("fast")
    for key, model in {"a": "slow", "b": "slow", "c": "fast"}.items():
        bench.add(key, model)
    for turn in range(1, 7):
        slow.busy = {0}
        for camera in bench.cameras.values():
            camera.show(turn)
        wait_until(lambda turn=turn: [r.camera for r in bench.results].count("c") == turn)
        slow.busy = set()
        wait_until(lambda turn=turn: len(bench.results) >= 2 * turn)
    wait_until(lambda: {result.camera for result in bench.results} == {"a", "b", "c"})


def test_work_of_the_background_is_done_by_the_engine_that_serves_then(bench):
    """It is bound to a model, not to an engine, unlike a picture that was fitted for one."""
    bench.add("door", "m")
    old, ended = bench.install("m", slots=1), Counter()
    old.busy = {0}
    bench.cameras["door"].show(1)
    wait_until(lambda: old.history)
    bench.loop.put(TimedWork("m", Urgency.BACKGROUND, 7, ended))
    new = bench.install("m", slots=1)
    wait_until(lambda: ended == {"finished": 1})
    assert new.history
    old.busy = set()
    wait_until(lambda: old.closed)
