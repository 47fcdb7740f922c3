"""Names of variables of earlier releases: read, told, and never beside the new ones."""

import pytest

from appliance.settings import SettingsProblems, load, old_name_notices
from appliance.settings.old_names import name_in_use

CAMERAS = {"CAMERAS__DOOR__URL": "rtsp://192.0.2.1/", "CAMERAS__YARD__URL": "rtsp://192.0.2.2/"}


@pytest.fixture
def read(tmp_path):
    """Settings of a station with two cameras and these variables."""

    def read(**variables):
        environ = {f"APPLIANCE_{name}": text for name, text in {**CAMERAS, **variables}.items()}
        return load(environ, secrets_dir=tmp_path / "no-secrets").settings

    return read


def test_an_old_name_holds_for_every_camera_that_says_nothing_of_it(read):
    """A station keeps what it had over an update."""
    settings = read(DETECTION__CONFIDENCE="0.5", DETECTION__CLASSES="person=0.7, car")
    for key in ("door", "yard"):
        assert settings.judging(key) == (0.5, {"person": 0.7, "car": None})


def test_an_old_name_is_told_with_the_lines_that_take_its_place(read):
    """Each can be copied."""
    told = list(old_name_notices(read(DETECTION__CLASSES="person=0.7, car")))
    assert told == [
        "APPLIANCE_DETECTION__CLASSES is an old name, read until version 1.0: write "
        "APPLIANCE_CAMERAS__DOOR__CLASSES=person=0.7, car and "
        "APPLIANCE_CAMERAS__YARD__CLASSES=person=0.7, car in its place"
    ]
    new = {"CAMERAS__DOOR__CLASSES": "person=0.7, car", "CAMERAS__YARD__CLASSES": "person=0.7, car"}
    assert read(**new).judging("door") == read(DETECTION__CLASSES="person=0.7, car").judging("door")
    assert list(old_name_notices(read(**new))) == []


def test_a_camera_has_thresholds_of_its_own(read):
    """Of one camera, and its model's where it says none."""
    settings = read(CAMERAS__DOOR__CONFIDENCE="0.6", CAMERAS__YARD__CLASSES="dog")
    assert settings.judging("door") == (0.6, {})
    assert settings.judging("yard") == (None, {"dog": None})


@pytest.mark.parametrize(("name", "text"), [("CONFIDENCE", "0"), ("CLASSES", "person")])
def test_an_old_name_beside_a_new_one_is_a_mistake(read, name, text):
    """Which of them holds would be a guess; of a threshold of 0 as well."""
    with pytest.raises(SettingsProblems) as caught:
        read(**{f"DETECTION__{name}": text, f"CAMERAS__DOOR__{name}": text})
    (problem,) = caught.value.problems
    assert problem.variable == f"APPLIANCE_DETECTION__{name}"
    assert f"APPLIANCE_CAMERAS__DOOR__{name}, which is set as well" in problem.problem


def test_while_an_old_name_is_set_it_is_the_one_to_change(read):
    """Beside it the new one would be a mistake."""
    settings = read(DETECTION__CONFIDENCE="0.5")
    assert name_in_use(settings, "door", "confidence") == "APPLIANCE_DETECTION__CONFIDENCE"
    assert name_in_use(settings, "door", "classes") == "APPLIANCE_CAMERAS__DOOR__CLASSES"
