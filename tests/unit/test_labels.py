"""Class names: who is believed, and what is done with a stranger's text."""

from pathlib import Path

import pytest

from appliance.catalog.labels import (
    MAX_TEXT_BYTES,
    Labels,
    LabelSource,
    choose_labels,
    parse_names,
    read_label_file,
)
from appliance.errors import ModelError


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


@pytest.mark.parametrize(
    ("class_id", "expected"),
    [(0, "person"), (1, "class_1"), (2, "dog"), (7, "class_7"), (-1, "class_-1")],
)
def test_an_unknown_class_has_a_name_too(class_id, expected):
    """A class id without a name shows as class_7 and never fails (O-10)."""
    assert Labels(("person", "", "dog"), LabelSource.CARD).label(class_id) == expected


def test_a_wrong_number_of_names_is_one_warning():
    """A wrong number of names is told once, with both numbers; no names at all are fine (O-10)."""
    three = Labels(("a", "b", "c"), LabelSource.CARD)
    for count in (2, 5):
        assert three.mismatch(count) == (
            f"labels: expected {count} names for the model's classes, got 3 from the model's card"
        )
    assert three.mismatch(3) == ""
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
