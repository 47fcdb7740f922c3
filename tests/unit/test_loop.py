"""The inference loop: who takes turns, what is kept full, and what is always given back."""

import gc
import threading
import time
import weakref

import pytest

from appliance import tasks
from appliance.catalog.card import read_card
from appliance.engines import cpu
from appliance.errors import ApplianceError, EngineError
from appliance.optimizer import heads
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.fittings import letterbox_of
from appliance.optimizer.heads import Head
from appliance.pipeline import engine_table
from appliance.pipeline import loop as loop_module
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.lanes import Lane
from appliance.pipeline.loop import IDLE_S, Loop
from appliance.pipeline.served import ServedModel
from appliance.registry import plugins
from appliance.runtimes import EngineOptions
from tests.support.fakes import LevelEngine, PaintedCamera, levels_of, served, wait_until


class Bench:
    """A loop with painted cameras and a fake engine, and what came out of it."""

    def __init__(self, cameras, engine):
        self.results, self.failures, self.taken = [], [], []
        self.engine = engine
        self.heartbeat = Heartbeat(time.monotonic_ns)
        lanes = [Lane(name, camera, "m") for name, camera in cameras.items()]
        self.loop = Loop(
            lanes,
            on_result=self.note,
            on_failure=lambda model, error: self.failures.append((model and model.name, error)),
            heartbeat=self.heartbeat,
            clock_ns=time.monotonic_ns,
        )
        self.loop.install(served("m", engine))
        for camera in cameras.values():
            camera.on_publish = self.loop.wake

    def note(self, result, lease):
        self.taken.append(int(lease.pixels[0, 0, 0]))
        self.results.append(result)

    def run_until(self, count):
        """Start, and stop after `count` results."""
        self.loop.start()
        wait_until(lambda: len(self.results) >= count)
        self.end()

    def end(self):
        self.loop.stop()
        assert self.loop.join(10)


@pytest.fixture
def bench(monkeypatch):
    """Makes benches whose loops pause briefly after failures, and ends them."""
    monkeypatch.setattr(engine_table, "FAILURE_PAUSE_S", 0.01)
    made = []

    def make(*, engine=None, **cameras):
        made.append(Bench(cameras, engine or LevelEngine()))
        return made[-1]

    yield make
    for each in made:
        each.loop.stop()
        each.loop.join(10)


@pytest.fixture(params=[2, 1], ids=["two in flight", "one in flight"])
def engine(request):
    """One engine of each kind."""
    return LevelEngine(slots=request.param)


def test_every_result_belongs_to_its_frame(bench, engine):
    """Picture, stamp and detections of a result are those of one frame, in source pixels."""
    camera = PaintedCamera()
    camera.show(77)
    one = bench(engine=engine, door=camera)
    one.run_until(1)
    result = one.results[0]
    assert levels_of(one.results) == [("door", 77)]
    assert one.taken == [77]
    assert (result.stamp.sequence, result.size_wh) == (1, (32, 24))
    assert result.prediction.boxes_xyxy_px.tolist() == [[8, 6, 24, 18]]
    assert 0 <= result.inference_ms <= result.age_ms


def test_the_newest_frame_wins(bench, engine):
    """Of the frames that came while the engine was busy, only the last is looked at (O-08)."""
    camera = PaintedCamera()
    one = bench(engine=engine, door=camera)
    gate, at_work = threading.Event(), threading.Event()

    def hold():
        at_work.set()
        assert gate.wait(10)

    engine.in_wait = hold
    camera.show(1)
    one.loop.start()
    assert at_work.wait(10)
    camera.show(2, 3, 4)
    gate.set()
    wait_until(lambda: len(one.results) == 2)
    one.end()
    assert levels_of(one.results) == [("door", 1), ("door", 4)]


def test_no_frame_is_looked_at_twice(bench, engine):
    """A camera that shows nothing new gets no second result for its last frame."""
    camera = PaintedCamera()
    camera.show(5)
    one = bench(engine=engine, door=camera)
    one.loop.start()
    wait_until(lambda: one.results)
    ticks = time.monotonic_ns()
    one.loop.wake()
    wait_until(lambda: one.heartbeat._last_ns > ticks)
    one.end()
    assert len(one.results) == 1


