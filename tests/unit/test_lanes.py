"""Cameras and models come and go while the loop runs."""

import gc
import threading
import time
import weakref
from collections import Counter
from dataclasses import replace

import pytest

from appliance.errors import EngineError
from appliance.pipeline.criteria import EVERYTHING, Criteria
from appliance.pipeline.engine_table import EngineRow, EngineTable
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.lanes import Lane, Lanes
from appliance.pipeline.loop import Loop
from appliance.pipeline.shares import Shares
from appliance.pipeline.work import Urgency
from tests.support.fakes import Clock, LevelEngine, PaintedCamera, levels_of, served, wait_until
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
    wait_until(lambda: [lane.key for lane in bench.loop._lanes._lanes] == ["gate"])
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


def test_an_engine_is_loaded_in_the_place_of_its_like_and_in_its_own(bench):
    """Whoever hands over what serves already, or was withdrawn just now, does not close it."""
    bench.add("door", "m")
    engine = LevelEngine()
    model = served("m", engine)
    bench.loop.install(model)
    bench.loop.install(model)
    bench.see("door", 1)
    with bench.loop._lock:  # both at one turn
        bench.loop._changes.extend(
            [lambda: bench.loop.engines.withdraw("m"), lambda: bench.loop.engines.install(model)]
        )
    bench.loop.wake()
    bench.see("door", 2)
    bench.see("door", 3)
    assert engine.closed == 0


def test_a_change_may_ask_for_another(bench):
    """Nothing is locked while it is made."""
    bench.install("m")
    bench.loop._change(lambda: bench.add("door", "m"))
    wait_until(lambda: bench.cameras)
    bench.see("door", 1)


@pytest.mark.parametrize("is_known", [False, True])
def test_a_frame_for_which_there_is_no_engine_is_given_back(bench, is_known):
    """As where it goes between the look at it and its turn."""
    camera = PaintedCamera()
    camera.show(1)
    lanes = Lanes([Lane("door", camera, "m")], on_result=lambda *_: None, clock_ns=lambda: 0)
    frame = lanes.next(lambda _model: True)
    row = EngineRow("m", Shares(), time.monotonic_ns) if is_known else None
    assert camera.held == 1
    bench.loop._submit(row, frame)
    assert camera.held == 0


def test_a_camera_that_is_away_keeps_no_engine_that_was_replaced(bench):
    """Its thresholds are those of classes, which two engines of one model share."""
    bench.add("door", "m")
    model = served("m", LevelEngine())
    gone = weakref.ref(model.engine)
    bench.loop.install(model)
    bench.see("door", 1)
    del model
    bench.loop.install(served("m", LevelEngine()))
    wait_until(lambda: gc.collect() >= 0 and gone() is None, 5)


def test_a_model_with_other_classes_is_judged_by_them():
    """Thresholds are made anew where the classes or the card are others."""
    lane, model = Lane("door", PaintedCamera(), "m", Criteria(0.8)), served("m", LevelEngine())
    first = lane.thresholds(model, lane.usual)
    assert lane.thresholds(served("m", LevelEngine()), lane.usual) is first
    model.labels = ("spot", "ring")
    assert lane.thresholds(model, lane.usual) is not first


def test_a_model_is_forgotten_only_with_its_last_engine():
    """Whoever looks meanwhile finds it there, or hears that it serves no more."""
    table, ended, may_end = EngineTable(Shares(), Clock()), Counter(), threading.Event()
    engine = LevelEngine()
    engine.close = lambda: may_end.wait(10)
    model = served("m", engine)
    table.install(model)
    row = table.get("m")
    table.withdraw("m")
    row.close(model, lambda _error: None)
    row.waiting.put(TimedWork("m", Urgency.PEOPLE, 1, ended))
    table.tidy()
    assert (table.get("m"), ended) == (row, {"no engine runs m yet": 1})
    may_end.set()
    wait_until(lambda: table.tidy() or table.get("m") is None)
    with pytest.raises(EngineError, match="no engine runs m"):
        row.waiting.put(TimedWork("m", Urgency.PEOPLE, 1, ended))


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


def test_outputs_that_a_task_cannot_read_make_the_result_unknown(bench):
    """As those that are no numbers do: the model is doubted, and not its cameras."""
    bench.add("door", "m")
    engine = LevelEngine()
    model = served("m", engine)
    for slot in engine.slots:
        del slot.outputs["boxes"]
    bench.loop.install(model)
    wait_until(lambda: "m" in bench.loop.engines.serving())
    engine.wait = lambda slot, _timeout_s=None: engine._submitted.pop(slot.index, None) or True
    bench.counts("door", 128)
    assert bench.results[-1].unknown == "its outputs cannot be read (KeyError)"
    assert bench.failures == []
