"""What counts as seen by a camera: by its settings, or by what a person has put in their place."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from appliance.pipeline.served import ServedModel
from appliance.tasks import Thresholds

Classes = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Criteria:
    """What counts as seen.

    Attributes:
        confidence: score from which something counts.
        classes: those that count, each with a threshold of its own where it has one; all if empty.
    """

    confidence: float
    classes: Classes = field(default_factory=dict)

    def classes_text(self) -> str:
        """As a variable holds it."""
        return ", ".join(
            name if threshold is None else f"{name}={threshold:g}"
            for name, threshold in self.classes.items()
        )

    def lines(self, camera: str, usual: "Criteria") -> Iterator[str]:
        """The lines that make it last for a camera, where it differs from what is usual there."""
        of_camera = f"APPLIANCE_CAMERAS__{camera.upper()}__"
        if self.confidence != usual.confidence:
            yield f"{of_camera}CONFIDENCE={self.confidence:g}"
        if dict(self.classes) != dict(usual.classes):
            yield f"{of_camera}CLASSES={self.classes_text()}"

    def thresholds(self, model: ServedModel) -> Thresholds:
        """Of the model's own classes."""
        return Thresholds.of(model.labels, confidence=self.confidence, classes=self.classes)


EVERYTHING = Criteria(0.0)


def common(of_cameras: Iterable[Criteria], otherwise: Criteria) -> Criteria:
    """What lets through all that those of the cameras do, as one.

    Args:
        of_cameras: each camera's.
        otherwise: where there is no camera.
    """
    each = list(of_cameras) or [otherwise]
    same = all(dict(one.classes) == dict(each[0].classes) for one in each)
    return Criteria(min(one.confidence for one in each), each[0].classes if same else {})
