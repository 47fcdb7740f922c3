"""What counts as seen by each camera of a station: by its settings, or by its model's card."""

import pytest

from appliance.app.judging import criteria_of, criteria_without_cameras
from appliance.pipeline.criteria import Criteria
from appliance.settings import load
from tests.support.models import write_bright_spots


@pytest.fixture
def criteria(tmp_path):
    """Of a station whose model's card says a confidence, and these variables."""
    folder = tmp_path / "models" / "bright-spots"
    write_bright_spots(folder)
    card = folder / "model.toml"
    card.write_text(card.read_text().replace("[detection]", "[detection]\nconfidence = 0.6"))

    def criteria(of=criteria_of, **variables):
        environ = {
            "APPLIANCE_MODEL": folder.name,
            "APPLIANCE_PATHS__STATE": str(tmp_path),
            **{f"APPLIANCE_{name}": text for name, text in variables.items()},
        }
        return of(load(environ, secrets_dir=tmp_path / "no-secrets").settings)

    return criteria


def test_a_camera_that_says_nothing_has_its_models_confidence(criteria):
    """And one that says something has its own; each has its classes."""
    found = criteria(
        CAMERAS__DOOR__URL="rtsp://192.0.2.1/",
        CAMERAS__YARD__URL="rtsp://192.0.2.2/",
        CAMERAS__YARD__CONFIDENCE="0.7",
        CAMERAS__YARD__CLASSES="red=0.9",
    )
    assert found == {"door": Criteria(0.6), "yard": Criteria(0.7, {"red": 0.9})}


def test_a_station_without_cameras_begins_with_its_models_confidence(criteria):
    """The page has a slider before there is a camera."""
    assert criteria(criteria_without_cameras) == Criteria(0.6)


def test_a_model_whose_card_cannot_be_read_has_the_usual_confidence(criteria):
    """Why it cannot be read is said where the model is brought up."""
    found = criteria(CAMERAS__DOOR__URL="rtsp://192.0.2.1/", CAMERAS__DOOR__MODEL="nowhere")
    assert found == {"door": Criteria(0.3)}
