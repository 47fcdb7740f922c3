"""Finding and pulling models: the shipped ones and a person's own."""

import fcntl
import hashlib
import os
import socket
from contextlib import chdir, suppress

import pytest

from appliance.catalog.labels import LabelSource
from appliance.catalog.library import Library
from appliance.catalog.origins import obtain
from appliance.errors import ModelError, StoreError

CARD = """
title = "Anything"
license = "MIT"
source = "here"
task = "detection"
head = "centernet"
[input]
size_wh = [320, 320]
[detection]
labels = ["from the card"]
"""
RECIPE = """
def convert(files, destination):
    destination.write_bytes(b"converted " + files["raw.bin"].read_bytes())
"""


class Station:
    """Two folders of models, and a count of downloads."""

    def __init__(self, tmp_path):
        self.shipped, self.own = tmp_path / "shipped", tmp_path / "state" / "models"
        self.raw = tmp_path / "raw.bin"
        self.raw.write_bytes(b"raw")
        self.downloads = 0
        self.library = Library(self.shipped, self.own, obtain_files=self.obtain)

    def obtain(self, origin, destination):
        """Count, and really obtain."""
        self.downloads += 1
        return obtain(origin, destination)

    def add(self, folder, name="camera-model", *, origin_name=None, files=None):
        """Put a model's folder there, with an origin where `origin_name` names its file."""
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(self.raw.read_bytes()).hexdigest()
        origin = f'[origin]\nkind = "file"\npath = "{self.raw}"\nsha256 = "{digest}"\n'
        origin += f'name = "{origin_name}"\n'
        for file, text in {
            "model.toml": CARD + (origin if origin_name else ""),
            **(files or {}),
        }.items():
            (place / file).write_text(text)
        return place


@pytest.fixture
def station(tmp_path):
    """A station without models."""
    return Station(tmp_path)


def test_every_model_with_a_card_is_listed(station):
    """Shipped and own models are listed once each; folders without a card are not models."""
    station.add(station.shipped, "b")
    station.add(station.own, "b")
    station.add(station.own, "a")
    station.add(station.own, ".pull-a")
    (station.own / "empty").mkdir()
    assert station.library.names() == ("a", "b")


@pytest.mark.parametrize("name", ["camera-modl", "../camera-model", ""])
def test_an_unknown_model_lists_the_known_ones(station, name):
    """An unknown name, or one that would leave the folder, is answered with the known ones."""
    station.add(station.shipped)
    with pytest.raises(ModelError, match="expected one of camera-model") as caught:
        station.library.card(name)
    assert caught.value.hint == (
        "choose one of them" if name == "" else "did you mean camera-model?"
    )


def test_missing_weights_say_how_to_get_them(station):
    """A model without its weights is refused with the command that pulls them."""
    station.add(station.shipped, origin_name="raw.bin")
    assert not station.library.is_obtained("camera-model")
    with pytest.raises(ModelError, match=r"model\.onnx is not here") as caught:
        station.library.weights("camera-model")
    assert caught.value.hint == "run: appliance models pull camera-model"


def test_missing_weights_of_a_persons_own_model_say_where_they_go(station):
    """Its card names nothing to pull from, so the command that pulls would not help."""
    folder = station.add(station.own)
    with pytest.raises(ModelError, match=r"model\.onnx is not here") as caught:
        station.library.weights(folder.name)
    assert caught.value.hint == f"put it into {folder}"


def test_a_person_may_bring_the_weights(station):
    """Weights that a person put beside a card are used as they are, and need no pull."""
    place = station.add(station.own, files={"model.onnx": "mine"})
    assert station.library.is_obtained("camera-model")
    assert station.library.weights("camera-model") == place / "model.onnx"
    assert station.library.pull("camera-model") == place / "model.onnx"
    assert station.downloads == 0


def test_a_persons_card_wins(station):
    """A person's card takes the place of the shipped one of the same name."""
    station.add(station.shipped)
    station.add(station.own, files={"model.toml": CARD.replace("Anything", "Mine")})
    assert station.library.card("camera-model").title == "Mine"


def test_a_pull_converts_once(station):
    """A pull converts what it obtained; the next one finds it there and downloads nothing."""
    station.add(station.shipped, origin_name="raw.bin", files={"recipe.py": RECIPE})
    path = station.library.pull("camera-model")
    assert path == station.own / "camera-model" / "model.onnx"
    assert path.read_bytes() == b"converted raw"
    assert station.library.pull("camera-model") == path
    assert station.downloads == 1
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.onnx", "pulled.json"]


@pytest.mark.parametrize("damage", ["weights", "record", "recipe", "size"])
def test_a_pull_is_repeated_where_something_changed(station, damage):
    """Damaged weights, a damaged record, a new recipe or a new size are pulled again."""
    shipped = station.add(station.shipped, origin_name="raw.bin", files={"recipe.py": RECIPE})
    path = station.library.pull("camera-model")
    if damage == "weights":
        path.write_bytes(b"conv")
    elif damage == "record":
        path.with_name("pulled.json").write_text('["made_from"]')
    elif damage == "recipe":
        (shipped / "recipe.py").write_text(RECIPE.replace("converted", "better"))
    else:
        card = shipped / "model.toml"
        card.write_text(card.read_text().replace("[320, 320]", "[416, 416]"))
    station.library.pull("camera-model")
    assert station.downloads == 2
    assert path.read_bytes() == (b"better raw" if damage == "recipe" else b"converted raw")


