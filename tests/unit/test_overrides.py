"""What people put in the place of the settings of detection, until the next start."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import SettingsError
from appliance.pipeline.criteria import Criteria
from appliance.pipeline.overrides import Overrides
from appliance.settings.forms import parse_class_map
from tests.support.fakes import LevelEngine, served
from tests.support.web import variable_of

USUAL = Criteria(0.3)
CONFIDENCE, CLASSES = "APPLIANCE_CAMERAS__DOOR__CONFIDENCE", "APPLIANCE_CAMERAS__DOOR__CLASSES"
NAMES = st.text("abcdefgh -_,=[{\"'", min_size=1).map(str.strip).filter(bool)
THRESHOLDS = st.none() | st.integers(0, 100).map(lambda percent: percent / 100)


class Bench:
    def __init__(self, usual=USUAL, labels=("person", "car"), **others):
        self.judged = []
        self.overrides = Overrides(
            {"door": usual, **others},
            usual=USUAL,
            name_of=variable_of,
            judge_by=self.judged.append,
            labels=lambda: frozenset(labels),
            wall_s=lambda: 1000.0,
        )


def test_an_override_says_who_when_and_how_to_keep_it():
    """Everything that the page shows of it, and the lines to copy."""
    one = Bench()
    reading = one.overrides.set(Criteria(0.45, {"person": 0.5, "car": None}), "otto")
    assert one.overrides.reading() == reading
    assert (reading.user, reading.since_s, reading.confidence) == ("otto", 1000.0, 0.45)
    assert reading.lines == (f"{CONFIDENCE}=0.45", f"{CLASSES}=person=0.5, car")


def test_only_what_differs_from_the_settings_needs_a_line():
    """Nobody copies what is there already; all classes again are an empty variable."""
    one = Bench(Criteria(0.3, {"car": None}))
    assert one.overrides.set(Criteria(0.3, {}), "otto").lines == (f"{CLASSES}=",)
    assert one.overrides.set(Criteria(0.6, {"car": None}), "otto").lines == (f"{CONFIDENCE}=0.6",)


def test_each_camera_whose_settings_differ_needs_its_own_lines():
    """An override is of all cameras; one whose settings say it already needs no line."""
    one = Bench(yard=Criteria(0.6), gate=Criteria(0.6, {"car": None}))
    assert one.overrides.set(Criteria(0.6), "otto").lines == (
        f"{CONFIDENCE}=0.6",
        "APPLIANCE_CAMERAS__GATE__CLASSES=",
    )


def test_an_old_name_is_one_line_for_all_cameras():
    """While it is set, it is the one to change; see appliance/settings/old_names.py."""
    one = Bench(yard=USUAL)
    one.overrides._name_of = lambda _camera, field: f"APPLIANCE_DETECTION__{field}".upper()
    assert one.overrides.set(Criteria(0.6), "otto").lines == (
        "APPLIANCE_DETECTION__CONFIDENCE=0.6",
    )


def test_what_the_settings_say_is_no_override():
    """Set back by hand, the override is over."""
    one = Bench()
    one.overrides.set(Criteria(0.45, {}), "otto")
    assert one.overrides.set(Criteria(0.3, {}), "otto") is None
    assert one.overrides.reading() is None
    assert one.judged[-1] is None


def test_ending_an_override_brings_the_settings_back():
    """The loop judges by its models' own rules; ending nothing changes nothing."""
    one = Bench()
    one.overrides.set(Criteria(0.45, {}), "otto")
    assert one.overrides.end()
    assert one.overrides.reading() is None
    assert one.judged[-1] is None
    assert not one.overrides.end()


def test_a_class_that_no_model_knows_is_refused():
    """Else a class that is not there would hide everything; the names there are help."""
    one = Bench()
    with pytest.raises(SettingsError, match="'boat'") as caught:
        one.overrides.set(Criteria(0.3, {"boat": None}), "otto")
    assert "car, person" in caught.value.hint
    assert one.overrides.reading() is None
    many = Bench(labels=[f"class {index:03}" for index in range(80)])
    with pytest.raises(SettingsError) as caught:
        many.overrides.set(Criteria(0.3, {"x": None}), "otto")
    assert "and 68 more" in caught.value.hint


def test_before_any_model_is_there_every_class_is_taken():
    """While the engine is built, nobody knows the classes."""
    assert Bench(labels=()).overrides.set(Criteria(0.3, {"person": None}), "otto") is not None


def test_the_thresholds_of_an_override_are_of_the_models_own_classes():
    """Classes that are not named are left out; those without a threshold have the common one."""
    model = served("m", LevelEngine())
    model.labels = ("person", "car", "dog")
    thresholds = Criteria(0.4, {"person": 0.7, "car": None}).thresholds(model)
    assert thresholds.by_class.tolist() == pytest.approx([0.7, 0.4, np.inf])
    assert thresholds.other == np.inf


@given(st.floats(0, 1).map(lambda value: round(value, 2)), st.dictionaries(NAMES, THRESHOLDS))
def test_the_lines_mean_what_acts(confidence, classes):
    """Set as variables, they give the very same thresholds."""
    wanted = Criteria(confidence, classes)
    assert parse_class_map(wanted.classes_text()) == classes
    said = dict(line.split("=", 1) for line in wanted.lines(USUAL, partial(variable_of, "door")))
    assert float(said.get(CONFIDENCE, 0.3)) == confidence
    assert parse_class_map(said.get(CLASSES, "")) == classes
