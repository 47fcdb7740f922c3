"""A model that fails, in whatever way, takes nothing from the cameras of another one."""

import threading
import time
from collections import Counter
from itertools import count, islice

import numpy as np
import pytest

from appliance.errors import EngineError, EngineStuckError
from appliance.pipeline import engine_table
from appliance.pipeline.engine_table import FAILURE_PAUSE_S, LONGEST_PAUSE_S, EngineTable, Pause
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.lanes import Lane
from appliance.pipeline.loop import TELLING_S, Loop
from appliance.pipeline.served import ServedModel
from appliance.pipeline.shares import Shares
from appliance.pipeline.work import Urgency
from tests.support.fakes import Clock, served, wait_until
from tests.support.timed import EndlessCamera, TimedEngine, TimedWork

MEASURED_S = 1.0
TRIES = 4  # on a machine that is busy with other things, too
LEVEL = 20  # milliseconds of an inference


class Bench:
    """A loop with five cameras of a healthy model, behind one of another model, if there is one."""

    def __init__(self, other=None):
        self.seen, self.failures = Counter(), []
        self.cameras = {"other": EndlessCamera(LEVEL)} if other else {}
        self.cameras |= {f"good{number}": EndlessCamera(LEVEL) for number in range(5)}
        self.loop = Loop(
            [Lane(key, camera, key.rstrip("01234")) for key, camera in self.cameras.items()],
            on_result=lambda result, _: self.seen.update([result.camera]),
            on_failure=lambda model, error: self.failures.append((model, error)),
            heartbeat=Heartbeat(time.monotonic_ns),
            clock_ns=time.monotonic_ns,
        )
        self.models: dict[str, ServedModel] = {}
        self.install("good", TimedEngine())
        if other:
            self.install("other", other)
        self.loop.start()

    def install(self, name, engine):
        self.models[name] = served(name, engine)
        self.loop.install(self.models[name])

    def healthy(self):
        """Results of the healthy model."""
        return sum(times for camera, times in self.seen.items() if camera != "other")

    def row(self, name="other"):
        return self.loop.engines.get(name)

    def rate(self):
        """Results a second of the healthy model."""
        wait_until(lambda: self.healthy() > 2)
        before, began_s = self.healthy(), time.monotonic()
        time.sleep(MEASURED_S)
        return (self.healthy() - before) / (time.monotonic() - began_s)

    def end(self):
        self.loop.stop()
        assert self.loop.join(10)


@pytest.fixture
def bench(monkeypatch):
    """Makes benches whose engines are tried again soon, and ends them."""
    monkeypatch.setattr(engine_table, "FAILURE_PAUSE_S", 0.02)
    monkeypatch.setattr(engine_table, "LONGEST_PAUSE_S", 0.04)
    made = []

    def make(other=None):
        made.append(Bench(other))
        return made[-1]

    yield make
    for each in made:
        each.end()


def refuse():
    raise EngineError("no answer")


def in_submit():
    engine = TimedEngine()
    engine.in_submit = refuse
    return engine


def in_wait():
    engine = TimedEngine(slots=2)
    engine.in_wait = refuse
    return engine


def for_ever():
    engine = TimedEngine(slots=2)
    engine.hangs = True
    return engine


def now_and_then():
    engine, calls = TimedEngine(), count()
    engine.in_wait = lambda: refuse() if next(calls) % 3 == 2 else None
    return engine


@pytest.mark.parametrize("failing", [in_submit, in_wait, for_ever, now_and_then])
def test_a_failing_model_takes_nothing_from_the_cameras_of_another(bench, failing):
    """In whatever way it fails: the healthy rate beside it is that alone, within 5 %."""
    ratios = []
    while max(ratios, default=0) < 0.95:
        assert len(ratios) < TRIES, ratios
        alone = bench()
        expected = alone.rate()
        alone.end()
        beside = bench(failing())
        ratios.append(beside.rate() / expected)
        beside.end()
        rounds = [beside.seen[f"good{number}"] for number in range(5)]
        assert max(rounds) - min(rounds) <= 1
        assert bool(beside.failures) == (failing is not for_ever)
        assert bool(beside.seen["other"]) == (failing is now_and_then)
        assert [camera.held for camera in beside.cameras.values()] == [0] * 6


