"""What people have put in the place of the settings of detection, until the next start.

It acts for everybody at once: live views, metrics, results. The page shows who did it, and the
lines that would make it last.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from appliance.errors import SettingsError
from appliance.pipeline.served import ServedModel, ThresholdsOf
from appliance.readings import OverrideReading
from appliance.tasks import Thresholds

Classes = Mapping[str, float | None]
CONFIDENCE, CLASSES = "APPLIANCE_DETECTION__CONFIDENCE", "APPLIANCE_DETECTION__CLASSES"


@dataclass(frozen=True, slots=True)
class Detecting:
    """What counts as seen.

    Attributes:
        confidence: score from which a detection counts.
        classes: those that count, each with a threshold of its own where it has one; all if empty.
    """

    confidence: float
    classes: Classes

    def classes_text(self) -> str:
        """As a variable holds it."""
        return ", ".join(
            name if threshold is None else f"{name}={threshold:g}"
            for name, threshold in self.classes.items()
        )

    def lines(self, usual: "Detecting") -> tuple[str, ...]:
        """The lines that make it last, where it differs from what is usual."""
        lines = []
        if self.confidence != usual.confidence:
            lines.append(f"{CONFIDENCE}={self.confidence:g}")
        if dict(self.classes) != dict(usual.classes):
            lines.append(f"{CLASSES}={self.classes_text()}")
        return tuple(lines)

    def thresholds(self, model: ServedModel) -> Thresholds:
        """Of the model's own classes."""
        return Thresholds.of(model.labels, confidence=self.confidence, classes=self.classes)


class Overrides:
    """At most one at a time; from any thread.

    Args:
        usual: by the settings.
        judge_by: has the loop judge by other thresholds; None: by the settings.
        labels: the classes that models in use know; empty while none is known.
        wall_s: wall clock, for labels.
    """

    def __init__(
        self,
        usual: Detecting,
        *,
        judge_by: Callable[[ThresholdsOf | None], None],
        labels: Callable[[], frozenset[str]],
        wall_s: Callable[[], float],
    ) -> None:
        self.usual = usual
        self._judge_by = judge_by
        self._labels = labels
        self._wall_s = wall_s
        self._lock = threading.Lock()
        self._reading: OverrideReading | None = None

    def reading(self) -> OverrideReading | None:
        """The one that acts now."""
        return self._reading

    def set(self, wanted: Detecting, user: str) -> OverrideReading | None:
        """Let `wanted` act from the next frame on; None where it is what the settings say.

        Raises:
            SettingsError: a class that no model in use knows is named.
        """
        known = self._labels()
        unknown = [name for name in wanted.classes if known and name not in known]
        if unknown:
            raise SettingsError(
                f"no model in use knows the class {unknown[0]!r}",
                hint=f"Known are: {_some(sorted(known))}.",
            )
        lines = wanted.lines(self.usual)
        if not lines:
            self.end()
            return None
        reading = OverrideReading(
            confidence=wanted.confidence,
            classes=wanted.classes_text(),
            user=user,
            since_s=self._wall_s(),
            lines=lines,
        )
        with self._lock:
            self._judge_by(wanted.thresholds)
            self._reading = reading
        return reading

    def end(self) -> bool:
        """Back to the settings; False where nothing was overridden."""
        with self._lock:
            was, self._reading = self._reading, None
            self._judge_by(None)
        return was is not None


def _some(names: list[str], most: int = 12) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
