"""A single picture that keeps an engine for minutes: the person is told, the cameras go on."""

import threading
import time
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from appliance.engines.cpu import CpuEngine
from appliance.errors import EngineError, EngineStuckError
from appliance.pipeline import engine_table
from appliance.pipeline.criteria import EVERYTHING
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.lanes import Lane
from appliance.pipeline.loop import Loop
from appliance.pipeline.waiting import WAITING_LIMIT
from appliance.pipeline.work import Urgency
from appliance.runtimes import EngineOptions
from tests.support.fakes import CONTRACT, LevelEngine, PaintedCamera, levels_of, served, wait_until
from tests.support.timed import TimedWork

PATIENCE_S = 20
KEPT_S = 0.3  # for so long a picture may keep an engine here
FOR_EVER, SHORT = 200, 0  # gray levels of the picture


def own(model):
    return EVERYTHING.thresholds(model)


def gray(level):
    return np.full((32, 32, 3), level, np.uint8)


class Bench:
    """A loop with a camera, and what it tells of engines."""

    def __init__(self, **engines):
        self.results, self.failures = [], []
        self.cameras = {name: PaintedCamera() for name in engines}
        self.loop = Loop(
            [Lane(name, camera, name) for name, camera in self.cameras.items()],
            on_result=lambda result, _: self.results.append(result),
            on_failure=lambda model, error: self.failures.append((model, error)),
            heartbeat=Heartbeat(time.monotonic_ns),
            clock_ns=time.monotonic_ns,
        )
        self.models = {name: self.install(name, engine) for name, engine in engines.items()}
        for camera in self.cameras.values():
            camera.on_publish = self.loop.wake
        self.loop.start()
        wait_until(lambda: len(self.loop.engines.serving()) == len(engines))

    def install(self, name, engine):
        model = served(name, engine)
        model.patience_s = KEPT_S
        self.loop.install(model)
        return model

    def ask(self, level, model="m"):
        return self.loop.inspect(model, gray(level), own)

    def see(self, level, camera="m"):
        """Whether the camera's next frame is inferred."""
        before = len(self.results)
        self.cameras[camera].show(level)
        wait_until(lambda: len(self.results) > before, 5)
        assert levels_of(self.results)[-1] == (camera, level)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.setattr(engine_table, "FAILURE_PAUSE_S", 0.01)
    made = []

    def make(**engines):
        made.append(Bench(**engines))
        return made[-1]

    yield make
    for each in made:
        each.loop.stop()
        assert each.loop.join(PATIENCE_S)


def test_frames_do_not_wait_for_a_persons_picture(bench):
    """A camera keeps its rate by the other slot, while the picture takes as long as it takes."""
    engine = LevelEngine(slots=2)
    one = bench(m=engine)
    one.models["m"].patience_s = 60
    engine.busy = {0}
    answer = one.ask(1)
    wait_until(lambda: engine.history)
    for level in (5, 6, 7):
        one.see(level)
    assert not answer.done()
    engine.busy = set()
    assert answer.result(PATIENCE_S)


@pytest.mark.parametrize("slots", [1, 2])
def test_a_picture_that_takes_too_long_ends_the_engine_and_the_next_one_serves(bench, slots):
    """The person is told what to do; somebody brings another engine; the cameras see again."""
    engine = LevelEngine(slots=slots)
    one = bench(m=engine)
    engine.busy = {0}
    answer = one.ask(1)
    with pytest.raises(EngineStuckError, match="kept the model") as caught:
        answer.result(PATIENCE_S)
    assert caught.value.hint
    wait_until(lambda: engine.closed)
    ((model, error),) = one.failures
    assert model is one.models["m"]
    assert model.is_given_up
    assert isinstance(error, EngineStuckError)
    one.install("m", LevelEngine())
    one.see(9)
    assert one.ask(3).result(PATIENCE_S)
    assert one.cameras["m"].held == 0


def test_the_loop_is_alive_while_it_waits_for_a_person(bench):
    """An engine of one slot is no loop that hangs: the station does not restart for it."""
    engine = LevelEngine(slots=1)
    one = bench(m=engine)
    one.models["m"].patience_s = 60
    engine.busy = {0}
    one.ask(1)
    wait_until(lambda: engine.history)
    time.sleep(0.6)
    assert one.loop._heartbeat.age_s() < 0.5
    engine.busy = set()


def test_one_models_wait_delays_no_other(bench):
    """Neither its cameras nor its single pictures."""
    stuck = LevelEngine(slots=1)
    one = bench(m=stuck, other=LevelEngine(slots=1))
    one.models["m"].patience_s = 60
    stuck.busy = {0}
    waiting = [one.ask(1)]
    wait_until(lambda: stuck.history)
    waiting += [one.ask(1) for _ in range(WAITING_LIMIT)]
    with pytest.raises(EngineError, match="too many"):
        one.ask(1)
    one.see(4, "other")
    assert one.ask(2, "other").result(PATIENCE_S)
    assert not any(each.done() for each in waiting)
    stuck.busy = set()


def test_an_engine_that_does_not_end_is_told_and_gets_no_picture_more(bench):
    """One of them may be left behind, not one for each picture."""
    engine, may_end = LevelEngine(slots=1), threading.Event()
    engine.close = lambda: may_end.wait(PATIENCE_S)
    one = bench(m=engine)
    engine.busy = {0}
    with pytest.raises(EngineStuckError):
        one.ask(1).result(PATIENCE_S)
    one.install("m", LevelEngine())
    one.see(9)
    with pytest.raises(EngineError, match="still busy with an earlier picture") as caught:
        one.ask(2)
    assert caught.value.hint
    may_end.set()
    wait_until(lambda: not one.loop.engines.get("m").is_closing)
    assert one.ask(2).result(PATIENCE_S)


