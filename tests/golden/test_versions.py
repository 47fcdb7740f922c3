"""An engine's key names versions, and each version stands for what the code does."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import appliance
from appliance.engines import rtx
from appliance.errors import ApplianceError
from appliance.optimizer import reference
from appliance.optimizer.key import version_in, versions_of
from appliance.values import Precision
from tests.support import rule_record
from tests.support.detectors import made_model
from tests.support.rule_record import differences, recorded, renew, said_by, versions
from tests.support.rules import RULES
from tests.support.told import agree, told

CLASSIFIER = replace(made_model("yolov8")[1], head="classifier", task="classification")
PACKAGE = Path(appliance.__file__).parent


def test_every_rule_has_golden_inputs_and_a_record():
    """None that is in some engine's key goes without, and none is kept that is in no key."""
    assert set(versions()) == set(RULES) == set(recorded())


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_that_says_something_else_has_another_version(rule):
    """Else a proof of an older rule would stand: move the VERSION, then `make versions`."""
    before = recorded()[rule]
    assert differences(before["says"], said_by(rule)) == []
    assert before["version"] == versions()[rule], "make versions"


MEASURES = "appliance.optimizer.measures"
CHANGES = [
    ("letterbox", "appliance.letterbox.cv2.INTER_LINEAR", cv2.INTER_NEAREST),
    ("geometry", "appliance.geometry._twice", lambda xy: np.array([*xy, *xy], np.float32) + 0.5),
    ("suppression", "appliance.nms.iou_matrix", lambda one, _: np.zeros((len(one), len(one)))),
    ("task detection", "appliance.tasks.detection.has_area", lambda boxes: boxes[:, 0] > 5),
    ("measure detection", f"{MEASURES}.detection.MIN_REFERENCES", 121),
    ("measure classification", f"{MEASURES}.classification.MAX_DRIFT", 0.03),
    ("gate", "appliance.optimizer.verification.MIN_SHARE_COMPUTED", 0.1),
    ("reference", "appliance.optimizer.reference._area_weights", reference._linear_weights),
    ("canonical", "appliance.optimizer.canonical._first_convolution", lambda _: None),
    ("head fastestdet", "appliance.optimizer.heads.fastestdet.POWERS", (0.5, 0.5)),
    ("fp16", "appliance.optimizer.precision.fp16.OVERFLOWING", frozenset({"Conv"})),
    ("backend rtx", "appliance.engines.rtx.ENGINE", replace(rtx.ENGINE, rungs=(Precision.FP32,))),
]


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "place", "change"), CHANGES, ids=[rule for rule, *_ in CHANGES])
def test_a_changed_rule_is_noticed(monkeypatch, rule, place, change):
    """The golden inputs show it: a test that could not fail would hold nothing."""
    monkeypatch.setattr(place, change)
    assert differences(recorded()[rule]["says"], said_by(rule))


def test_another_comment_is_the_same_engine(tmp_path, monkeypatch):
    """Only a moved VERSION is: the text around it is nobody's business."""
    for path in PACKAGE.rglob("*.py"):
        copied = tmp_path / path.relative_to(PACKAGE)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copied)
    before = versions_of(CLASSIFIER, "cpu")
    monkeypatch.setattr(appliance, "__file__", str(tmp_path / "__init__.py"))
    for path in tmp_path.rglob("*.py"):
        path.write_text(f"# Reworded.\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    assert versions_of(CLASSIFIER, "cpu") == before
    path = tmp_path / "letterbox.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(?m)^(VERSION: Final = )1\b", r"\g<1>2", text), encoding="utf-8")
    assert versions_of(CLASSIFIER, "cpu") == {**before, "letterbox": 2}


def test_a_rule_without_a_version_is_an_error(tmp_path, monkeypatch):
    """It could change unseen; a head that is not there is told of by whoever needs it."""
    monkeypatch.setattr(appliance, "__file__", str(tmp_path / "__init__.py"))
    (tmp_path / "letterbox.py").write_text("SIDE = 1\n", encoding="utf-8")
    with pytest.raises(ApplianceError, match=r"letterbox\.py: expected a VERSION"):
        version_in("letterbox.py")
    assert version_in("heads/none.py") == 0


def test_a_key_names_its_own_rules_alone():
    """Another head, task or backend changes nothing of this engine."""
    found = versions_of(CLASSIFIER, "cpu")
    assert {"head classifier", "task classification", "measure classification"} < set(found)
    assert {name for name in found if name.startswith("backend")} == {"backend cpu"}
    assert not [name for name in found if "detection" in name]
    other = versions_of(replace(CLASSIFIER, head="yolov8", task="detection"), "rtx")
    assert {"head yolov8", "task detection", "backend rtx"} < set(other)


def test_the_record_is_not_renewed_over_a_rule_that_has_not_moved(tmp_path, monkeypatch, capsys):
    """Renewing is no way around: the rule that says something else is named."""
    says = {"a": told([1.0])}
    monkeypatch.setattr(rule_record, "RECORD", tmp_path / "versions.json")
    monkeypatch.setattr(rule_record, "versions", lambda: version)
    monkeypatch.setattr(rule_record, "said_by", lambda _rule: says)
    version = {"letterbox": 1}
    assert renew() == 0
    assert renew() == 0
    says = {"a": told([2.0]), "b": told([1.0])}
    assert renew() == 1
    assert "letterbox: says something else" in capsys.readouterr().err
    assert rule_record.recorded()["letterbox"]["says"] == {"a": told([1.0])}
    version = {"letterbox": 2}
    assert renew() == 0
    assert rule_record.recorded()["letterbox"] == {"version": 2, "says": says}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (told([1.0, 2.0]), told([1.0004, 2.0]), True),
        (told([1.0, 2.0]), told([1.01, 2.0]), False),
        (told([1.0, 2.0]), told([1.0]), False),
        (told(np.zeros((8, 8), np.uint8)), told(np.zeros((8, 8), np.int32)), False),
        (told([np.nan]), told([0.0]), False),
        ("Conv 1", "Conv 1", True),
        ("Conv 1", "Conv 2", False),
        ("Conv 1", told([1.0]), False),
    ],
)
def test_the_last_digits_are_the_processors(one, other, same):
    """What libraries round differently is the same; anything more is not."""
    assert agree(one, other) == same


def test_one_moved_row_of_a_large_picture_shows():
    """Means of many numbers, each with signs of its own, tell where they lie."""
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    assert agree(told(picture), told(picture + np.uint8(0)))
    assert not agree(told(picture), told(np.roll(picture, 1, axis=0)))
    assert not agree(told(picture), told(picture[:, ::-1]))
