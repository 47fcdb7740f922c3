"""Bringing a model up, where the station ends meanwhile or the engine cannot be loaded."""

import os
import re
import shutil
from dataclasses import replace

import onnx
import pytest

from appliance.app import choices
from appliance.app.assembly import engines_in_use
from appliance.app.building import optimizer_of
from appliance.app.preparer import Preparer
from appliance.engines import cpu
from appliance.errors import DeviceError, EngineError, ModelError
from appliance.optimizer.sidecar import read_sidecar, write_sidecar
from appliance.pipeline.served import PATIENCE_S
from appliance.settings import load
from tests.support.process import MODEL, run, station_environ
from tests.support.videos import write_pictures


def made(tmp_path, monkeypatch, *, built):
    """A preparer of the tiny detector, whose builds are real children."""
    environ = station_environ(tmp_path, built=built)
    for name in [name for name in os.environ if name.startswith("APPLIANCE_")]:
        monkeypatch.delenv(name)  # the tests' own, which are no settings
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return Preparer(load(environ, secrets_dir=tmp_path).settings, 1)


@pytest.fixture
def preparer(tmp_path, monkeypatch):
    """As after a first start: the processor's engine is there."""
    return made(tmp_path, monkeypatch, built=True)


@pytest.fixture
def first(tmp_path, monkeypatch):
    """As before it."""
    return made(tmp_path, monkeypatch, built=False)


def spoil(preparer, backend=cpu.ENGINE):
    """Make the engine one that is whole by its sums, and no engine."""
    library, shelf = preparer._library, preparer._shelf
    key = shelf.key(library.card(MODEL), library.weights(MODEL), backend)
    engine = read_sidecar(shelf.cache._place(key), key)
    engine.path.write_bytes(b"of another library's version")
    write_sidecar(engine)


def held(preparer, memory_bytes):
    """Make the engine one that held so much when it was verified."""
    library, shelf = preparer._library, preparer._shelf
    key = shelf.key(library.card(MODEL), library.weights(MODEL), cpu.ENGINE)
    engine = read_sidecar(shelf.cache._place(key), key)
    write_sidecar(replace(engine, memory_bytes=memory_bytes))


def bring_up(preparer, progress=lambda *_: None, *, without=frozenset()):
    """Everything that is prepared for the model, as after a start; the engines are closed."""
    preparer._loader.forget(MODEL)
    found = list(preparer.prepare(MODEL, progress, without))
    for each in found:
        each.served.engine.close()
    return found


@pytest.mark.slow
def test_an_engine_that_cannot_be_loaded_is_built_once_more(first, tmp_path):
    """It is set aside and built anew; when that fails too, it is said, and nothing loops (O-23)."""
    told = []

    def prepare():
        told.clear()
        bring_up(first, lambda stage, _share: told.append(stage))

    prepare()
    assert "Comparing with the original" in told
    prepare()
    assert told == ["Loading the engine"]
    spoil(first)
    prepare()
    assert "Comparing with the original" in told
    assert len(list(tmp_path.glob("cache/engines/*/*.aside"))) == 1
    spoil(first)
    with pytest.raises(EngineError, match="cannot load it"):
        prepare()
    assert told == ["Loading the engine"]


def test_no_build_begins_once_the_station_ends(tmp_path):
    """A child that started after the stop would outlive its station."""
    preparer = Preparer(
        load(station_environ(tmp_path, built=False), secrets_dir=tmp_path).settings, 1
    )
    preparer.stop()
    preparer.stop()
    with pytest.raises(EngineError, match="no build is begun"):
        bring_up(preparer)
    assert not list(tmp_path.glob("cache/engines/*/*"))


@pytest.mark.slow
def test_the_same_engine_is_loaded_again_only_where_it_was_given_up(preparer):
    """One that serves is kept; one that a picture kept for too long is replaced by its like."""
    bring_up(preparer)
    kept, *_ = preparer.prepare(MODEL, lambda *_: None, frozenset())
    again, *_ = preparer.prepare(MODEL, lambda *_: None, frozenset())
    assert again.served is kept.served
    kept.served.is_given_up = True
    anew, *_ = preparer.prepare(MODEL, lambda *_: None, frozenset())
    assert anew.served is not kept.served
    assert anew.served.patience_s >= PATIENCE_S
    for each in (kept, anew):
        each.served.engine.close()


@pytest.mark.slow
def test_a_model_that_names_its_classes_is_believed_where_nobody_else_does(preparer, tmp_path):
    """Names in the file's metadata are shown; one too few is told, and no error (O-10)."""
    preparer._child = InProcess(preparer)
    place = tmp_path / "state" / "models" / MODEL
    card = (place / "model.toml").read_text()
    (place / "model.toml").write_text(re.sub(r"(?m)^labels = .*\n", "", card))
    model = onnx.load(place / "model.onnx")
    onnx.helper.set_model_props(model, {"names": "{0: 'ripe'}"})
    onnx.save(model, place / "model.onnx")
    (prepared,) = bring_up(preparer)
    assert prepared.served.labels == ("ripe",)
    assert prepared.notice == (
        "labels: expected 2 names for the model's classes, got 1 from the model file"
    )
    onnx.helper.set_model_props(model, {"names": "__import__('os').system('true')"})
    onnx.save(model, place / "model.onnx")
    (prepared,) = bring_up(preparer)
    assert "cannot be read" in prepared.notice
    (place / "labels.txt").write_text("red\ngreen\n")
    (prepared,) = bring_up(preparer)
    assert (prepared.served.labels, prepared.notice) == (("red", "green"), "")