def test_cameras_take_turns(bench, engine):
    """A camera that always has a frame does not starve the others."""
    cameras = {name: PaintedCamera() for name in ("a", "b", "c")}
    one = bench(engine=engine, **cameras)

    def show_again():
        for camera in cameras.values():
            camera.show(50)

    engine.in_wait = show_again
    show_again()
    one.run_until(30)
    seen = [result.camera for result in one.results]
    for start in range(0, 30, 3):
        assert set(seen[start : start + 3]) == {"a", "b", "c"}


def test_an_engine_with_two_slots_is_kept_full(bench):
    """The next frame is submitted before the one before is waited for; order is kept."""
    engine = LevelEngine(slots=2)
    cameras = {name: PaintedCamera() for name in ("a", "b", "c", "d")}
    for level, camera in enumerate(cameras.values(), start=1):
        camera.show(level)
    one = bench(engine=engine, **cameras)
    one.run_until(4)
    assert engine.history == [
        ("submit", 0),
        ("submit", 1),
        ("wait", 0),
        ("submit", 0),
        ("wait", 1),
        ("submit", 1),
        ("wait", 0),
        ("wait", 1),
    ]
    assert levels_of(one.results) == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]


def test_an_engine_with_one_slot_is_finished_at_once(bench):
    """No frame grows old in a queue before the engine."""
    engine = LevelEngine(slots=1)
    cameras = {name: PaintedCamera() for name in ("a", "b")}
    for camera in cameras.values():
        camera.show(9)
    bench(engine=engine, **cameras).run_until(2)
    assert [call for call, _ in engine.history] == ["submit", "wait"] * 2


def test_a_lone_frame_is_finished_without_another(bench):
    """With one frame in flight and none to come, the loop waits for its result."""
    camera = PaintedCamera()
    camera.show(9)
    one = bench(engine=LevelEngine(), door=camera)
    one.run_until(1)
    assert levels_of(one.results) == [("door", 9)]


def test_a_frame_that_comes_while_the_engine_works_fills_the_other_slot(bench):
    """The loop waits for a result and a frame at once: the engine is never left half empty."""
    camera, engine = PaintedCamera(), LevelEngine(slots=2)
    one = bench(engine=engine, door=camera)
    engine.busy = {0, 1}
    camera.show(1)
    one.loop.start()
    wait_until(lambda: engine.history == [("submit", 0)])
    camera.show(2)
    wait_until(lambda: engine.history == [("submit", 0), ("submit", 1)])
    engine.busy = {0}  # the second is done before the first: results keep their order
    time.sleep(0.05)
    assert one.results == []
    engine.busy = set()
    wait_until(lambda: len(one.results) == 2)
    one.end()
    assert levels_of(one.results) == [("door", 1), ("door", 2)]


@pytest.mark.parametrize("frames", [1, 2])
def test_an_engine_that_never_ends_stops_the_heartbeat(bench, frames):
    """Whether a slot is free or not: no result, no tick."""
    camera, engine = PaintedCamera(), LevelEngine(slots=2)
    one = bench(engine=engine, door=camera)
    engine.busy = {0, 1}
    one.loop.start()
    for level in range(1, frames + 1):
        camera.show(level)
        wait_until(lambda level=level: len(engine.history) == level)
    time.sleep(0.05)
    last = one.heartbeat._last_ns
    time.sleep(2 * IDLE_S)
    assert one.heartbeat._last_ns == last
    one.end()
    assert camera.held == 0