def test_two_engines_that_do_not_end_are_both_remembered(bench):
    """The end of the second one does not let pictures in that the first one keeps out."""
    engines, may_end = [LevelEngine(slots=1) for _ in range(2)], threading.Event()
    engines[0].close = lambda: may_end.wait(PATIENCE_S)
    one, ended = bench(m=engines[0]), Counter()
    row = one.loop.engines.get("m")
    for engine in engines:
        engine.busy = {0}
        one.loop.engines.get("m").waiting.put(TimedWork("m", Urgency.PEOPLE, 1, ended))
        one.loop.wake()
        wait_until(lambda engine=engine: engine.history)
        wait_until(lambda: not row.in_flight)
        one.install("m", LevelEngine(slots=1) if engine is engines[1] else engines[1])
        wait_until(lambda: row.serving)
    wait_until(lambda: engines[1].closed)
    assert row.is_closing
    with pytest.raises(EngineError, match="still busy"):
        one.ask(2)
    may_end.set()
    wait_until(lambda: not row.is_closing)
    assert one.ask(2).result(PATIENCE_S)


def test_while_an_engine_does_not_end_no_other_work_behind_cameras_is_taken_either(bench):
    """It could be kept for just as long."""
    engine, may_end = LevelEngine(slots=1), threading.Event()
    engine.close = lambda: may_end.wait(PATIENCE_S)
    one = bench(m=engine)
    engine.busy = {0}
    with pytest.raises(EngineStuckError):
        one.ask(1).result(PATIENCE_S)
    one.install("m", LevelEngine())
    one.see(9)
    work = TimedWork("m", Urgency.BACKGROUND, 1, Counter())
    with pytest.raises(EngineError, match="still busy"):
        one.loop.put(work)
    may_end.set()


def test_a_stuck_engine_that_cannot_be_closed_is_told(bench):
    """What its end raises is not lost."""
    engine = LevelEngine(slots=1)

    def close():
        raise ValueError("planted")

    engine.close = close
    one = bench(m=engine)
    engine.busy = {0}
    with pytest.raises(EngineStuckError):
        one.ask(1).result(PATIENCE_S)
    wait_until(lambda: len(one.failures) == 2)
    assert {str(error) for _, error in one.failures} >= {"inference failed: ValueError"}


def test_a_replaced_engine_that_does_not_end_stops_nobody(bench):
    """Neither its own camera nor the loop's end; people ask the next one."""
    engine, may_end = LevelEngine(), threading.Event()
    engine.close = lambda: may_end.wait(PATIENCE_S)
    one = bench(m=engine, other=LevelEngine())
    one.install("m", LevelEngine())
    wait_until(lambda: one.loop.engines.get("m").closing)
    for camera in ("m", "other"):
        one.see(4, camera)
    assert one.ask(3).result(PATIENCE_S)
    began_s = time.monotonic()
    one.loop.stop()
    assert one.loop.join(PATIENCE_S)
    assert time.monotonic() - began_s < PATIENCE_S / 2
    may_end.set()


def write_counting(path):
    """A canonical model that counts to a hundred million where the picture is bright."""
    one, most = np.array(1, np.int64), np.array(1_000_000, np.int64)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["goes_on"]),
            helper.make_node("Add", ["count", "one"], ["more"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("count", TensorProto.INT64, []),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("more", TensorProto.INT64, []),
        ],
    )
    nodes = [
        helper.make_node("Cast", ["frames"], ["levels"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["levels"], ["level"], keepdims=0),
        helper.make_node("Mul", ["level", "most"], ["times"]),
        helper.make_node("Loop", ["times", "", "zero"], ["counted"], body=body),
        helper.make_node("Mul", ["counted", "zero"], ["nothing"]),
        helper.make_node("Cast", ["nothing"], ["nothing_f"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["nothing"], ["nothing_i"], to=TensorProto.INT32),
        helper.make_node("Add", ["nothing_f", "some_boxes"], ["boxes"]),
        helper.make_node("Add", ["nothing_f", "some_scores"], ["scores"]),
        helper.make_node("Add", ["nothing_i", "some_ids"], ["class_ids"]),
    ]
    weights = {
        "one": one,
        "most": most,
        "zero": np.array(0, np.int64),
        "some_boxes": np.zeros((1, 4, 4), np.float32),
        "some_scores": np.zeros((1, 4), np.float32),
        "some_ids": np.zeros((1, 4), np.int32),
    }
    kinds = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT, "int32": TensorProto.INT32}
    infos = [
        helper.make_tensor_value_info(spec.name, kinds[spec.dtype], spec.shape)
        for spec in (CONTRACT.input, *CONTRACT.outputs)
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "counting", infos[:1], infos[1:], tensors)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_a_real_engine_is_broken_off_in_the_middle_of_a_picture(bench, tmp_path):
    """ONNX Runtime, and a model that counts for minutes where a picture is bright."""
    path = write_counting(tmp_path / "counting.onnx")
    engine = CpuEngine(path, CONTRACT, EngineOptions(in_flight=2))
    one = bench(m=engine)
    assert one.ask(SHORT).result(PATIENCE_S)
    began_s = time.monotonic()
    with pytest.raises(EngineStuckError):
        one.ask(FOR_EVER).result(PATIENCE_S)
    wait_until(lambda: not one.loop.engines.get("m").is_closing, 10)
    assert time.monotonic() - began_s < PATIENCE_S
    one.install("m", CpuEngine(path, CONTRACT, EngineOptions(in_flight=2)))
    wait_until(lambda: "m" in one.loop.engines.serving())
    assert one.ask(SHORT).result(PATIENCE_S)
