"""Which backend runs a model: what was asked for, what is required, and what this box can."""

from dataclasses import replace

import pytest

from appliance.app import choices as module
from appliance.app.choices import RANK, choices
from appliance.engines import cpu
from appliance.errors import EngineError
from appliance.settings import load

TITLES = {"tensorrt": "TensorRT", "rtx": "TensorRT for RTX", "cuda": "CUDA", "cpu": "Processor"}


@pytest.fixture
def box(monkeypatch, tmp_path):
    """A box on which only the named backends run; gives what is chosen for some settings."""

    def box(*runs, without=(), **engine):
        def backend(name):
            def device():
                if name not in runs:
                    raise EngineError(f"no {name} here", hint=f"Install {name}.")
                return cpu.device()

            return replace(cpu.ENGINE, name=name, title=TITLES[name], device=device)

        monkeypatch.setattr(module, "backends", lambda: {name: backend(name) for name in RANK})
        environ = {f"APPLIANCE_ENGINE__{name}": value for name, value in engine.items()}
        return choices(load(environ, secrets_dir=tmp_path).settings, without)

    return box


def names(chosen):
    return [backend.name for backend in chosen.backends]


def test_every_backend_has_its_rank():
    """A backend that is there and never chosen would be dead weight."""
    assert tuple(module.backends()) == RANK
    assert [backend.name for backend in module.backends().values()] == list(RANK)


def test_auto_takes_the_best_that_runs(box):
    """The best first, the others to fall back on; a box without a GPU misses nothing."""
    assert names(box(*RANK)) == list(RANK)
    assert names(box("cuda", "cpu")) == ["cuda", "cpu"]
    chosen = box("cpu")
    assert (names(chosen), chosen.missed) == (["cpu"], None)


def test_a_name_takes_that_one_and_falls_back_below_it(box):
    """What is better than what was asked for is not taken."""
    assert names(box(*RANK, BACKEND="cuda")) == ["cuda", "cpu"]
    assert names(box(*RANK, BACKEND="cpu")) == ["cpu"]


def test_what_was_asked_for_and_is_not_here_is_told(box):
    """The fallback says why, and what to do."""
    chosen = box("cuda", "cpu", BACKEND="rtx")
    assert names(chosen) == ["cuda", "cpu"]
    assert str(chosen.missed) == "TensorRT for RTX does not run here: no rtx here"
    assert chosen.missed.hint == "Install rtx."


def test_what_is_required_stands_alone(box):
    """There is nothing to fall back on."""
    assert names(box(*RANK, REQUIRE="cuda")) == ["cuda"]
    assert names(box(*RANK, REQUIRE="tensorrt", BACKEND="tensorrt")) == ["tensorrt"]


def test_what_is_required_and_is_not_here_is_an_error(box):
    """Nothing else is loaded in its place."""
    with pytest.raises(EngineError, match="TensorRT is required and does not run here") as caught:
        box("rtx", "cuda", "cpu", REQUIRE="tensorrt")
    assert "no tensorrt here" in str(caught.value)
    assert caught.value.hint == "Install tensorrt."


def test_what_has_failed_in_this_run_is_left_out(box):
    """A backend that was given up is not taken again; one that is required is then missing."""
    assert names(box(*RANK, without={"tensorrt", "rtx"})) == ["cuda", "cpu"]
    chosen = box(*RANK, BACKEND="tensorrt", without={"tensorrt"})
    assert "has failed since the start" in str(chosen.missed)
    with pytest.raises(EngineError, match="has failed since the start") as caught:
        box(*RANK, REQUIRE="tensorrt", without={"tensorrt"})
    assert caught.value.hint
