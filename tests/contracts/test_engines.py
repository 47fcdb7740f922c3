"""The contract of every engine backend, on its device or on a stand-in for it.

On a machine with a GPU: `make test-gpu`. This module imports little, so that little must be
installed there.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from appliance import engines
from appliance.engines import Backend
from appliance.errors import EngineError
from appliance.runtimes import BuildOptions, EngineOptions
from appliance.values import TensorSpec
from tests.support.gpu import FAMILY, fake_gpu
from tests.support.spots import CONTRACT, GREEN, RED, SEES_GREEN, SEES_RED, run, seen, show
from tests.support.spots import write_spots as write_canonical

NEED_A_GPU = {"cuda", "rtx", "tensorrt"}
NAMES = [info.name for info in pkgutil.iter_modules(engines.__path__)]
REAL = [
    pytest.param((name, False), id=name, marks=[pytest.mark.gpu] if name in NEED_A_GPU else [])
    for name in NAMES
]
FAKE = [pytest.param((name, True), id=f"{name}-on-stand-ins") for name in FAMILY]


@dataclass(frozen=True)
class Rig:
    """A backend, and what builds its engines."""

    backend: Backend
    build: Callable[[Path, Path], Path]

    def load(self, path, contract=CONTRACT, **options):
        return self.backend.load(path, contract, EngineOptions(**options))


@pytest.fixture(params=[*REAL, *FAKE])
def rig(request, monkeypatch):
    """Each backend whose library and device are here, or are stood in for."""
    name, faked = request.param
    if faked:
        fake = fake_gpu(name, monkeypatch)
        return Rig(fake.backend, fake.build)
    backend = importlib.import_module(f"appliance.engines.{name}").ENGINE
    try:
        backend.version()
        backend.device()
    except EngineError as error:
        pytest.skip(error.sentence())
    return Rig(backend, lambda canonical, folder: built(backend, canonical, folder))


def built(backend, canonical, folder):
    """An engine's file, as the backend makes it."""
    return backend.build(canonical, folder, BuildOptions(), lambda _what, _share: None)


@pytest.fixture
def path(rig, tmp_path):
    """The tiny model as an engine's file."""
    folder = tmp_path / "engine"
    folder.mkdir()
    return rig.build(write_canonical(tmp_path / "canonical.onnx"), folder)


@pytest.fixture
def engine(rig, path):
    """The tiny model, loaded with two slots."""
    loaded = rig.load(path, asked="auto", threads=1, in_flight=2)
    yield loaded
    loaded.close()


def test_every_backend_stands_for_itself(rig):
    """Its name is a word without spaces, its title is for people; it starts with its best rung."""
    backend = rig.backend
    assert backend.name in NAMES
    assert backend.title
    assert len(set(backend.rungs)) == len(backend.rungs) > 0


def test_it_tells_its_device(rig):
    """Name, kind, serial and memory; the same each time, but for what is free."""
    first, second = rig.backend.device(), rig.backend.device()
    assert first.name
    assert first.arch
    assert first.serial
    assert 0 < first.memory_free_bytes <= first.memory_bytes
    assert replace(first, memory_free_bytes=0) == replace(second, memory_free_bytes=0)


def test_what_an_engine_is_bound_to_does_not_change(rig):
    """The same here and now, or the cache would never find anything."""
    assert rig.backend.bound_to(BuildOptions()) == rig.backend.bound_to(BuildOptions())


def test_it_has_slots_in_the_contracts_shape(engine):
    """One for each frame in flight, in order, each with the contract's inputs and outputs."""
    assert len(engine.slots) == 2
    assert [slot.index for slot in engine.slots] == list(range(len(engine.slots)))
    for slot in engine.slots:
        assert (slot.frames.shape, slot.frames.dtype) == ((1, 64, 64, 3), np.uint8)
        found = {name: (a.shape, a.dtype.name) for name, a in slot.outputs.items()}
        assert found == {spec.name: (spec.shape, spec.dtype) for spec in CONTRACT.outputs}


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
    show(first, RED)
    show(second, GREEN)
    engine.submit(first)
    engine.submit(second)
    assert engine.wait(second)
    assert engine.wait(first)
    assert (seen(first), seen(second)) == (SEES_RED, SEES_GREEN)


def test_waiting_has_a_limit(engine):
    """With no time to wait the answer is at once, yes or not yet; in the end it is yes."""
    slot = engine.slots[0]
    show(slot, RED)
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
def test_a_damaged_file_is_an_error(rig, path, damage):
    """A file that is no engine is refused when it is loaded, with a way out (O-23)."""
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(EngineError, match="engine") as caught:
        rig.load(path)
    assert caught.value.hint
    assert "\n" not in caught.value.sentence()


def test_a_missing_file_is_an_error(rig, path):
    """A file that has gone is refused when it is loaded."""
    path.unlink()
    with pytest.raises(EngineError):
        rig.load(path)


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
def test_another_contract_than_the_files_is_an_error(rig, path, change):
    """An engine that does not fit its contract is refused at load, not at the first frame."""
    with pytest.raises(EngineError, match="expected") as caught:
        rig.load(path, change(CONTRACT))
    assert caught.value.hint


def test_it_reports_what_runs(rig, engine):
    """What was asked and what runs is read back from the engine, for people and metrics."""
    report = engine.report
    assert report.asked == "auto"
    assert report.backend == rig.backend.name
    assert report.running
    assert report.version == rig.backend.version()
    assert report.precision == "fp32"
    assert report.computes in ({}, {"fp32": 1})
    assert report.memory_bytes >= 0
    assert report.note == ""


def test_closing_is_for_good_and_may_be_repeated(engine):
    """Close frees everything, also a run that nobody waited for; again it does nothing."""
    show(engine.slots[0], RED)
    engine.submit(engine.slots[0])
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.submit(engine.slots[0])


def test_options_are_heeded(rig, path):
    """Threads, and neighbors on the same cores, still give the same results."""
    loaded = rig.load(path, asked=rig.backend.name, threads=2, engines=2)
    try:
        run(loaded, loaded.slots[0], RED)
        assert seen(loaded.slots[0]) == SEES_RED
        assert loaded.report.asked == rig.backend.name
        assert loaded.report.threads in {0, 2}
        assert len(loaded.slots) == 1
    finally:
        loaded.close()
