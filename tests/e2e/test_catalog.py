"""Models as people bring them, with cards that are wrong or missing: what the commands say."""

import re

import onnx
import pytest

from tests.support.process import MODEL, run, started, station_environ

pytestmark = pytest.mark.slow
CODE = "__import__('os').system('true')"
UNREAD = "the class names in the model file cannot be read"


def test_each_wrong_card_is_a_row_and_the_rest_is_listed(tmp_path):
    """Not the first one alone; who reads the exit status learns of them too."""
    environ = station_environ(tmp_path)
    models = tmp_path / "state" / "models"
    good = run(environ, "models", "list")
    assert good.returncode == 0
    for name, card in (("broken", "task = "), ("empty", ""), ("wrong", 'title = "x"\nhead = 3\n')):
        (models / name).mkdir()
        (models / name / "model.toml").write_text(card)
    listed = run(environ, "models", "list")
    assert listed.returncode == 1
    rows = {line.split()[0]: line for line in listed.stdout.splitlines() if line.split()}
    for name in ("broken", "empty", "wrong"):
        assert "its card is wrong" in rows[name]
        assert len(rows[name]) < 150, "the reason makes the table wide"
        assert f"models/{name}/model.toml: " in listed.stdout
    assert "broken/model.toml: not a TOML file" in listed.stdout
    assert {"centernet-mobilenetv3", MODEL} <= rows.keys()
    assert listed.stderr == ""


def test_a_file_without_a_card_is_told_by_list_and_by_serve(tmp_path):
    """With what to do; the station runs on."""
    environ = station_environ(tmp_path)
    models = tmp_path / "state" / "models"
    (models / "yolo.onnx").write_bytes(b"x")
    (models / "parts").mkdir()
    (models / "parts" / "model.onnx").write_bytes(b"x")
    listed = run(environ, "models", "list")
    assert listed.returncode == 0
    assert "models/yolo.onnx: a file alone is no model" in listed.stdout
    assert "models/parts: it has no card" in listed.stdout
    log = tmp_path / "log"
    with started(environ, log) as station:
        station.wait_until_ready()
    told = log.read_text()
    for name in ("yolo.onnx", "parts"):
        assert len(re.findall(rf"WARNING .*models/{re.escape(name)}: ", told)) == 1


def test_names_that_are_code_are_told_by_build_and_by_serve(tmp_path):
    """The model is served with numbers for names, and nobody has to guess why."""
    environ = station_environ(tmp_path, built=False)
    place = tmp_path / "state" / "models" / MODEL
    card = (place / "model.toml").read_text()
    (place / "model.toml").write_text(re.sub(r"(?m)^labels = .*\n", "", card))
    model = onnx.load(place / "model.onnx")
    onnx.helper.set_model_props(model, {"names": CODE})
    onnx.save(model, place / "model.onnx")
    built = run(environ, "build")
    assert built.returncode == 0, built.stderr
    assert UNREAD in built.stdout
    assert "labels.txt" in built.stdout
    log = tmp_path / "log"
    with started(environ, log) as station:
        station.wait_until_ready()
    assert UNREAD in log.read_text()
    (place / "labels.txt").write_text("red\ngreen\n")
    assert UNREAD not in run(environ, "build").stdout
