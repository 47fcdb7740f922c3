"""Engines are brought up one after the other, each on its own account, and again when given up."""

import threading
from dataclasses import replace

import pytest
from loguru import logger

from appliance.errors import (
    ApplianceError,
    DeviceLostError,
    EngineError,
    EngineStuckError,
    ModelError,
)
from appliance.pipeline import engine_room
from appliance.pipeline.engine_room import (
    DOUBT_S,
    PATIENCE,
    TRIED_AGAIN,
    EngineRoom,
    Prepared,
)
from appliance.values import EngineState
from tests.support.fakes import Clock, LevelEngine, served, wait_until

NEXT = "Look at the report."
WAITING, BUILDING, RUNNING, FAILED = EngineState


@pytest.fixture
def log():
    """What was logged at INFO and above."""
    lines = []
    sink = logger.add(lines.append, format="{level} {extra} {message}", level="INFO")
    yield lines
    logger.remove(sink)


def prepared(name, backend="fake", **about):
    model = served(name, LevelEngine(backend=backend))
    return Prepared(model, "proven", "proven: F1 1.000", **about)


class Bench:
    """A room whose models are prepared by what the test says.

    Attributes:
        installed: what was handed over.
        withdrawn: the names of models that the loop is to serve no more.
        forgotten: the names of models that are to be prepared anew.
        without: the backends that each preparation was to leave out.
    """

    def __init__(self, **preparations):
        self.installed, self.withdrawn, self.without = [], [], []
        self.forgotten = []
        self.clock = Clock()
        self.changed = set()
        self._preparations = preparations
        self.room = EngineRoom(
            list(preparations),
            asked="auto",
            preparer=self,
            install=self.installed.append,
            withdraw=self.withdrawn.append,
            clock_ns=self.clock,
        )

    def forget(self, name):
        self.forgotten.append(name)

    def is_changed(self, name):
        return name in self.changed

    def prepare(self, name, progress, without):
        self.without.append(set(without))
        yield from self._preparations[name](name, progress, without)

    def run(self):
        """Bring everything up; the readings by model."""
        self.room.start()
        return self.settled()

    def settled(self):
        """The readings by model, once the room rests."""
        wait_until(self._rests)
        return self.readings()

    def _rests(self):
        states = {reading.state for reading in self.room.readings()}
        is_wanted = any(place.is_wanted for place in self.room._places.values())
        return not is_wanted and states <= {RUNNING, FAILED}

    def end(self):
        self.room.stop()
        assert self.room.join(10)

    def readings(self):
        return {reading.model: reading for reading in self.room.readings()}

    def fail(self, error, model="m", times=1):
        """Frames on which the engine that was installed last fails."""
        last = [each for each in self.installed if each.name == model][-1]
        for _ in range(times):
            self.room.failed(last, error)


@pytest.fixture
def bench():
    """Makes benches, and ends their rooms."""
    made = []

    def make(**preparations):
        made.append(Bench(**preparations))
        return made[-1]

    yield make
    for each in made:
        each.end()


def good(name, _progress, _without):
    yield prepared(name)


def fails_with(error):
    def prepare(_name, _progress, _without):
        raise error
        yield

    return prepare


def best_left(*backends):
    """A preparation that takes the first backend which is not left out, and says when none is."""

    def prepare(name, progress, without):
        progress("Loading the engine", None)
        left = [backend for backend in backends if backend not in without]
        if not left:
            raise EngineError("nothing else runs it")
        yield prepared(name, left[0])

    return prepare


def test_every_model_waits_before_the_start(bench):
    """From the first moment the page can show each model, in the order given."""
    room = bench(b=good, a=good).room
    assert [(each.model, each.state, each.asked) for each in room.readings()] == [
        ("b", WAITING, "auto"),
        ("a", WAITING, "auto"),
    ]


