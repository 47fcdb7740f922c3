"""What counts as seen by each camera: its settings, or what its model's card says."""

from collections.abc import Mapping

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


def is_by_card(settings: Settings, camera: str) -> bool:
    """Whether the camera's confidence is what the card says of the model that serves it now."""
    return settings.judging(camera)[0] is None


def usual_of(settings: Settings, of_cameras: Mapping[str, Criteria]) -> Criteria:
    """What lets through all that those of the cameras do, as one; the model's without cameras."""
    each = list(of_cameras.values()) or [Criteria(_of_card(settings, settings.model))]
    same = all(dict(one.classes) == dict(each[0].classes) for one in each)
    return Criteria(min(one.confidence for one in each), each[0].classes if same else {})


def _of_card(settings: Settings, model: str) -> float:
    """A card that cannot be read is told where the model is brought up."""
    try:
        return library_of(settings).card(model).table.confidence
    except ModelError:
        return Table().confidence
