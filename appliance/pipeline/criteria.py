"""What counts as seen by a camera: by its settings, or by what a person has put in their place."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from appliance.pipeline.served import ServedModel
from appliance.settings.fields import as_text
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
        return as_text(self.classes)

    def lines(self, usual: "Criteria", name_of: Callable[[str], str]) -> Iterator[str]:
        """The lines that make it last, where it differs from what is usual.

        Args:
            usual: by the settings.
            name_of: the variable that says one of our attributes, by the attribute's name.
        """
        if self.confidence != usual.confidence:
            yield f"{name_of('confidence')}={self.confidence:g}"
        if dict(self.classes) != dict(usual.classes):
            yield f"{name_of('classes')}={self.classes_text()}"

    def thresholds(self, model: ServedModel) -> Thresholds:
        """Of the model's own classes."""
        return Thresholds.of(model.labels, confidence=self.confidence, classes=self.classes)


EVERYTHING = Criteria(0.0)