def test_a_prepared_model_is_handed_over_and_described(bench):
    """What runs and its proof are the engine's own words."""
    one = bench(m=good)
    reading = one.run()["m"]
    assert [model.name for model in one.installed] == ["m"]
    assert (reading.state, reading.running, reading.backend) == (RUNNING, "Fake engine", "fake")
    assert (reading.verdict, reading.proof) == ("proven", "proven: F1 1.000")
    assert (reading.progress, reading.is_fallback, reading.replacements) == (None, False, 0)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ModelError("no weights", hint="Pull them."), "no weights"),
        (RuntimeError("planted"), "engine failed: RuntimeError"),
    ],
)
def test_one_model_fails_and_the_others_run(bench, error, sentence, log):
    """A model that cannot be prepared says why, once, and takes no other with it."""
    readings = bench(first=good, bad=fails_with(error), last=good).run()
    assert [reading.state for reading in readings.values()] == [RUNNING, FAILED, RUNNING]
    assert readings["bad"].sentence == sentence
    assert readings["bad"].next_step == getattr(error, "hint", "")
    assert any("bad" in line for line in log)


def test_a_preparation_that_gives_nothing_is_a_failure(bench):
    """A model without an engine never counts as running."""
    reading = bench(m=lambda *_: iter(())).run()["m"]
    assert (reading.state, reading.sentence) == (FAILED, "nothing on this box runs it")


def test_progress_is_shown_while_an_engine_is_built(bench, log):
    """A build tells what it is doing and how far it is, the log each stage once (O-22)."""
    gate, told = threading.Event(), threading.Event()

    def slow(name, progress, _without):
        for share in (0.41, 0.42, 0.43):
            progress("Comparing with the original", share)
        told.set()
        assert gate.wait(10)
        yield prepared(name)

    one = bench(m=slow)
    one.room.start()
    assert told.wait(10)
    reading = one.readings()["m"]
    assert (reading.state, reading.sentence, reading.progress) == (
        BUILDING,
        "Comparing with the original",
        0.43,
    )
    assert reading.under_way() == "Building m, 43 %: Comparing with the original"
    gate.set()
    assert one.settled()["m"].under_way() == ""
    assert sum("Comparing" in line for line in log) == 1


def test_what_serves_meanwhile_and_what_is_built_are_both_shown(bench):
    """A spare engine runs as a fallback, with its reason, beside the build of a better one."""
    gate, told = threading.Event(), threading.Event()

    def spare_first(name, progress, _without):
        yield prepared(name, "spare", fallback="the best is being built", next_step="Wait.")
        progress("Building the engine", 0.5)
        told.set()
        assert gate.wait(10)
        yield prepared(name, "best")

    one = bench(m=spare_first)
    one.room.start()
    assert told.wait(10)
    reading = one.readings()["m"]
    assert (reading.state, reading.backend, reading.precision) == (RUNNING, "spare", "fp32")
    assert (reading.is_fallback, reading.fallback) == (True, "the best is being built")
    assert (reading.proof, reading.next_step) == ("proven: F1 1.000", "Wait.")
    assert (reading.sentence, reading.progress) == ("Building the engine", 0.5)
    gate.set()
    wait_until(lambda: one.readings()["m"].backend == "best")
    reading = one.readings()["m"]
    assert (reading.is_fallback, reading.under_way(), reading.replacements) == (False, "", 1)
    assert [model.engine.report.backend for model in one.installed] == ["spare", "best"]


def test_what_is_refused_in_the_end_is_withdrawn(bench, log):
    """An engine that was compared once more while it served, and was found wrong, goes."""
    served, verdicts = prepared("m"), iter([None, EngineError("its candidates differ", hint=NEXT)])

    def compared(*_):
        yield served
        if (error := next(verdicts)) is not None:
            raise error

    one = bench(m=compared)
    assert one.run()["m"].state is RUNNING
    one.room.again("m")
    wait_until(lambda: one.readings()["m"].state is FAILED)
    reading = one.readings()["m"]
    assert (reading.sentence, reading.next_step) == ("its candidates differ", NEXT)
    assert (reading.running, reading.under_way()) == ("", "")
    assert one.withdrawn == ["m"]
    assert sum("candidates differ" in line for line in log) == 1


def test_what_is_known_of_an_engine_may_change_while_it_serves(bench):
    """The same engine with a better proof is not handed over again."""
    proofs = iter(["unproven: 0 objects", "proven: F1 1.000"])
    served = prepared("m")

    def again(*_):
        yield replace(served, proof=next(proofs))

    one = bench(m=again)
    assert one.run()["m"].proof == "unproven: 0 objects"
    one.room.again("m")
    wait_until(lambda: one.readings()["m"].proof == "proven: F1 1.000")
    wait_until(lambda: one.readings()["m"].under_way() == "")
    assert one.readings()["m"].state is RUNNING
    assert len(one.installed) == 1
    assert (one.readings()["m"].replacements, one.withdrawn) == (0, [])


