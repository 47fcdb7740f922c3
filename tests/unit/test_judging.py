"""What counts as seen by each camera of a station: by its settings, or by its model's card."""

import pytest

from appliance.app.judging import criteria_of, usual_of
from appliance.pipeline.criteria import Criteria
from appliance.settings import load
from tests.support.models import write_bright_spots


@pytest.fixture
def settings(tmp_path):
    """Of a station whose model's card says a confidence, and these variables."""
    folder = tmp_path / "models" / "bright-spots"
    write_bright_spots(folder)
    card = folder / "model.toml"
    card.write_text(card.read_text().replace("[detection]", "[detection]\nconfidence = 0.6"))

    def settings(**variables):
        environ = {
            "APPLIANCE_MODEL": folder.name,
            "APPLIANCE_PATHS__STATE": str(tmp_path),
            **{f"APPLIANCE_{name}": text for name, text in variables.items()},
        }
        return load(environ, secrets_dir=tmp_path / "no-secrets").settings

    return settings


def test_a_camera_that_says_nothing_has_its_models_confidence(settings):
    """And one that says something has its own; each has its classes."""
    found = settings(
        CAMERAS__DOOR__URL="rtsp://192.0.2.1/",
        CAMERAS__YARD__URL="rtsp://192.0.2.2/",
        CAMERAS__YARD__CONFIDENCE="0.7",
        CAMERAS__YARD__CLASSES="red=0.9",
    )
    assert criteria_of(found) == {"door": Criteria(0.6), "yard": Criteria(0.7, {"red": 0.9})}


def test_a_station_without_cameras_begins_with_its_models_confidence(settings):
    """The page has a slider before there is a camera."""
    assert usual_of(settings(), {}) == Criteria(0.6)


@pytest.mark.parametrize(
    ("of_cameras", "expected"),
    [
        ([Criteria(0.6), Criteria(0.5)], Criteria(0.5)),
        ([Criteria(0.6, {"car": None})] * 2, Criteria(0.6, {"car": None})),
        ([Criteria(0.6, {"car": None}), Criteria(0.5)], Criteria(0.5)),
    ],
)
def test_what_all_cameras_have_in_common_hides_nothing_of_any(settings, of_cameras, expected):
    """It is what the page begins with, where one field stands for all cameras."""
    assert usual_of(settings(), dict(enumerate(of_cameras))) == expected


def test_a_model_whose_card_cannot_be_read_has_the_usual_confidence(settings):
    """Why it cannot be read is said where the model is brought up."""
    found = criteria_of(
        settings(CAMERAS__DOOR__URL="rtsp://192.0.2.1/", CAMERAS__DOOR__MODEL="nowhere")
    )
    assert found == {"door": Criteria(0.3)}