def test_a_slow_model_does_not_hold_up_a_fast_one(bench):
    """Each model's oldest result is looked for, not only the oldest of all."""
    slow, fast, engine = PaintedCamera(), PaintedCamera(), LevelEngine()
    one = bench(engine=engine, door=slow)
    quick = LevelEngine()
    one.loop.add(Lane("gate", fast, "quick"))
    one.loop.install(served("quick", quick))
    engine.busy = {0, 1}
    slow.show(1)
    one.loop.start()
    wait_until(lambda: engine.history)
    fast.show(2)
    wait_until(lambda: levels_of(one.results) == [("gate", 2)])
    engine.busy = set()
    wait_until(lambda: len(one.results) == 2)
    one.end()
    assert levels_of(one.results) == [("gate", 2), ("door", 1)]


def test_a_result_that_is_no_numbers_is_unknown_and_no_failure(bench, engine):
    """The picture goes on with the reason, slot and lease come back, and the next frame counts."""
    camera = PaintedCamera()
    one = bench(engine=engine, door=camera)
    engine.score = float("nan")
    one.loop.start()
    camera.show(1)
    wait_until(lambda: len(one.results) == 1)
    engine.score = None
    camera.show(2)
    wait_until(lambda: len(one.results) == 2)
    one.end()
    first, second = one.results
    assert first.unknown.startswith("scores holds values that are no numbers.")
    assert len(first.prediction) == 0
    assert (second.unknown, len(second.prediction)) == ("", 1)
    assert (one.failures, camera.held, one.taken) == ([], 0, [1, 2])


def test_every_lease_is_given_back(bench, engine):
    """After any number of frames nothing is held any more, also when stopped in between."""
    camera = PaintedCamera()
    engine.in_wait = lambda: camera.show(3)
    camera.show(3)
    one = bench(engine=engine, door=camera)
    one.run_until(20)
    assert camera.held == 0


@pytest.mark.parametrize("error", [EngineError("device lost"), ValueError("planted")])
@pytest.mark.parametrize("call", ["submit", "wait"])
def test_a_failure_is_told_and_got_over(bench, engine, error, call):
    """A failing frame is told with its model, gives slot and lease back, and the next one goes."""

    def fail_once():
        engine.in_wait = lambda: None
        raise error

    if call == "submit":
        engine.failures = [error]
    else:
        engine.in_wait = fail_once
    camera = PaintedCamera()
    one = bench(engine=engine, door=camera)
    camera.show(1)
    one.loop.start()
    wait_until(lambda: one.failures and camera.held == 0)
    for level in range(2, 8):  # more frames than slots: none was lost
        camera.show(level)
        wait_until(lambda level=level: levels_of(one.results)[-1:] == [("door", level)])
    one.end()
    (model, told), *others = one.failures
    assert (model, others) == ("m", [])
    assert isinstance(told, ApplianceError)
    assert str(told) in {"device lost", "inference failed: ValueError"}
    assert camera.held == 0


def test_a_failing_receiver_does_not_end_the_loop(bench, engine):
    """An error behind the result is told, its lease comes back, and the loop goes on."""
    camera = PaintedCamera()
    one = bench(engine=engine, door=camera)
    planted = [RuntimeError("planted")]

    def receive(result, lease):
        if planted:
            raise planted.pop()
        one.note(result, lease)

    one.loop._lanes._on_result = receive
    camera.show(1)
    one.loop.start()
    wait_until(lambda: one.failures)
    camera.show(2)
    wait_until(lambda: one.results)
    one.end()
    assert levels_of(one.results) == [("door", 2)]
    told = (None, "door: a frame gave no result: RuntimeError")
    assert [(model, str(error)) for model, error in one.failures] == [told]
    assert camera.held == 0


def test_a_camera_whose_model_is_not_there_yet_waits(bench):
    """Cameras of a model still being built are passed over; the others go on."""
    early, late = PaintedCamera(), PaintedCamera()
    one = bench(early=early)
    one.loop.add(Lane("late", late, "other"))
    early.show(1)
    late.show(2)
    one.loop.start()
    wait_until(lambda: len(one.results) == 1)
    one.loop.install(served("other", LevelEngine()))
    wait_until(lambda: len(one.results) == 2)
    one.end()
    assert levels_of(one.results) == [("early", 1), ("late", 2)]


