"""Engines are brought up one after the other, each on its own account."""

import threading

import pytest
from loguru import logger

from appliance.errors import ApplianceError, EngineError, ModelError
from appliance.pipeline.engine_room import EngineRoom, Prepared
from appliance.values import EngineState
from tests.support.fakes import LevelEngine, served, wait_until

WAITING, BUILDING, RUNNING, FAILED = EngineState


@pytest.fixture
def log():
    """What was logged at INFO and above."""
    lines = []
    sink = logger.add(lines.append, format="{level} {extra} {message}", level="INFO")
    yield lines
    logger.remove(sink)


def prepared(name):
    return Prepared(served(name, LevelEngine()), "proven", "proven: F1 1.000")


class Bench:
    """A room whose models are prepared by what the test says."""

    def __init__(self, **preparations):
        self.installed = []
        self._preparations = preparations
        self.room = EngineRoom(
            list(preparations), asked="auto", prepare=self._prepare, install=self.installed.append
        )

    def _prepare(self, name, progress):
        return self._preparations[name](name, progress)

    def run(self):
        """Bring everything up; the readings by model."""
        self.room.start()
        assert self.room.join(10)
        return self.readings()

    def readings(self):
        return {reading.model: reading for reading in self.room.readings()}


def good(name, _progress):
    return prepared(name)


def fails_with(error):
    def prepare(_name, _progress):
        raise error

    return prepare


def test_every_model_waits_before_the_start():
    """From the first moment the page can show each model, in the order given."""
    room = Bench(b=good, a=good).room
    assert [(each.model, each.state, each.asked) for each in room.readings()] == [
        ("b", WAITING, "auto"),
        ("a", WAITING, "auto"),
    ]


def test_a_prepared_model_is_handed_over_and_described():
    """What runs and its proof are the engine's own words."""
    bench = Bench(m=good)
    reading = bench.run()["m"]
    assert [model.name for model in bench.installed] == ["m"]
    assert (reading.state, reading.running, reading.backend) == (RUNNING, "Fake engine", "fake")
    assert (reading.verdict, reading.proof) == ("proven", "proven: F1 1.000")
    assert reading.progress is None


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ModelError("no weights", hint="Pull them."), "no weights"),
        (RuntimeError("planted"), "engine failed: RuntimeError"),
    ],
)
def test_one_model_fails_and_the_others_run(error, sentence, log):
    """A model that cannot be prepared says why, once, and takes no other with it."""
    readings = Bench(first=good, bad=fails_with(error), last=good).run()
    assert [reading.state for reading in readings.values()] == [RUNNING, FAILED, RUNNING]
    assert readings["bad"].sentence == sentence
    assert readings["bad"].next_step == getattr(error, "hint", "")
    assert any("bad" in line for line in log)


def test_progress_is_shown_while_an_engine_is_built():
    """A build tells what it is doing and how far it is (O-22)."""
    gate, told = threading.Event(), threading.Event()

    def slow(name, progress):
        progress("Comparing with the original", 0.43)
        told.set()
        assert gate.wait(10)
        return prepared(name)

    bench = Bench(m=slow)
    bench.room.start()
    assert told.wait(10)
    reading = bench.readings()["m"]
    assert (reading.state, reading.sentence, reading.progress) == (
        BUILDING,
        "Comparing with the original",
        0.43,
    )
    gate.set()
    assert bench.room.join(10)
    assert bench.readings()["m"].state is RUNNING


def test_no_further_model_is_begun_after_stop():
    """Stopping lets the model at hand finish and leaves the others."""
    begun = []

    def stops(name, _progress):
        begun.append(name)
        bench.room.stop()
        return prepared(name)

    bench = Bench(first=stops, second=stops)
    bench.run()
    assert begun == ["first"]


def test_a_failure_at_work_is_said_once_and_gets_over(log):
    """An engine that ran and fails is told once; with the next result all is as before."""
    bench = Bench(m=good)
    healthy = bench.run()["m"]
    for _ in range(3):
        bench.room.failed("m", EngineError("device lost", hint="Switch it off and on."))
    reading = bench.readings()["m"]
    assert (reading.state, reading.sentence) == (FAILED, "device lost")
    assert reading.next_step == "Switch it off and on."
    assert sum("device lost" in line for line in log) == 1
    for _ in range(3):
        bench.room.recovered("m")
    assert bench.readings()["m"] == healthy
    assert sum("runs again" in line for line in log) == 1


def test_a_model_that_never_ran_does_not_recover():
    """A stray result does not turn a failed build into a running engine."""
    bench = Bench(m=fails_with(EngineError("no room")))
    bench.run()
    bench.room.recovered("m")
    assert bench.readings()["m"].state is FAILED


def test_a_failure_of_an_unknown_model_is_nothing():
    """An error before any model was at work belongs to none."""
    bench = Bench(m=good)
    bench.run()
    bench.room.failed("", ApplianceError("early"))
    assert bench.readings()["m"].state is RUNNING


def test_readings_do_not_wait_for_a_build():
    """While a model is prepared for minutes, the page still gets its readings."""
    gate = threading.Event()

    def hangs(name, _progress):
        assert gate.wait(10)
        return prepared(name)

    bench = Bench(m=hangs, n=good)
    bench.room.start()
    assert [reading.state for reading in bench.room.readings()] == [WAITING, WAITING]
    gate.set()
    wait_until(lambda: all(r.state is RUNNING for r in bench.room.readings()))
    assert bench.room.join(10)
