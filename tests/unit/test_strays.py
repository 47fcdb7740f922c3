"""What lies among the models and is none is told with what to do; the rest is left alone."""

import os
from pathlib import Path

import pytest

from appliance.catalog.strays import MOST, strays


def put(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["yolo.onnx"], "models/yolo.onnx: a file alone is no model. Make a folder for it"),
        (["YOLO.ONNX"], "a file alone is no model"),
        (["best.pt"], "a file alone is no model"),
        (["parts/model.onnx"], "models/parts: it has no card. Write its model.toml"),
        (["parts/yolo.onnx", "parts/labels.txt"], "it has no card"),
        (["My Parts/model.onnx", "My Parts/model.toml"], "models/My Parts: its name is no model's"),
    ],
)
def test_a_model_without_a_card_or_a_name_is_told_with_what_to_do(tmp_path, files, told):
    """Whoever has put it there wonders why nothing happens."""
    put(tmp_path, *files)
    (stray,) = strays(tmp_path, ())
    assert told in stray.sentence()
    assert stray.hint


@pytest.mark.parametrize(
    "files",
    [
        ["known/model.onnx"],
        ["known/model.onnx", "known/model.toml"],
        ["parts/model.toml"],
        ["notes.txt", "pictures/a.jpg", ".pull-1/model.onnx", ".hidden.onnx"],
        [],
    ],
)
def test_models_and_what_is_meant_for_none_are_not_told(tmp_path, files):
    """Weights of a shipped card need no card of their own; notes are notes."""
    put(tmp_path, *files)
    assert strays(tmp_path, {"known", "parts"}) == ()


def test_a_folder_that_may_be_listed_and_not_entered_is_told_as_well(tmp_path, monkeypatch):
    """Its names are enough: nobody asks for what lies behind them."""
    put(tmp_path, "parts/model.onnx")
    is_file = Path.is_file

    def guarded(path: Path) -> bool:
        if path.parent.name == "parts":
            raise PermissionError
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", guarded)
    (stray,) = strays(tmp_path, ())
    assert stray.reason == "it has no card"


def test_names_that_no_terminal_should_see_are_escaped(tmp_path):
    """Neither control sequences nor bytes that are no text reach whoever reads it."""
    put(tmp_path, "a\x1b[31m.onnx")
    (tmp_path / os.fsdecode(b"\xdc.onnx")).write_bytes(b"x")
    told = [stray.sentence() for stray in strays(tmp_path, ())]
    assert len(told) == 2
    assert all(line.isprintable() and line.isascii() for line in told)


def test_a_folder_full_of_them_or_none_at_all_is_no_trouble(tmp_path):
    """The first ones tell enough."""
    put(tmp_path, *(f"{number}.onnx" for number in range(100)))
    assert len(strays(tmp_path, ())) == MOST
    assert strays(tmp_path / "nowhere", ()) == ()
