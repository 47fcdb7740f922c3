"""What people have put in the place of the cameras' criteria, until the next start.

It acts on all cameras and for everybody at once: live views, metrics, results. The page shows who
did it, and the lines that would make it last.
"""

import threading
from collections.abc import Callable, Mapping
from functools import partial

from appliance.errors import SettingsError
from appliance.pipeline.criteria import Criteria
from appliance.readings import OverrideReading


class Overrides:
    """At most one at a time; from any thread.

    Attributes:
        usual: of all cameras together, by the settings.

    Args:
        of_cameras: by the settings.
        usual: of all cameras together, by the settings.
        name_of: the variable that says an attribute of a camera's criteria, by key and attribute.
        judge_by: has the loop judge all cameras' frames so; None: by the settings.
        labels: the classes that models in use know; empty while none is known.
        wall_s: wall clock, for labels.
    """

    def __init__(
        self,
        of_cameras: Mapping[str, Criteria],
        *,
        usual: Criteria,
        name_of: Callable[[str, str], str],
        judge_by: Callable[[Criteria | None], None],
        labels: Callable[[], frozenset[str]],
        wall_s: Callable[[], float],
    ) -> None:
        self.usual = usual
        self._of_cameras = of_cameras
        self._name_of = name_of
        self._judge_by = judge_by
        self._labels = labels
        self._wall_s = wall_s
        self._lock = threading.Lock()
        self._reading: OverrideReading | None = None

    def reading(self) -> OverrideReading | None:
        """The one that acts now."""
        return self._reading

    def set(self, wanted: Criteria, user: str) -> OverrideReading | None:
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
        every = (
            line
            for key, usual in self._of_cameras.items()
            for line in wanted.lines(usual, partial(self._name_of, key))
        )
        lines = tuple(dict.fromkeys(every))  # an old name is one line for all cameras
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
            self._judge_by(wanted)
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
