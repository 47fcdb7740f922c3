"""Engines that are loaded once, tried, and loaded anew when they are gone."""

import threading
import time
from dataclasses import replace

import pytest
from loguru import logger

from appliance.app import loading
from appliance.app.budget import MIB
from appliance.app.loading import Loader, Model
from appliance.catalog.card import read_card
from appliance.catalog.labels import Labels
from appliance.engines import cpu
from appliance.errors import DeviceError, EngineError
from appliance.optimizer.key import EngineKey
from appliance.optimizer.sidecar import EngineFile
from appliance.optimizer.verdict import Verification
from appliance.pipeline.engine_room import EngineRoom, Prepared
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.lanes import Lane
from appliance.pipeline.loop import Loop
from appliance.settings import load
from tests.support.fakes import CONTRACT, Clock, LevelEngine, PaintedCamera, wait_until

LIMIT_MB = 100


class Bench:
    """A loader of engines of gray levels.

    Attributes:
        engines: what the next loads give, in order; more are made at need.
        loaded: what they gave.
    """

    def __init__(self, folder, card):
        settings = load({"APPLIANCE_ENGINE__MEMORY_MB": str(LIMIT_MB)}, secrets_dir=folder).settings
        self.loader = Loader(settings, models=1)
        self.engines, self.loaded = [], []
        self._path = folder / "engine.bin"
        self._path.write_bytes(b"an engine")
        self._card = card
        self._backend = replace(cpu.ENGINE, load=self._load)

    def _load(self, *_):
        self.loaded.append(self.engines.pop(0) if self.engines else LevelEngine())
        return self.loaded[-1]

    def load(self, name="m", memory_mb=0):
        fitted = replace(self._card.input, size_wh=CONTRACT.input_wh)
        card = replace(self._card, name=name, input=fitted)
        key = EngineKey(name, "", "", "", "cpu", "1", "auto", "", "")
        proof = Verification("proven", "fp32")
        file = EngineFile(self._path, key, CONTRACT, proof, memory_bytes=memory_mb * MIB)
        model = Model(card, self._path, Labels(("spot", "ring"), "the card"))
        return self.loader.load(model, self._backend, file)


@pytest.fixture
def bench(tmp_path, bright_spots):
    return Bench(tmp_path, read_card(bright_spots / "model.toml"))


class Preparing:
    """One engine of each model, by a loader."""

    def __init__(self, bench):
        self._bench = bench

    def prepare(self, name, _progress, _without):
        yield Prepared(self._bench.load(name), "proven", "proven")

    def is_changed(self, _name):
        return False

    def forget(self, name):
        self._bench.loader.forget(name)


def test_a_model_that_is_unloaded_and_loaded_again_gets_an_engine_that_answers(bench):
    """Its file is the same, and yet another engine: the one before is closed."""
    results, camera = [], PaintedCamera()
    loop = Loop(
        [Lane("door", camera, "m")],
        on_result=lambda result, _: results.append(result),
        on_failure=lambda _, error: results.append(error),
        heartbeat=Heartbeat(time.monotonic_ns),
        clock_ns=time.monotonic_ns,
    )
    camera.on_publish = loop.wake
    room = EngineRoom(
        ["m"],
        asked="auto",
        preparer=Preparing(bench),
        install=loop.install,
        withdraw=loop.withdraw,
        clock_ns=Clock(),
    )
    loop.start()
    room.start()
    try:
        for level in (1, 2, 3):
            wait_until(loop.engines.serving)
            camera.show(level)
            wait_until(lambda level=level: len(results) == level)
            room.unload("m")
            wait_until(lambda: loop.engines.get("m") is None)
            room.load("m")
        wait_until(loop.engines.serving)
        assert [result.stamp.sequence for result in results] == [1, 2, 3]
        assert [engine.closed for engine in bench.loaded] == [1, 1, 1, 0]
    finally:
        for part in (room, loop):
            part.stop()
            assert part.join(10)


def test_the_same_file_gives_the_same_engine_until_it_is_forgotten(bench):
    """Then it is another one, as the one before may be closed already."""
    first = bench.load()
    assert bench.load() is first
    bench.loader.forget("m")
    assert bench.load() is not first


def test_a_model_that_is_forgotten_takes_no_memory_of_others(bench):
    """What it was granted is free again."""
    bench.load("m", LIMIT_MB)
    with pytest.raises(DeviceError, match="would take m 100"):
        bench.load("other", 1)
    bench.loader.forget("m")
    assert bench.load("other", LIMIT_MB)


@pytest.mark.parametrize("call", ["submit", "wait"])
def test_an_engine_that_fails_at_its_first_run_is_closed(bench, call):
    """It serves nobody, and would keep its memory for ever."""

    def fail():
        raise EngineError("planted")

    engine = LevelEngine()
    if call == "submit":
        engine.failures = [EngineError("planted")]
    else:
        engine.in_wait = fail
    bench.engines = [engine]
    with pytest.raises(EngineError, match="planted"):
        bench.load()
    wait_until(lambda: engine.closed)
    assert bench.load().engine is not engine


def test_an_engine_that_hangs_at_its_first_run_is_given_up(bench, monkeypatch):
    """Even where its end hangs, too: the other models are brought up."""
    monkeypatch.setattr(loading, "FIRST_RUN_S", 0.1)
    monkeypatch.setattr(loading, "CLOSING_S", 0.1)
    hung, may_end, is_closing = LevelEngine(), threading.Event(), threading.Event()
    hung.busy = {0, 1}

    def close():
        is_closing.set()
        may_end.wait(30)

    hung.close = close
    bench.engines = [hung]
    began_s = time.monotonic()
    try:
        with pytest.raises(EngineError, match="first run takes longer than") as caught:
            bench.load()
        assert time.monotonic() - began_s < 5
        assert caught.value.hint
        assert is_closing.wait(10)
        assert bench.load("other")
    finally:
        may_end.set()


def test_an_engine_that_cannot_be_used_nor_closed_is_told(bench):
    """In the log; what is raised is why it cannot be used."""
    engine, lines = LevelEngine(), []
    engine.failures = [EngineError("planted")]

    def close():
        raise ValueError("at its end")

    engine.close = close
    bench.engines = [engine]
    sink = logger.add(lines.append, format="{extra} {message}", level="ERROR")
    try:
        with pytest.raises(EngineError, match="planted"):
            bench.load()
        wait_until(lambda: lines)
    finally:
        logger.remove(sink)
    assert "could not be closed" in lines[0]
    assert "at its end" in lines[0]
