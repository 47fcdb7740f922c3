"""The contract of every engine backend that the registry finds."""

from dataclasses import replace

import numpy as np
import pytest

from appliance import engines
from appliance.catalog.card import read_card
from appliance.engines import Backend, EngineOptions
from appliance.errors import EngineError
from appliance.geometry import Fit, FitMode
from appliance.nms import NmsMode
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.heads import centernet
from appliance.registry import plugins
from appliance.tasks import Rules
from appliance.tasks.detection import TASK
from appliance.values import TensorSpec
from tests.support.models import LABELS, paint

BACKENDS = plugins(engines, "ENGINE", Backend)
SIZE = (64, 64)
RED, GREEN = [("red", 16, 16, 32, 32)], [("green", 44, 40, 60, 56)]
UNFITTED = Fit.of(FitMode.LETTERBOX, SIZE, SIZE)
RULES = Rules.of(
    LABELS, confidence=0.5, classes={}, nms=NmsMode.PER_CLASS, iou=0.5, max_detections=5
)


@pytest.fixture(scope="module")
def canonical(bright_spots, tmp_path_factory):
    """The tiny detector as a canonical model."""
    return canonicalize(
        bright_spots / "model.onnx",
        read_card(bright_spots / "model.toml"),
        centernet.HEAD,
        tmp_path_factory.mktemp("canonical") / "engine.onnx",
    )


@pytest.fixture(params=BACKENDS.values(), ids=BACKENDS)
def backend(request):
    """Each backend whose library is here."""
    try:
        request.param.version()
    except EngineError as error:
        pytest.skip(error.sentence())
    return request.param


@pytest.fixture
def engine(backend, canonical):
    """The canonical model, loaded."""
    loaded = backend.load(
        canonical.path, canonical.contract, EngineOptions(asked="auto", threads=1, in_flight=2)
    )
    yield loaded
    loaded.close()


def run(engine, slot, squares):
    slot.frames[0] = paint(squares, SIZE)
    engine.submit(slot)
    engine.wait(slot)


def seen(slot):
    """Class and box of what a slot's outputs hold."""
    found = TASK.finish(slot.outputs, UNFITTED, RULES)
    boxes = found.boxes_xyxy_px.round().astype(int).tolist()
    return list(zip(found.class_ids.tolist(), map(tuple, boxes), strict=True))


SEES_RED, SEES_GREEN = [(0, RED[0][1:])], [(1, GREEN[0][1:])]


def test_it_has_slots_in_the_contracts_shape(engine, canonical):
    """One for each frame in flight, in order, each with the contract's inputs and outputs."""
    assert len(engine.slots) == 2
    assert [slot.index for slot in engine.slots] == list(range(len(engine.slots)))
    for slot in engine.slots:
        assert (slot.frames.shape, slot.frames.dtype) == ((1, 64, 64, 3), np.uint8)
        found = {name: (a.shape, a.dtype.name) for name, a in slot.outputs.items()}
        assert found == {spec.name: (spec.shape, spec.dtype) for spec in canonical.contract.outputs}


def test_it_sees_what_is_in_the_slot(engine):
    """Each slot gives the results of the frame that was written into it."""
    for slot in engine.slots:
        run(engine, slot, RED)
        assert seen(slot) == SEES_RED
        run(engine, slot, [*RED, *GREEN])
        assert sorted(seen(slot)) == SEES_RED + SEES_GREEN
        run(engine, slot, [])
        assert seen(slot) == []


def test_memory_stays_where_it_is(engine):
    """Over many runs inputs and outputs are the same memory: nothing is made per frame."""

    def addresses():
        return [
            array.ctypes.data
            for slot in engine.slots
            for array in (slot.frames, *slot.outputs.values())
        ]

    before = addresses()
    for turn in range(50):
        slot = engine.slots[turn % len(engine.slots)]
        run(engine, slot, RED if turn % 2 else GREEN)
        assert seen(slot) == (SEES_RED if turn % 2 else SEES_GREEN)
    assert addresses() == before
    assert len(set(before)) == len(before)