@pytest.mark.slow
def test_engines_are_listed_and_those_of_nobody_removed(tmp_path):
    """The one in use stays, an older one and one set aside go, and both are told."""
    environ = station_environ(tmp_path)
    assert run(environ, "build").returncode == 0
    (used,) = tmp_path.glob(f"cache/engines/{MODEL}/*")
    for name in ("0123456789abcdef", "fedcba9876543210.aside"):
        shutil.copytree(used, used.with_name(name))
    listed = run(environ, "engines", "list").stdout
    assert used.name in listed
    assert "could not be loaded, set aside" in listed
    pruned = run(environ, "engines", "prune")
    assert pruned.returncode == 0, pruned.stderr
    assert f"removed {MODEL}/0123456789abcdef" in pruned.stdout
    assert list(used.parent.iterdir()) == [used]


class InProcess:
    """Builds as the child would, in this process, where stand-ins of backends are known."""

    def __init__(self, preparer):
        self.preparer = preparer
        self.builds = []
        self.failures = []

    def run(self, command, progress):
        name = command[command.index("--backend") + 1]
        self.builds.append(name)
        if self.failures:
            raise self.failures.pop(0)
        library = self.preparer._library
        backend = choices.backends()[name]
        optimizer_of(self.preparer._settings).build(
            library.card(MODEL), library.weights(MODEL), backend, frames=None, progress=progress
        )

    def stop(self):
        """Nothing runs."""


@pytest.fixture
def gpu_box(first, monkeypatch):
    """A box where "tensorrt" runs beside the processor: an engine of the same kind, renamed."""
    faults = {}

    def load(*arguments):
        if "load" in faults:
            raise faults["load"]
        return cpu.ENGINE.load(*arguments)

    def away():
        raise EngineError("not here")

    gpu = replace(
        cpu.ENGINE,
        name="tensorrt",
        title="TensorRT",
        device=lambda: replace(cpu.device(), serial="GPU-1"),
        load=load,
    )
    found = {"tensorrt": gpu, "cpu": cpu.ENGINE}
    for name in ("rtx", "cuda"):
        found[name] = replace(cpu.ENGINE, name=name, device=away)
    monkeypatch.setattr(choices, "backends", lambda: {name: found[name] for name in choices.RANK})
    first._child = InProcess(first)
    first.faults = faults
    return first


def fallbacks(preparer, **options):
    """Why each engine that was prepared is not what was asked for."""
    return [prepared.fallback for prepared in bring_up(preparer, **options)]


@pytest.mark.slow
def test_the_best_engine_is_built_and_no_fallback(gpu_box):
    """A box with a GPU gets its engine; there is nothing to explain."""
    assert fallbacks(gpu_box) == [""]
    assert fallbacks(gpu_box) == [""]
    assert gpu_box._child.builds == ["tensorrt"]


@pytest.mark.slow
def test_a_spare_serves_while_the_best_is_made_anew(gpu_box):
    """An engine that cannot be loaded: the processor's serves meanwhile, and says why (O-23)."""
    assert fallbacks(gpu_box, without=frozenset({"tensorrt"})) == [""]
    assert fallbacks(gpu_box) == ["TensorRT is being built", ""]
    spoil(gpu_box, choices.backends()["tensorrt"])
    meanwhile, after = fallbacks(gpu_box)
    assert meanwhile.startswith("TensorRT is built again: ")
    assert "cannot load it" in meanwhile
    assert after == ""
    assert gpu_box._child.builds == ["cpu", "tensorrt", "tensorrt"]


@pytest.mark.slow
def test_what_cannot_be_built_falls_back_for_good(gpu_box):
    """The next backend serves, says what was missed, and nothing loops."""
    gpu_box._child.failures = [EngineError("no kernel for Foo")]
    assert fallbacks(gpu_box) == ["TensorRT: no kernel for Foo"]
    assert gpu_box._child.builds == ["tensorrt", "cpu"]


@pytest.mark.slow
def test_a_full_device_is_no_reason_to_build_anew(gpu_box):
    """The engine stays where it is, for when there is room; the processor serves."""
    assert fallbacks(gpu_box) == [""]
    gpu_box.faults["load"] = DeviceError("out of memory")
    assert fallbacks(gpu_box) == ["TensorRT: out of memory"]
    gpu_box.faults.clear()
    assert fallbacks(gpu_box) == [""]
    assert gpu_box._child.builds == ["tensorrt", "cpu"]