def test_a_failing_engine_is_tried_again_for_ever_and_is_well_at_the_first_success(bench):
    """Each try is one failure; then it serves as if nothing had been."""
    engine = in_submit()
    one = bench(engine)
    wait_until(lambda: len(one.failures) > 5)
    engine.in_submit = lambda: None
    wait_until(lambda: one.seen["other"] > 5)
    told = len(one.failures)
    assert {(model.name, str(error)) for model, error in one.failures} == {("other", "no answer")}
    wait_until(lambda: one.seen["other"] > 10)
    assert (len(one.failures), one.row().pause.left_s()) == (told, 0)


def test_pauses_grow_to_a_minute_and_begin_anew_after_a_success():
    """What was in flight beside a failure makes the pause no longer."""
    clock = Clock()
    pause = Pause(clock)

    def fail():
        pause.begin()
        pause.begin()
        left_s = pause.left_s()
        clock.advance(left_s)
        return round(left_s, 6)

    assert [fail() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert pause.left_s() == 0
    pause.end()
    assert fail() == FAILURE_PAUSE_S
    assert list(islice(iter(fail, None), 3000))[-1] == LONGEST_PAUSE_S


def test_a_new_engine_does_not_serve_the_pause_of_the_one_before(bench, monkeypatch):
    """It has not failed yet."""
    monkeypatch.setattr(engine_table, "FAILURE_PAUSE_S", 3600)
    monkeypatch.setattr(engine_table, "LONGEST_PAUSE_S", 3600)
    one = bench(in_submit())
    wait_until(lambda: one.failures)
    one.install("other", TimedEngine())
    wait_until(lambda: one.seen["other"])


def test_a_person_hears_at_once_that_an_engine_fails_and_the_background_waits(bench, monkeypatch):
    """While it has its pause; a success of the person's picture ends the pause for all."""
    monkeypatch.setattr(engine_table, "FAILURE_PAUSE_S", 3600)
    monkeypatch.setattr(engine_table, "LONGEST_PAUSE_S", 3600)
    engine = in_submit()
    one = bench(engine)
    wait_until(lambda: one.failures)
    person, background = Counter(), Counter()
    one.loop.put(TimedWork("other", Urgency.BACKGROUND, LEVEL, background))
    one.loop.put(TimedWork("other", Urgency.PEOPLE, LEVEL, person))
    wait_until(lambda: person == {"no answer": 1})
    assert (len(one.failures), background) == (1, {})
    engine.in_submit = lambda: None
    one.loop.put(TimedWork("other", Urgency.PEOPLE, LEVEL, person))
    wait_until(lambda: person["finished"] == 1 and background == {"finished": 1})
    wait_until(lambda: one.seen["other"])


def test_each_engine_has_a_heart_and_the_station_lives_while_one_of_them_beats(bench):
    """One hung engine of two is known by name; the loop's own heart stops with the last."""
    hung = for_ever()
    one = bench(hung)
    wait_until(lambda: hung.submitted)
    wait_until(lambda: one.loop.engines.silences_s()["other"] > 0.5)
    assert one.loop.engines.silences_s()["good"] < 0.3
    assert one.loop._heartbeat.age_s() < 0.3
    one.models["good"].engine.hangs = True
    wait_until(lambda: one.loop._heartbeat.age_s() > 0.5)
    hung.hangs = False
    wait_until(lambda: one.loop.engines.silences_s()["other"] < 0.3)
    assert one.loop._heartbeat.age_s() < 0.3


def test_an_engine_that_is_not_asked_is_well(bench):
    """Where the cameras of the other model are away, a hung engine does not stop the station."""
    one = bench(for_ever())
    for number in range(5):
        one.loop.remove(f"good{number}")
    wait_until(lambda: one.loop.engines.silences_s()["other"] > 0.6)
    assert one.loop._heartbeat.age_s() < 0.5


def test_only_an_engine_that_is_there_can_be_ready_for_work():
    """A row whose engine was withdrawn works for nobody, whatever else is well with it."""
    table = EngineTable(Shares(), Clock())
    for name in ("kept", "other"):
        table.install(served(name, TimedEngine()))
    row = table.get("kept")
    frame = TimedWork("kept", Urgency.LIVE, LEVEL, Counter())
    row.submit(frame, row.serving, is_charged=False)
    assert table.beat()
    table.withdraw("other")
    assert not table.beat()


def test_a_model_without_an_engine_does_not_keep_the_station_alive(bench):
    """Where the only engine that is there hangs, a row without one works for nobody."""
    one = bench(TimedEngine())
    wait_until(one.row)
    closing = threading.Event()
    one.models["other"].engine.close = lambda: closing.wait(30)
    one.loop.withdraw("other")
    wait_until(lambda: one.row().serving is None)
    one.models["good"].engine.hangs = True
    wait_until(lambda: one.loop._heartbeat.age_s() > 0.6, 5)
    assert one.row() is not None
    closing.set()


@pytest.mark.parametrize("step", ["place", "finish"])
def test_a_camera_whose_frames_cannot_be_used_takes_nothing_from_others_of_its_model(bench, step):
    """The engine is well: it gets no pause, and what is told is told of the camera, once."""
    one = bench()
    broken = EndlessCamera(LEVEL)
    if step == "place":
        broken._pixels = np.zeros((0, 0, 3), np.uint8)
    else:

        def receive(result, _lease):
            if result.camera == "broken":
                raise ValueError("planted")
            one.seen.update([result.camera])

        one.loop._lanes._on_result = receive
    wait_until(lambda: one.healthy() > 2)
    one.loop.add(Lane("broken", broken, "good"))
    wait_until(lambda: one.failures)
    before = one.healthy()
    wait_until(lambda: one.healthy() > before + 20)
    assert one.row("good").pause._failures == 0
    ((model, error),) = one.failures
    assert (model, str(error).startswith("broken: a frame gave no result: ")) == (None, True)
    one.end()
    assert broken.held == 0


def test_frames_that_cannot_be_used_are_told_again_after_a_minute():
    """Once for each camera and each kind, and not for each frame."""
    clock, failures = Clock(), []
    loop = Loop(
        [],
        on_result=lambda *_: None,
        on_failure=lambda model, error: failures.append((model, str(error))),
        heartbeat=Heartbeat(clock),
        clock_ns=clock,
    )
    work = TimedWork("m", Urgency.LIVE, LEVEL, Counter())
    for seconds in (0, TELLING_S - 1, 1, 1):
        clock.advance(seconds)
        for what in ("door", "gate"):
            loop._fail_alone(work, EngineError(what))
    assert failures == [(None, "door"), (None, "gate")] * 2


def test_beside_one_that_works_a_hung_engine_is_loaded_again(bench, monkeypatch):
    """Nobody restarts the station for it; a camera's frame gets more patience than a picture."""
    monkeypatch.setattr(engine_table, "HUNG", 2)
    hung = for_ever()
    one = bench(hung)
    one.models["other"].patience_s = 0.2
    wait_until(lambda: one.failures)
    ((model, error),) = one.failures
    assert (model, model.is_given_up) == (one.models["other"], True)
    assert isinstance(error, EngineStuckError)
    assert "has not answered" in str(error)
    wait_until(lambda: hung.closed)
    one.install("other", TimedEngine())
    wait_until(lambda: one.seen["other"])
    assert one.healthy() > 5


def test_one_engine_at_a_time_is_left_behind(bench, monkeypatch):
    """Where even the end of a hung engine does not end, the next one that hangs stays."""
    monkeypatch.setattr(engine_table, "HUNG", 2)
    hung, still = for_ever(), for_ever()
    one = bench(hung)
    may_end = one.loop._stop
    hung.close = lambda: may_end.wait(30)
    one.models["other"].patience_s = 0.1
    wait_until(lambda: one.failures)
    one.install("other", still)
    one.models["other"].patience_s = 0.1
    wait_until(lambda: still.submitted)
    wait_until(lambda: one.loop.engines.silences_s()["other"] > 0.6)
    assert len(one.failures) == 1


def test_the_only_engine_that_hangs_is_the_watchdogs(bench, monkeypatch):
    """As before: the loop's heart stops, and the service manager restarts the station."""
    monkeypatch.setattr(engine_table, "HUNG", 2)
    one = bench()
    one.models["good"].patience_s = 0.1
    wait_until(lambda: one.healthy() > 3)
    one.models["good"].engine.hangs = True
    wait_until(lambda: one.loop._heartbeat.age_s() > 0.6)
    assert one.failures == []


def test_an_engine_that_cannot_be_closed_keeps_nobody_from_their_end(bench):
    """It is told, and the others are closed."""
    one = bench()

    def close():
        raise ValueError("planted")

    first = TimedEngine()
    first.close = close
    one.install("other", first)
    one.end()
    assert [str(error) for _, error in one.failures] == ["inference failed: ValueError"]
    assert one.models["good"].engine.closed == 1
