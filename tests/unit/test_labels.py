"""Class names: who is believed, and what is done with a stranger's text."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from appliance.catalog.card import read_card
from appliance.catalog.inspection import TensorInfo
from appliance.catalog.labels import (
    MAX_TEXT_BYTES,
    Labels,
    LabelSource,
    choose_labels,
    parse_names,
    read_label_file,
)
from appliance.errors import ModelError
from appliance.optimizer import heads
from appliance.optimizer.heads import Head, class_count
from appliance.predictions import Instances, Result
from appliance.registry import plugins
from appliance.values import FrameStamp


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{0: 'person', 1: 'car', 2: 'dog'}", ("person", "car", "dog")),
        ('{"0": "person", "1": "car"}', ("person", "car")),
        ('["person", "car"]', ("person", "car")),
        ("('person', 'car')", ("person", "car")),
        ("""{0: "driver's seat", 1: 'car'}""", ("driver's seat", "car")),
        ("{0: 'person', 2: 'dog'}", ("person", "", "dog")),
        ("  {0: 'person'}\n", ("person",)),
        ("{}", ()),
    ],
)
def test_names_are_read_from_every_usual_notation(text, expected):
    """Names are read as a list or mapping, in Python's notation or JSON (O-10)."""
    assert parse_names(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "person, car",
        "",
        "3",
        "{0: 1}",
        "{-1: 'a'}",
        "{'x': 'a'}",
        "{0.5: 'a'}",
        "{999999: 'a'}",
        "[" * 5000,
        "'\\x",
    ],
)
def test_other_text_is_refused(text):
    """Text that names nothing by class id is refused in one line, whatever it is (O-10)."""
    with pytest.raises(ModelError, match="expected a list or a mapping"):
        parse_names(text)


def test_a_call_is_never_run(tmp_path):
    """A function call in the place of names is not run (O-10)."""
    trap = tmp_path / "trap"
    with pytest.raises(ModelError):
        parse_names(f"__import__('pathlib').Path({str(trap)!r}).touch()")
    with pytest.raises(ModelError):
        parse_names(f"[__import__('pathlib').Path({str(trap)!r}).touch()]")
    assert not trap.exists()


def test_names_have_a_largest_size():
    """Names longer than the cap are refused before they are parsed (O-10)."""
    with pytest.raises(ModelError, match="at most"):
        parse_names("[" + "'a'," * (MAX_TEXT_BYTES // 4) + "]")


@pytest.mark.parametrize(
    ("operator", "card", "embedded", "expected"),
    [
        (("a",), ("b",), ("c",), Labels(("a",), LabelSource.OPERATOR)),
        ((), ("b",), ("c",), Labels(("b",), LabelSource.CARD)),
        ((), (), ("c",), Labels(("c",), LabelSource.FILE)),
        ((), (), (), Labels((), LabelSource.NONE)),
    ],
)
def test_the_operator_is_believed_first(operator, card, embedded, expected):
    """The operator's names win over the card's, and those over the model file's (O-10)."""
    assert choose_labels(operator=operator, card=card, embedded=embedded) == expected


def test_an_unknown_class_has_a_name_too():
    """A class id without a name shows as class_7 and never fails (O-10)."""
    ids = np.array([0, 1, 2, 7], np.int32)
    seen = Instances(np.zeros((4, 4), np.float32), np.ones(4, np.float32), ids)
    result = Result(
        "door", FrameStamp(1, 0, 0.0), (4, 3), "detection", seen, 1.0, 1, ("person", "", "dog")
    )
    assert result.names() == ["person", "class_1", "dog", "class_7"]


@pytest.mark.parametrize(
    ("head", "shapes", "expected"),
    [
        ("centernet", {"keypoints": (1, 16, 16, 2), "wh": (1, 16, 16, 4)}, 2),
        ("yolov8", {"output0": (1, 84, 8400)}, 80),
        ("yolov8", {"output0": ("batch", 84, 8400)}, 80),
        ("yolov8", {"output0": ("batch", "rows", "columns")}, 0),
        ("yolov5", {"output0": (1, 25200, 85)}, 80),
        ("yolox", {"output": (1, 3549, 85)}, 80),
        ("fastestdet", {"output": (1, 85, 22, 22)}, 80),
        ("end_to_end", {"output0": (1, 300, 6)}, 0),
        ("centernet", {"output0": (1, 84, 8400)}, 0),
        ("yolov8", {"output0": None}, 0),
    ],
)
def test_the_number_of_classes_is_read_off_the_outputs(head, shapes, expected, bright_spots):
    """Each head knows where its classes lie; 0 is said where shapes do not tell."""
    card = read_card(bright_spots / "model.toml")
    nameless = replace(
        card,
        input=replace(card.input, size_wh=(416, 416)),
        table=replace(card.table, labels=()),
    )
    outputs = [TensorInfo(name, "float32", shape) for name, shape in shapes.items()]
    assert class_count(plugins(heads, "HEAD", Head)[head], outputs, nameless) == expected


def test_a_wrong_number_of_names_is_one_warning():
    """A wrong number of names is told once, with both numbers; no names at all are fine (O-10)."""
    three = Labels(("a", "b", "c"), LabelSource.CARD)
    for count in (2, 5):
        assert three.mismatch(count) == (
            f"labels: expected {count} names for the model's classes, got 3 from the model's card"
        )
    assert three.mismatch(3) == ""
    assert three.mismatch(0) == ""
    assert Labels((), LabelSource.NONE).mismatch(5) == ""


def test_a_label_file_keeps_its_line_numbers(tmp_path):
    """A blank line in a label file leaves its class unnamed; trailing ones are dropped."""
    file = tmp_path / "labels.txt"
    file.write_bytes(b"\xef\xbb\xbf person \r\n\r\ndog\r\n\r\n\n")
    assert read_label_file(file) == ("person", "", "dog")


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a\n" * MAX_TEXT_BYTES])
def test_a_wrong_label_file_is_refused(tmp_path: Path, data):
    """A label file that is not UTF-8, or too large, is refused with its name."""
    file = tmp_path / "labels.txt"
    file.write_bytes(data)
    with pytest.raises(ModelError, match=r"labels\.txt: expected") as caught:
        read_label_file(file)
    assert caught.value.hint


def test_names_with_letters_that_cannot_be_shown_are_escaped():
    """A stranger's name never ends a line of settings that somebody copies, or of the log."""
    chosen = choose_labels(operator=(), card=("a\nAPPLIANCE_X=1", "tür"), embedded=())
    assert chosen.names == ("a\\nAPPLIANCE_X=1", "tür")