def test_a_notice_is_logged_and_makes_no_fallback(bench, log):
    """What a person should know stands with the engine, and in the log once."""
    one = bench(m=lambda name, *_: iter([prepared(name, notice="labels: one is missing")]))
    reading = one.run()["m"]
    assert (reading.notice, reading.is_fallback) == ("labels: one is missing", False)
    wait_until(lambda: sum("one is missing" in line for line in log) == 1)


def test_no_further_model_is_begun_after_stop(bench):
    """Stopping lets the model at hand finish, hands it over to be closed, and leaves the others."""
    begun = []

    def stops(name, _progress, _without):
        begun.append(name)
        one.room.stop()
        yield prepared(name)
        begun.append("more of it")

    one = bench(first=stops, second=stops)
    one.room.start()
    assert one.room.join(10)
    assert begun == ["first"]
    assert [model.name for model in one.installed] == ["first"]


def test_a_build_that_ends_with_the_station_is_no_failure(bench, log):
    """Nobody is told of an error that the stop itself has made."""

    def ends(_name, _progress, _without):
        one.room.stop()
        raise EngineError("the build has ended with the station")
        yield

    one = bench(m=ends)
    one.room.start()
    assert one.room.join(10)
    assert not any("ERROR" in line for line in log)


def test_a_failure_at_work_is_said_once_and_gets_over(bench, log):
    """An engine that ran and fails is told once; with the next result all is as before."""
    one = bench(m=good)
    healthy = one.run()["m"]
    one.fail(EngineError("out of order", hint="Switch it off and on."), times=3)
    reading = one.readings()["m"]
    assert (reading.state, reading.sentence) == (FAILED, "out of order")
    assert (reading.next_step, reading.failures) == ("Switch it off and on.", 3)
    assert sum("out of order" in line for line in log) == 1
    for _ in range(3):
        one.room.recovered("m")
    reading = one.readings()["m"]
    assert (reading.state, reading.running) == (RUNNING, healthy.running)
    assert sum("runs again" in line for line in log) == 1
    assert one.without == [set()]


def test_an_engine_that_keeps_failing_is_replaced(bench):
    """After five frames in a row another backend serves, and the reason is told (O-23)."""
    one = bench(m=best_left("best", "spare"))
    assert one.run()["m"].backend == "best"
    one.fail(EngineError("out of order"), times=PATIENCE - 1)
    one.room.recovered("m")
    one.fail(EngineError("out of order"), times=PATIENCE - 1)
    assert one.without == [set()]
    one.fail(EngineError("out of order"))
    wait_until(lambda: one.readings()["m"].backend == "spare")
    reading = one.readings()["m"]
    assert (reading.state, reading.fallback) == (RUNNING, "Fake engine failed: out of order")
    assert (reading.next_step, reading.replacements) == (TRIED_AGAIN, 1)
    assert one.without == [set(), {"best"}]


def test_a_lost_device_is_given_up_at_once(bench):
    """No frame more is given to a device that this process cannot use any more."""
    one = bench(m=best_left("best", "spare"))
    one.run()
    one.fail(DeviceLostError("the GPU has fallen off the bus"))
    wait_until(lambda: one.readings()["m"].backend == "spare")
    assert "fallen off the bus" in one.readings()["m"].fallback


def test_while_another_engine_is_brought_up_the_station_starts_again(bench):
    """Nothing runs, and what is under way says why; more failures meanwhile change nothing."""
    gate, told = threading.Event(), threading.Event()

    def slow_spare(name, progress, without):
        if without:
            progress("Building the engine", 0.25)
            told.set()
            assert gate.wait(10)
        yield prepared(name, "spare" if without else "best")

    one = bench(m=slow_spare)
    one.run()
    one.fail(DeviceLostError("gone"))
    assert told.wait(10)
    one.fail(DeviceLostError("gone"), times=PATIENCE)
    reading = one.readings()["m"]
    assert (reading.state, reading.running, reading.is_fallback) == (BUILDING, "", False)
    assert reading.under_way() == (
        "Building m, 25 %: Building the engine (Fake engine failed: gone)"
    )
    gate.set()
    wait_until(lambda: one.readings()["m"].backend == "spare")
    assert one.without == [set(), {"best"}]
    assert one.readings()["m"].failures == PATIENCE + 1


