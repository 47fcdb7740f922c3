"""Single pictures in the loop: behind the cameras, but never starved; and rules that change."""

import threading
import time
from concurrent.futures import CancelledError
from itertools import pairwise

import numpy as np
import pytest

from appliance.errors import DeviceLostError, EngineError, NoNumbersError
from appliance.pipeline import engine_table
from appliance.pipeline.criteria import EVERYTHING, Criteria
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.lanes import Lane
from appliance.pipeline.loop import Loop
from appliance.pipeline.waiting import WAITING_LIMIT
from appliance.pipeline.work import Urgency
from tests.support.fakes import Clock, LevelEngine, PaintedCamera, levels_of, served, wait_until

PATIENCE_S = 10


def own(model):
    return EVERYTHING.thresholds(model)


def gray(level, size_wh=(640, 480)):
    return np.full((size_wh[1], size_wh[0], 3), level, np.uint8)


class Bench:
    def __init__(self, engine, cameras, clock=time.monotonic_ns):
        self.results, self.failures = [], []
        self.loop = Loop(
            [Lane(name, camera, "m") for name, camera in cameras.items()],
            on_result=lambda result, _: self.results.append(result),
            on_failure=lambda _, error: self.failures.append(str(error)),
            heartbeat=Heartbeat(clock),
            clock_ns=clock,
        )
        self.model = served("m", engine)
        self.model.labels = ("thing",)
        self.loop.install(self.model)
        for camera in cameras.values():
            camera.on_publish = self.loop.wake

    def ask(self, level, **options):
        return self.loop.inspect("m", gray(level, **options), own)

    def start(self):
        self.loop.start()
        wait_until(self.loop.labels)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.setattr(engine_table, "FAILURE_PAUSE_S", 0.01)
    made = []

    def make(engine=None, clock=time.monotonic_ns, **cameras):
        made.append(Bench(engine or LevelEngine(), cameras, clock))
        return made[-1]

    yield make
    for each in made:
        each.loop.stop()
        assert each.loop.join(PATIENCE_S)


def level_of(inspected):
    return round(float(inspected.prediction.scores[0]) * 255)


@pytest.mark.parametrize("size_wh", [(640, 480), (32, 32), (7, 900), (3000, 2)])
def test_an_idle_loop_looks_at_once(bench, size_wh):
    """Boxes come back in the picture's pixels, whatever its size."""
    one = bench()
    one.start()
    found = one.ask(90, size_wh=size_wh).result(PATIENCE_S)
    width, height = size_wh
    assert level_of(found) == 90
    np.testing.assert_allclose(
        found.prediction.boxes_xyxy_px[0], [width / 4, height / 4, width * 0.75, height * 0.75]
    )
    assert (found.labels, found.input_wh) == (("thing",), (32, 32))
    assert found.waited_ms >= 0
    assert found.inference_ms >= 0
    assert one.results == []


def test_pictures_of_any_size_leave_nothing_behind(bench):
    """A hundred sizes do not become a hundred remembered fits."""
    one = bench()
    one.start()
    for width in range(50, 150):
        one.ask(1, size_wh=(width, 20)).result(PATIENCE_S)
    assert len(one.model.letterbox._fits) <= 1


def test_a_picture_leaves_the_padding_of_cameras_whole(bench):
    """A camera's next frame is padded anew where the picture lay in the slot."""
    camera, engine = PaintedCamera(), LevelEngine(slots=1)
    one = bench(engine, door=camera)
    one.start()
    camera.show(5)
    wait_until(lambda: len(one.results) == 1)
    one.ask(200).result(PATIENCE_S)
    camera.show(6)
    wait_until(lambda: len(one.results) == 2)
    assert levels_of(one.results) == [("door", 5), ("door", 6)]


@pytest.mark.parametrize("slots", [1, 2])
def test_cameras_go_first_and_nobody_starves(bench, slots):
    """While frames keep coming, pictures get a fifth of the time, and always come."""
    cameras = {name: PaintedCamera() for name in ("a", "b")}
    engine, clock = LevelEngine(slots=slots), Clock()
    engine.in_wait = lambda: clock.advance(0.01)
    submitted, answers = [], []
    one = bench(engine, clock=clock, **cameras)
    submit = engine.submit

    def noted(slot):
        submitted.append(int(slot.frames[0, 0, 0, 0]))
        for camera in cameras.values():
            camera.show(50)
        if len(submitted) == 10:
            answers.extend(one.ask(level) for level in (200, 201, 202))
        submit(slot)

    engine.submit = noted
    for camera in cameras.values():
        camera.show(50)
    one.start()
    wait_until(lambda: len(answers) == 3)
    assert [level_of(each.result(PATIENCE_S)) for each in answers] == [200, 201, 202]
    turns = [submitted.index(level) for level in (200, 201, 202)]
    assert turns[0] == 10
    assert all(4 <= later - earlier - 1 <= 5 for earlier, later in pairwise(turns))