def test_one_slots_outputs_survive_anothers_run(engine):
    """Outputs are valid until their own slot's next submit."""
    first, second = engine.slots[:2]
    run(engine, first, RED)
    kept = {name: array.copy() for name, array in first.outputs.items()}
    for _ in range(5):
        run(engine, second, GREEN)
    for name, array in kept.items():
        np.testing.assert_array_equal(first.outputs[name], array)
    assert (seen(first), seen(second)) == (SEES_RED, SEES_GREEN)


def test_two_frames_may_be_in_flight(engine):
    """Both slots submitted before either is waited for: each gets its own results."""
    first, second = engine.slots[:2]
    first.frames[0], second.frames[0] = paint(RED, SIZE), paint(GREEN, SIZE)
    engine.submit(first)
    engine.submit(second)
    assert engine.wait(second)
    assert engine.wait(first)
    assert (seen(first), seen(second)) == (SEES_RED, SEES_GREEN)


def test_waiting_has_a_limit(engine):
    """With no time to wait the answer is at once, yes or not yet; in the end it is yes."""
    slot = engine.slots[0]
    slot.frames[0] = paint(RED, SIZE)
    engine.submit(slot)
    while not engine.wait(slot, 0.0):
        assert slot.index == 0
    assert engine.wait(slot)
    assert seen(slot) == SEES_RED


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda _data: b"", lambda data: bytes(len(data))],
    ids=["truncated", "empty", "zeroed"],
)
def test_a_damaged_file_is_an_error(backend, canonical, tmp_path, damage):
    """A file that is no engine is refused when it is loaded, with a way out (O-23)."""
    path = tmp_path / "engine.onnx"
    path.write_bytes(damage(canonical.path.read_bytes()))
    with pytest.raises(EngineError, match="engine") as caught:
        backend.load(path, canonical.contract, EngineOptions())
    assert caught.value.hint
    assert "\n" not in caught.value.sentence()


def test_a_missing_file_is_an_error(backend, canonical, tmp_path):
    """A file that has gone is refused when it is loaded."""
    with pytest.raises(EngineError):
        backend.load(tmp_path / "engine.onnx", canonical.contract, EngineOptions())


@pytest.mark.parametrize(
    "change",
    [
        lambda c: replace(c, input=replace(c.input, shape=(1, 32, 32, 3))),
        lambda c: replace(c, input=replace(c.input, dtype="float32")),
        lambda c: replace(c, outputs=c.outputs[:2]),
        lambda c: replace(c, outputs=(*c.outputs, TensorSpec("more", (1,), "float32"))),
        lambda c: replace(c, outputs=(replace(c.outputs[0], shape=(1, 9, 4)), *c.outputs[1:])),
    ],
    ids=["input size", "input type", "output missing", "output too many", "output size"],
)
def test_another_contract_than_the_files_is_an_error(backend, canonical, change):
    """An engine that does not fit its contract is refused at load, not at the first frame."""
    with pytest.raises(EngineError, match="expected") as caught:
        backend.load(canonical.path, change(canonical.contract), EngineOptions())
    assert caught.value.hint


def test_it_reports_what_runs(backend, engine):
    """What was asked and what runs is read back from the engine, for people and metrics."""
    report = engine.report
    assert report.asked == "auto"
    assert report.backend
    assert report.running
    assert report.version == backend.version()
    assert report.precision == "fp32"
    assert report.note == ""


def test_closing_is_for_good_and_may_be_repeated(engine):
    """Close frees everything, also a run that nobody waited for; again it does nothing."""
    engine.slots[0].frames[0] = paint(RED, SIZE)
    engine.submit(engine.slots[0])
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.submit(engine.slots[0])


def test_options_are_heeded(backend, canonical):
    """Threads, and neighbors on the same cores, still give the same results."""
    options = EngineOptions(asked=backend.name, threads=2, engines=2)
    loaded = backend.load(canonical.path, canonical.contract, options)
    try:
        run(loaded, loaded.slots[0], RED)
        assert seen(loaded.slots[0]) == SEES_RED
        assert loaded.report.asked == backend.name
        assert loaded.report.threads in {0, 2}
        assert len(loaded.slots) == 1
    finally:
        loaded.close()