def test_each_backend_is_given_up_once_and_nothing_loops(bench, log):
    """When the last one fails too it is told as failed, tried on, and recovers with a result."""
    one = bench(m=best_left("best", "spare"))
    one.run()
    one.fail(EngineError("best is out of order"), times=PATIENCE)
    wait_until(lambda: one.readings()["m"].backend == "spare")
    one.fail(EngineError("spare is out of order"), times=PATIENCE)
    wait_until(lambda: any("nothing else runs it" in line for line in log))
    one.fail(EngineError("spare is out of order"), times=10 * PATIENCE)
    assert one.without == [set(), {"best"}, {"best", "spare"}]
    reading = one.readings()["m"]
    assert (reading.state, reading.sentence) == (FAILED, "spare is out of order")
    assert sum("spare is out of order" in line for line in log) == 1
    one.room.recovered("m")
    reading = one.readings()["m"]
    assert (reading.state, reading.fallback) == (
        RUNNING,
        "Fake engine failed: best is out of order",
    )


def test_an_only_engine_that_gets_over_its_failures_is_no_fallback(bench, log):
    """That nothing else could have run it is no reason to call it one."""
    one = bench(m=best_left("only"))
    one.run()
    one.fail(EngineError("out of order"), times=PATIENCE)
    wait_until(lambda: any("nothing else runs it" in line for line in log))
    one.room.recovered("m")
    assert not one.settled()["m"].is_fallback


def test_a_late_failure_of_an_engine_that_was_replaced_is_not_the_new_ones(bench, log):
    """A frame in flight that fails behind a replacement is counted and told, and costs nothing."""
    one = bench(m=best_left("best", "spare"))
    one.run()
    old = one.installed[0]
    one.fail(DeviceLostError("gone"))
    wait_until(lambda: one.readings()["m"].backend == "spare")
    one.room.failed(old, DeviceLostError("gone, again"))
    reading = one.settled()["m"]
    assert (reading.state, reading.backend, reading.failures) == (RUNNING, "spare", 2)
    assert one.without == [set(), {"best"}]
    assert any("gone, again" in line for line in log)


def test_an_engine_that_fails_while_a_better_one_is_built_waits_for_it(bench):
    """The better one takes its place; nothing is brought up once more after that."""
    gate = threading.Event()

    def spare_first(name, _progress, _without):
        yield prepared(name, "spare", fallback="the best is being built")
        assert gate.wait(10)
        yield prepared(name, "best")

    one = bench(m=spare_first)
    one.room.start()
    wait_until(lambda: one.installed)
    one.fail(EngineError("out of order"), times=PATIENCE)
    gate.set()
    wait_until(lambda: one.readings()["m"].backend == "best")
    assert not one.settled()["m"].is_fallback
    assert one.without == [set()]


def test_a_model_that_never_ran_does_not_recover(bench):
    """A stray result does not turn a failed build into a running engine."""
    one = bench(m=fails_with(EngineError("no room")))
    one.run()
    one.room.recovered("m")
    assert one.readings()["m"].state is FAILED


def test_a_failure_before_any_model_was_at_work_belongs_to_none(bench, log):
    """It is logged, and no model is blamed."""
    one = bench(m=good)
    one.run()
    one.room.failed(None, ApplianceError("early"))
    assert one.readings()["m"].state is RUNNING
    assert any("early" in line for line in log)


def test_readings_do_not_wait_for_a_build(bench):
    """While a model is prepared for minutes, the page still gets its readings."""
    gate = threading.Event()

    def hangs(name, _progress, _without):
        assert gate.wait(10)
        yield prepared(name)

    one = bench(m=hangs, n=good)
    one.room.start()
    assert [reading.state for reading in one.room.readings()] == [WAITING, WAITING]
    gate.set()
    wait_until(lambda: all(r.state is RUNNING for r in one.room.readings()))