def test_a_failing_picture_ends_alone(bench):
    """The cameras' frames go on, and the engine is not blamed."""
    camera, engine = PaintedCamera(), LevelEngine()
    one = bench(engine, door=camera)
    one.start()
    for error in (EngineError("no"), ZeroDivisionError()):
        engine.failures = [error]
        with pytest.raises(Exception, match=r"no|ZeroDivisionError"):
            one.ask(1).result(PATIENCE_S)
    engine.in_wait = lambda: 1 / 0
    with pytest.raises(Exception, match="ZeroDivisionError"):
        one.ask(1).result(PATIENCE_S)
    engine.in_wait = lambda: None
    camera.show(7)
    wait_until(lambda: one.results)
    assert level_of(one.ask(8).result(PATIENCE_S)) == 8
    assert one.failures == []
    assert len(one.model.free) == 2
    assert camera.held == 0


def test_a_person_is_told_that_the_result_is_no_numbers(bench):
    """An empty answer would say that nothing is in the picture; the engine is not blamed."""
    engine = LevelEngine()
    engine.score = float("nan")
    one = bench(engine)
    one.start()
    with pytest.raises(NoNumbersError, match="no numbers") as caught:
        one.ask(1).result(PATIENCE_S)
    assert caught.value.hint
    assert one.failures == []


def test_a_lost_device_is_everybodys(bench):
    """Where there is no camera, somebody must still learn of it and bring another engine."""
    engine = LevelEngine()
    one = bench(engine)
    one.start()
    engine.failures = [DeviceLostError("the device is gone")]
    with pytest.raises(DeviceLostError):
        one.ask(1).result(PATIENCE_S)
    wait_until(lambda: one.failures == ["the device is gone"])


def test_who_has_gone_is_passed_over(bench):
    """A cancelled picture costs no inference, and makes room for the next one."""
    engine, gate, at_work = LevelEngine(slots=1), threading.Event(), threading.Event()

    def hold():
        at_work.set()
        assert gate.wait(PATIENCE_S)

    engine.in_wait = hold
    one = bench(engine)
    one.start()
    first = one.ask(1)
    assert at_work.wait(PATIENCE_S)
    waiting = [one.ask(level) for level in range(2, 2 + WAITING_LIMIT)]
    with pytest.raises(EngineError, match="too many pictures") as caught:
        one.ask(99)
    assert caught.value.hint
    for each in waiting:
        assert each.cancel()
    last = one.ask(100)
    gate.set()
    assert [level_of(each.result(PATIENCE_S)) for each in (first, last)] == [1, 100]
    with pytest.raises(CancelledError):
        waiting[0].result(PATIENCE_S)
    assert [word for word, _ in engine.history].count("submit") == 2


def test_who_goes_at_the_very_moment_of_their_turn_blames_nobody(bench):
    """Cancelled, and taken out for the next one, after the loop has chosen it: passed over."""
    one = bench()
    one.loop._admit()
    one.ask(1).cancel()
    chosen = one.loop.engines.get("m").waiting.take(Urgency.PEOPLE)
    last = one.ask(2)
    assert chosen.place(one.model, one.model.engine.slots[0]) is None
    one.start()
    assert level_of(last.result(PATIENCE_S)) == 2
    assert one.failures == []


def test_a_model_that_is_not_there_says_so(bench):
    """While an engine is built a person hears of it at once, and waits for nothing."""
    one = bench()
    one.start()
    with pytest.raises(EngineError, match="no engine runs other yet") as caught:
        one.loop.inspect("other", gray(1), own)
    assert caught.value.hint


def test_an_engine_that_is_replaced_does_not_keep_a_picture(bench):
    """What was fitted for the old one is not shown to the new one, which may be of another size."""
    camera, old = PaintedCamera(), LevelEngine(slots=1)
    one = bench(old, door=camera)
    old.busy = {0}
    one.start()
    camera.show(1)
    wait_until(lambda: old.history)
    answer = one.ask(2)
    one.loop.install(served("m", LevelEngine()))
    old.busy = set()
    with pytest.raises(EngineError, match="replaced"):
        answer.result(PATIENCE_S)
    wait_until(lambda: old.closed)


def test_stopping_tells_everybody_who_waits(bench):
    """Those in flight, those that wait, and those that come too late."""
    engine = LevelEngine(slots=1)
    engine.busy = {0}
    one = bench(engine)
    one.start()
    answers = [one.ask(1), one.ask(2)]
    wait_until(lambda: engine.history)
    one.loop.stop()
    assert one.loop.join(PATIENCE_S)
    for each in answers:
        with pytest.raises(EngineError, match="station ends"):
            each.result(0)
    with pytest.raises(EngineError):
        one.ask(3)
    assert engine.closed == 1


def test_thresholds_change_between_frames_and_for_every_engine_to_come(bench):
    """An override acts from the next frame on, on a model that is replaced too, and ends."""
    camera = PaintedCamera()
    one = bench(door=camera)
    one.start()

    def show(level):
        before = len(one.results)
        camera.show(level)
        wait_until(lambda: len(one.results) > before)
        return len(one.results[-1].prediction)

    assert show(100) == 1
    one.loop.judge_by(Criteria(0.5))
    assert [show(100), show(200)] == [0, 1]
    one.loop.install(served("m", LevelEngine()))
    assert [show(100), show(200)] == [0, 1]
    one.loop.judge_by(None)
    assert show(100) == 1
