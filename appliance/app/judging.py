"""What counts as seen by each camera: its settings, or what its model's card says."""

from appliance.app.assembly import library_of
from appliance.errors import ModelError
from appliance.pipeline.criteria import Criteria
from appliance.settings import Settings
from appliance.tasks import Table


def criteria_of(settings: Settings) -> dict[str, Criteria]:
    """By the cameras' keys."""
    found = {}
    for key, camera in settings.cameras.items():
        confidence, classes = settings.judging(key)
        if confidence is None:
            confidence = _of_card(settings, camera.model or settings.model)
        found[key] = Criteria(confidence, classes)
    return found


def criteria_without_cameras(settings: Settings) -> Criteria:
    """What the page begins with where there is no camera."""
    return Criteria(_of_card(settings, settings.model))


def _of_card(settings: Settings, model: str) -> float:
    """A card that cannot be read is told where the model is brought up."""
    try:
        return library_of(settings).card(model).table.confidence
    except ModelError:
        return Table().confidence