def test_results_that_are_no_numbers_are_counted_and_said_once(bench, log):
    """The engine runs on, every such frame is counted, and a while of sound ones ends the doubt."""
    one = bench(m=good)
    one.run()
    reason = "scores holds values that are no numbers"
    for _ in range(3):
        one.room.doubted("m", reason)
        one.room.recovered("m")
    reading = one.readings()["m"]
    assert (reading.state, reading.unknown, reading.failures) == (RUNNING, 3, 0)
    assert reading.doubt == f"Some of its results are unknown: {reason}"
    assert one.installed[0].engine.closed == 0
    assert sum(reason in line for line in log) == 1
    one.clock.advance(DOUBT_S + 1)
    one.room.recovered("m")
    reading = one.readings()["m"]
    assert (reading.doubt, reading.unknown) == ("", 3)
    one.room.doubted("m", reason)
    assert sum(reason in line for line in log) == 2


def test_files_that_change_are_looked_at_again(bench, monkeypatch):
    """A model whose file was damaged comes up by itself once a right one lies there."""
    monkeypatch.setattr(engine_room, "LOOK_AGAIN_S", 0.01)
    damaged = [ModelError("model.onnx: not an ONNX model, or damaged")]

    def prepare(name, _progress, _without):
        one.changed.discard(name)
        if damaged:
            raise damaged.pop()
        yield prepared(name)

    one = bench(m=prepare)
    assert one.run()["m"].state is FAILED
    one.changed.add("m")
    wait_until(lambda: one.readings()["m"].state is RUNNING)


def test_an_engine_that_a_picture_kept_for_too_long_is_loaded_anew(bench, log):
    """By the same backend: it is not to blame, and nothing else may run the model."""
    one = bench(m=lambda *_: iter([prepared("m")]))
    one.run()
    one.fail(EngineStuckError("a single picture kept the model"))
    wait_until(lambda: len(one.installed) == 2)
    reading = one.settled()["m"]
    assert reading.state is RUNNING
    assert (reading.failures, reading.replacements) == (1, 1)
    assert one.without == [set(), set()]
    assert any("kept the model" in line for line in log)


def test_where_it_cannot_be_loaded_anew_at_once_it_is_tried_again(bench, monkeypatch):
    """The engine that ended may still hold its memory; no camera stays blind for that."""
    monkeypatch.setattr(engine_room, "LOOK_AGAIN_S", 0.05)
    tries = []

    def prepare(*_):
        tries.append(1)
        if len(tries) in {2, 3}:
            raise EngineError("no memory")
        yield prepared("m")

    one = bench(m=prepare)
    one.run()
    one.installed[-1].is_given_up = True
    one.fail(EngineStuckError("a single picture kept the model"))
    wait_until(lambda: len(one.installed) == 2)
    assert len(tries) == 4
    assert one.settled()["m"].state is RUNNING


def test_a_model_is_loaded_and_unloaded_while_the_room_runs(bench):
    """One that comes is brought up like the first; one that goes is withdrawn, and forgotten."""
    one = bench(m=good)
    one._preparations["other"] = good
    one.run()
    one.room.load("other")
    assert set(one.settled()) == {"m", "other"}
    gone = one.installed[-1]
    one.room.unload("other")
    assert (set(one.readings()), one.withdrawn) == ({"m"}, ["other"])
    assert one.forgotten == ["other"]
    one.room.failed(gone, EngineError("too late"))  # of a frame that was in flight
    one.room.recovered("other")
    one.room.doubted("other", "no numbers")
    one.room.again("other")
    assert set(one.readings()) == {"m"}
    one.room.load("other")
    assert set(one.settled()) == {"m", "other"}
    assert one.installed[-1] is not gone


def test_a_model_that_goes_while_it_is_prepared_is_withdrawn_when_it_comes(bench):
    """Nothing serves that nobody asked for, and the next model is brought up."""
    begun, may_go = threading.Event(), threading.Event()

    def slowly(name, _progress, _without):
        begun.set()
        assert may_go.wait(10)
        yield prepared(name)

    one = bench(slow=slowly, m=good)
    one.room.start()
    assert begun.wait(10)
    one.room.unload("slow")
    may_go.set()
    assert set(one.settled()) == {"m"}
    wait_until(lambda: len(one.withdrawn) == 2)
    assert one.forgotten == one.withdrawn == ["slow"] * 2
    assert one.readings()["m"].state is RUNNING