@pytest.mark.slow
def test_what_is_required_is_not_replaced(gpu_box):
    """Fail closed: no spare, no fallback, and the reason."""
    assert fallbacks(gpu_box, without=frozenset({"tensorrt"})) == [""]
    engine = gpu_box._settings.engine.model_copy(update={"require": "tensorrt"})
    gpu_box._settings = gpu_box._settings.model_copy(update={"engine": engine})
    assert fallbacks(gpu_box) == [""]
    gpu_box.faults["load"] = DeviceError("out of memory", hint="Use a smaller model.")
    with pytest.raises(EngineError, match="TensorRT: out of memory") as caught:
        fallbacks(gpu_box)
    assert caught.value.hint == "Use a smaller model."


@pytest.mark.slow
def test_more_memory_than_allowed_is_refused_with_figures(preparer):
    """What the engine held when it was verified is compared with the setting."""
    bring_up(preparer)
    held(preparer, 5_000_000)  # measured, a model this small may hold nothing of its own
    preparer._loader._budget._limit_bytes = 1
    with pytest.raises(EngineError, match="APPLIANCE_ENGINE__MEMORY_MB allows"):
        bring_up(preparer)


@pytest.mark.slow
def test_pictures_that_come_later_prove_the_engine_while_it_serves(preparer, tmp_path):
    """The same loaded engine goes on, with the better proof; nothing is loaded twice."""
    (before,) = bring_up(preparer)
    assert before.verdict == "unproven"
    folder = tmp_path / "state" / "models" / MODEL / "verify"
    write_pictures(folder, 60)
    preparer._loader.forget(MODEL)
    serving, proven = preparer.prepare(MODEL, lambda *_: None, frozenset())
    assert (serving.verdict, proven.verdict) == ("unproven", "proven")
    assert serving.served is proven.served
    (again,) = preparer.prepare(MODEL, lambda *_: None, frozenset())
    assert again.served is proven.served
    again.served.engine.close()


@pytest.mark.slow
def test_an_engine_that_pictures_prove_wrong_is_given_up(preparer, tmp_path):
    """What the gate refuses on real pictures serves no more, and no start tries it again."""
    bring_up(preparer)
    write_pictures(tmp_path / "state" / "models" / MODEL / "verify", 60)

    def refuse(*_):
        library, shelf = preparer._library, preparer._shelf
        key = shelf.key(library.card(MODEL), library.weights(MODEL), cpu.ENGINE)
        error = EngineError("F1 0.500 against the original")
        with shelf.cache.writing(key) as folder:
            shelf.cache.refuse(folder, key, error)
        raise error

    preparer._child.run = refuse
    preparer._loader.forget(MODEL)
    prepared = preparer.prepare(MODEL, lambda *_: None, frozenset())
    next(prepared).served.engine.close()
    with pytest.raises(EngineError, match=r"F1 0\.500"):
        next(prepared)
    with pytest.raises(EngineError, match=r"F1 0\.500"):
        bring_up(preparer)


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def not_fitting(path):
    model = onnx.load(path)
    model.graph.output[0].name = "something"
    model.graph.node[-7].output[0] = "something"
    onnx.save(model, path)


@pytest.mark.slow
def test_a_damaged_model_file_leaves_the_verified_engine_serving(preparer, tmp_path):
    """It is said, with its own names of classes; the right file is noticed and taken again."""
    place = tmp_path / "state" / "models" / MODEL
    weights, card = place / "model.onnx", place / "model.toml"
    card.write_text(re.sub(r"(?m)^labels = .*\n", "", card.read_text()))
    model = onnx.load(weights)
    onnx.helper.set_model_props(model, {"names": "['ripe', 'raw']"})
    onnx.save(model, weights)
    whole = weights.read_bytes()
    bring_up(preparer)
    assert not preparer.is_changed(MODEL)
    reasons = {
        truncated: "model.onnx: not an ONNX model, or damaged",
        empty: "model.onnx: not an ONNX model, or damaged",
        type(weights).unlink: f"{MODEL}: model.onnx is not here",
    }
    for damage, reason in reasons.items():
        weights.write_bytes(whole)
        damage(weights)
        (kept,) = bring_up(preparer)
        assert kept.fallback == f"{reason}. The engine of the model's earlier file runs"
        assert kept.next_step.endswith("It is taken as soon as it is there.")
        assert (kept.verdict, kept.served.labels) == ("unproven", ("ripe", "raw"))
        assert not preparer.is_changed(MODEL)
        assert len(engines_in_use(preparer._settings)) == 1
    weights.write_bytes(whole)
    assert preparer.is_changed(MODEL)
    (again,) = bring_up(preparer)
    assert again.fallback == ""
    assert not preparer.is_changed(MODEL)


@pytest.mark.slow
def test_a_new_model_file_that_does_not_fit_leaves_the_verified_engine_serving(gpu_box, tmp_path):
    """A new file that is refused is told as such; without an engine of an earlier one, it fails."""
    weights = tmp_path / "state" / "models" / MODEL / "model.onnx"
    bring_up(gpu_box)
    not_fitting(weights)
    (kept,) = bring_up(gpu_box)
    assert "expected outputs keypoints and wh" in kept.fallback
    assert kept.fallback.endswith("The engine of the model's earlier file runs")
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(ModelError, match="expected outputs keypoints and wh"):
        bring_up(gpu_box)