def test_a_recipe_in_the_state_folder_never_runs(station, tmp_path):
    """A recipe in a person's folder is never loaded, nor the shipped one for a person's card."""
    trap = tmp_path / "trap"
    planted = {"recipe.py": f"open({str(trap)!r}, 'w').close()\n"}
    station.add(station.shipped, origin_name="raw.bin", files={"recipe.py": RECIPE})
    own = station.add(station.own, origin_name="model.onnx", files=planted)
    assert station.library.pull("camera-model").read_bytes() == b"raw"
    (own / "model.toml").unlink()
    assert station.library.pull("camera-model").read_bytes() == b"converted raw"
    assert not trap.exists()


def test_an_origin_without_the_weights_is_refused(station):
    """Without a recipe the origin itself has to bring model.onnx."""
    station.add(station.own, origin_name="raw.bin")
    with pytest.raises(ModelError, match=r"expected a file named model\.onnx, got \['raw\.bin'\]"):
        station.library.pull("camera-model")
    assert [file.name for file in (station.own / "camera-model").iterdir()] == ["model.toml"]


def test_two_pulls_do_not_meet(station):
    """While one pull is under way another is refused, and leftovers of a killed one go."""
    station.add(station.shipped, origin_name="raw.bin", files={"recipe.py": RECIPE})
    folder = station.own / "camera-model"
    (folder / ".pull-killed").mkdir(parents=True)
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(ModelError, match="another pull"):
        station.library.pull("camera-model")
    os.close(descriptor)
    station.library.pull("camera-model")
    assert not (folder / ".pull-killed").exists()


def test_a_state_folder_that_cannot_be_written_is_told(station):
    """A state folder that cannot be written is refused by its name, with what to check."""
    station.add(station.shipped, origin_name="raw.bin", files={"recipe.py": RECIPE})
    station.own.parent.mkdir()
    station.own.write_text("a file in the way")
    with pytest.raises(StoreError) as caught:
        station.library.pull("camera-model")
    assert "owner" in caught.value.hint


def test_a_recipe_without_convert_is_told(station):
    """A damaged installation says so instead of failing somewhere later."""
    station.add(station.shipped, origin_name="raw.bin", files={"recipe.py": "x = 1\n"})
    with pytest.raises(ModelError, match="expected a function convert"):
        station.library.pull("camera-model")


def test_labels_that_cannot_be_read_are_told(station):
    """A labels.txt that is no file is a mistake to be told, not one to be passed over."""
    (station.add(station.own) / "labels.txt").mkdir()
    with pytest.raises(ModelError, match=r"labels\.txt: cannot be read: Is a directory"):
        station.library.labels("camera-model")


def test_the_operators_labels_win(station):
    """The operator's labels.txt wins over the card's names, also for a shipped model (O-10)."""
    station.add(station.shipped)
    labels = station.library.labels("camera-model", embedded=("from the file",))
    assert (labels.names, labels.source) == (("from the card",), LabelSource.CARD)
    (station.own / "camera-model").mkdir(parents=True)
    (station.own / "camera-model" / "labels.txt").write_text("mine\n")
    labels = station.library.labels("camera-model", embedded=("from the file",))
    assert (labels.names, labels.source) == (("mine",), LabelSource.OPERATOR)


def bind(path):
    """A socket, by its name alone: whole paths may be too long for one."""
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)


KINDS = {
    "folder": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "socket": bind,
    "link to itself": lambda path: path.symlink_to(path),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "link to nothing": lambda path: path.symlink_to(path.with_name("nothing")),
    "empty": lambda path: path.touch(),
    "bytes": lambda path: path.write_bytes(b"\xff\x00" * 1000),
    "deep": lambda path: path.write_text("x = " + "[" * 100_000),
    "huge": lambda path: path.touch() or os.truncate(path, 2**33),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the socket's file is what is left of it
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["model.toml", "model.onnx", "labels.txt", "pulled.json"])
def test_whatever_lies_in_a_models_folder_is_an_error_or_is_none(station, name, kind):
    """Nothing is waited for, nothing is read without an end, and no other model suffers."""
    station.add(station.own, "sound", files={"model.onnx": "weights"})
    station.add(station.shipped, origin_name="model.onnx")
    place = station.add(station.own, origin_name="model.onnx", files={"model.onnx": "weights"})
    (place / name).unlink(missing_ok=True)
    KINDS[kind](place / name)
    for ask in (station.library.card, station.library.labels, station.library.is_obtained):
        with suppress(ModelError):
            ask("camera-model")
    with suppress(ModelError, StoreError):
        station.library.pull("camera-model")
    assert "sound" in station.library.names()
    assert station.library.labels("sound").names == ("from the card",)


@pytest.mark.parametrize("kind", ["folder", "empty", "pipe"])
@pytest.mark.parametrize("name", [b"\xdcber", b"a\nb", b"\x1b[2J", b"..\xff", b"model.toml"])
def test_whatever_lies_beside_the_models_is_no_model(station, name, kind):
    """Names that no model can have, with a card in them as well."""
    station.add(station.own, "sound")
    path = station.own / os.fsdecode(name)
    KINDS[kind](path)
    if kind == "folder":
        (path / "model.toml").write_text(CARD)
    assert station.library.names() == ("sound",)
    with pytest.raises(ModelError) as caught:
        station.library.card(os.fsdecode(name))
    str(caught.value).encode()