def test_an_idle_loop_ticks(bench):
    """Without any frame the heart still beats."""
    one = bench(door=PaintedCamera())
    one.loop.start()
    for _ in range(3):
        before = one.heartbeat._last_ns
        wait_until(lambda before=before: one.heartbeat._last_ns > before)
    assert one.results == []


def test_a_loop_that_hangs_does_not_tick(bench, engine):
    """While the engine does not come back the heart stands still (O-22)."""
    camera, gate, hanging = PaintedCamera(), threading.Event(), threading.Event()

    def hang():
        hanging.set()
        gate.wait(10)

    engine.in_wait = hang
    camera.show(1)
    one = bench(engine=engine, door=camera)
    one.loop.start()
    assert hanging.wait(10)
    before = one.heartbeat._last_ns
    time.sleep(3 * loop_module.IDLE_S)
    assert one.heartbeat._last_ns == before
    gate.set()
    wait_until(lambda: one.heartbeat._last_ns > before)


def test_a_frame_wakes_the_loop(bench, monkeypatch):
    """A new frame is looked at when it comes, not at the next idle turn."""
    monkeypatch.setattr(loop_module, "IDLE_S", 3600)
    camera = PaintedCamera()
    one = bench(door=camera)
    one.loop.start()
    for level in range(1, 5):
        camera.show(level)
        wait_until(lambda level=level: len(one.results) == level)
    assert levels_of(one.results) == [("door", level) for level in range(1, 5)]


def test_stopping_closes_every_engine_once(bench):
    """The loop owns the engines: it gives frames in flight back, closes them, and ends."""
    camera = PaintedCamera()
    engines = [LevelEngine(), LevelEngine()]
    one = bench(engine=engines[0], door=camera)
    one.loop.install(served("other", engines[1]))
    one.loop.start()
    one.end()
    one.end()
    assert [engine.closed for engine in engines] == [1, 1]


def test_a_loop_that_never_started_can_be_stopped(bench):
    """Stopping and joining before the start is harmless."""
    one = bench(door=PaintedCamera())
    one.loop.stop()
    assert one.loop.join(0)


def test_a_failing_engine_does_not_stop_the_heart(bench):
    """The loop moves while every frame fails: nobody takes it for hung, and kills a rebuild."""
    camera, engine = PaintedCamera(), LevelEngine()
    engine.failures = [EngineError("device lost")] * 5
    one = bench(engine=engine, door=camera)
    one.loop.start()
    for failed in range(1, 6):
        before = one.heartbeat._last_ns
        camera.show(failed)
        wait_until(lambda failed=failed: len(one.failures) == failed)
        wait_until(lambda before=before: one.heartbeat._last_ns > before)
    one.end()
    assert one.results == []


def test_an_engine_takes_the_place_of_another(bench, engine):
    """From the next turn on the new one serves; the old one is closed, once, and not used again."""
    camera, better = PaintedCamera(), LevelEngine()
    one = bench(engine=engine, door=camera)
    one.loop.start()
    camera.show(1)
    wait_until(lambda: len(one.results) == 1)
    one.loop.install(served("m", better))
    wait_until(lambda: engine.closed)
    used = len(engine.history)
    camera.show(2)
    wait_until(lambda: len(one.results) == 2)
    one.end()
    assert levels_of(one.results) == [("door", 1), ("door", 2)]
    assert len(engine.history) == used
    assert (engine.closed, better.closed) == (1, 1)


def test_frames_in_flight_are_finished_before_their_engine_is_closed(bench):
    """The new engine works already, and its results wait for the older ones: order is kept."""
    camera, old, new = PaintedCamera(slots=6), LevelEngine(slots=2), LevelEngine(slots=2)
    one = bench(engine=old, door=camera)
    old.busy = {0, 1}
    one.loop.start()
    for level in (1, 2):
        camera.show(level)
        wait_until(lambda level=level: len(old.history) == level)
    one.loop.install(served("m", new))
    for level in (3, 4):
        camera.show(level)
        wait_until(lambda level=level: len(new.history) == level - 2)
    time.sleep(0.05)
    assert (one.results, old.closed) == ([], 0)
    old.busy = set()
    wait_until(lambda: len(one.results) == 4)
    wait_until(lambda: old.closed)
    one.end()
    assert levels_of(one.results) == [("door", level) for level in (1, 2, 3, 4)]
    assert camera.held == 0


