"""Bringing a model up, where the station ends meanwhile or the engine cannot be loaded."""

import json
import os
import re
import shutil

import onnx
import pytest

from appliance.app.preparer import Preparer
from appliance.errors import EngineError
from appliance.optimizer.cache import SIDECAR, _document_sha256, file_sha256
from appliance.settings import load
from tests.support.process import MODEL, run, station_environ


@pytest.fixture
def preparer(tmp_path, monkeypatch):
    """A preparer of the tiny detector, whose builds are real children."""
    environ = station_environ(tmp_path)
    for name in [name for name in os.environ if name.startswith("APPLIANCE_")]:
        monkeypatch.delenv(name)  # the tests' own, which are no settings
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return Preparer(load(environ, secrets_dir=tmp_path).settings, 1)


def spoil(folder):
    """Engines that are whole by their sums, and no engines."""
    for engine in folder.glob("cache/engines/*/*/engine.onnx"):
        sidecar = engine.with_name(SIDECAR)
        document = json.loads(sidecar.read_text())
        del document["sidecar_sha256"]
        engine.write_bytes(b"of another library's version")
        document["engine_sha256"] = file_sha256(engine)
        sidecar.write_text(json.dumps({**document, "sidecar_sha256": _document_sha256(document)}))


@pytest.mark.slow
def test_an_engine_that_cannot_be_loaded_is_built_once_more(preparer, tmp_path):
    """It is set aside and built anew; when that fails too, it is said, and nothing loops (O-23)."""
    told = []

    def prepare():
        told.clear()
        prepared = preparer.prepare(MODEL, lambda stage, _share: told.append(stage))
        prepared.served.engine.close()

    prepare()
    assert "Comparing with the original" in told
    prepare()
    assert told == ["Loading the engine"]
    spoil(tmp_path)
    prepare()
    assert "Comparing with the original" in told
    assert len(list(tmp_path.glob("cache/engines/*/*.refused"))) == 1
    spoil(tmp_path)
    with pytest.raises(EngineError, match="cannot load it"):
        prepare()
    assert told == ["Loading the engine"]


def test_no_build_begins_once_the_station_ends(tmp_path):
    """A child that started after the stop would outlive its station."""
    preparer = Preparer(load(station_environ(tmp_path), secrets_dir=tmp_path).settings, 1)
    preparer.stop()
    preparer.stop()
    with pytest.raises(EngineError, match="no build is begun"):
        preparer.prepare(MODEL, lambda *_: None)
    assert not list(tmp_path.glob("cache/engines/*/*"))


@pytest.mark.slow
def test_a_model_that_names_its_classes_is_believed_where_nobody_else_does(preparer, tmp_path):
    """Names in the file's metadata are shown; one too few is no error (O-10)."""
    place = tmp_path / "state" / "models" / MODEL
    card = (place / "model.toml").read_text()
    (place / "model.toml").write_text(re.sub(r"(?m)^labels = .*\n", "", card))
    model = onnx.load(place / "model.onnx")
    onnx.helper.set_model_props(model, {"names": "{0: 'ripe'}"})
    onnx.save(model, place / "model.onnx")
    prepared = preparer.prepare(MODEL, lambda *_: None)
    prepared.served.engine.close()
    assert prepared.served.labels == ("ripe",)
    (place / "labels.txt").write_text("red\ngreen\n")
    prepared = preparer.prepare(MODEL, lambda *_: None)
    prepared.served.engine.close()
    assert prepared.served.labels == ("red", "green")


@pytest.mark.slow
def test_engines_are_listed_and_those_of_nobody_removed(tmp_path):
    """The one in use stays, an older one and one set aside go, and both are told."""
    environ = station_environ(tmp_path)
    assert run(environ, "build").returncode == 0
    (used,) = tmp_path.glob(f"cache/engines/{MODEL}/*")
    for name in ("0123456789abcdef", "fedcba9876543210.refused"):
        shutil.copytree(used, used.with_name(name))
    listed = run(environ, "engines", "list").stdout
    assert used.name in listed
    assert "could not be loaded, set aside" in listed
    pruned = run(environ, "engines", "prune")
    assert pruned.returncode == 0, pruned.stderr
    assert f"removed {MODEL}/0123456789abcdef" in pruned.stdout
    assert list(used.parent.iterdir()) == [used]