def test_a_frame_that_fails_in_a_replaced_engine_is_given_back_and_told(bench):
    """Its lease returns, the engine is closed, and the new one's next result comes."""
    camera, old, new = PaintedCamera(), LevelEngine(slots=2), LevelEngine()
    one = bench(engine=old, door=camera)
    old.busy = {0}
    one.loop.start()
    camera.show(1)
    wait_until(lambda: old.history)

    def fail():
        raise EngineError("too late")

    old.in_wait = fail
    one.loop.install(served("m", new))
    old.busy = set()
    wait_until(lambda: old.closed)
    camera.show(2)
    wait_until(lambda: one.results)
    one.end()
    assert levels_of(one.results) == [("door", 2)]
    assert [str(error) for _, error in one.failures] == ["too late"]
    assert camera.held == 0


def test_no_frame_is_lost_while_engines_take_turns(bench):
    """Engine after engine is installed under load: every result is there, in order, once."""
    camera = PaintedCamera()
    engines = [LevelEngine(slots=1 + index % 2) for index in range(20)]
    one = bench(engine=engines[0], door=camera)
    one.loop.start()
    for level, engine in enumerate(engines, start=1):
        if level > 1:
            one.loop.install(served("m", engine))
        camera.show(level)
        wait_until(lambda level=level: len(one.results) == level)
    one.end()
    assert levels_of(one.results) == [("door", level) for level in range(1, 21)]
    assert [engine.closed for engine in engines] == [1] * 20
    assert (one.failures, camera.held) == ([], 0)


def test_stopping_while_an_engine_is_replaced_closes_both(bench):
    """The one with a frame in flight, the one that serves, and one that came too late as well."""
    camera, old, new, late = PaintedCamera(), LevelEngine(), LevelEngine(), LevelEngine()
    one = bench(engine=old, door=camera)
    old.busy = {0, 1}
    one.loop.start()
    camera.show(1)
    wait_until(lambda: old.history)
    one.loop.install(served("m", new))
    camera.show(2)
    wait_until(lambda: new.history)
    one.end()
    one.loop.install(served("m", late))
    assert [engine.closed for engine in (old, new, late)] == [1, 1, 1]
    assert camera.held == 0


def real(folder, into):
    """The tiny detector on the real runtime, with two frames in flight."""
    card = read_card(folder / "model.toml")
    head = plugins(heads, "HEAD", Head)[card.head]
    made = canonicalize(folder / "model.onnx", card, head, into)
    engine = cpu.ENGINE.load(made.path, made.contract, EngineOptions(in_flight=2))
    task = tasks.known()[card.task]
    letterbox = letterbox_of(card)
    return ServedModel("m", engine, task, card.table, letterbox, card.table.labels)


def test_a_real_engine_takes_the_place_of_a_real_one_and_its_memory_is_freed(
    bench, bright_spots, tmp_path
):
    """Results go on in order over the change, and nothing holds the old engine any more."""
    camera = PaintedCamera()
    one = bench(door=camera)
    first = real(bright_spots, tmp_path / "first.onnx")
    gone = weakref.ref(first.engine)
    one.loop.install(first)
    del first
    one.loop.start()
    for level in range(1, 11):
        if level == 6:
            one.loop.install(real(bright_spots, tmp_path / "second.onnx"))
        camera.show(level)
        wait_until(lambda level=level: len(one.results) == level)
    wait_until(lambda: gc.collect() >= 0 and gone() is None)
    one.end()
    assert [result.stamp.sequence for result in one.results] == list(range(1, 11))
    assert (one.failures, camera.held) == ([], 0)
