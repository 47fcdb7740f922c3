"""What the engine room knows of one model."""

from dataclasses import dataclass, field, replace

from appliance.errors import ApplianceError
from appliance.pipeline.served import ServedModel
from appliance.readings import EngineReading
from appliance.values import EngineState


@dataclass(slots=True)
class Place:
    """One model's place in the room.

    Attributes:
        blank: its reading before anything runs.
        running: its reading as of the engine that was installed last; None before the first.
        served: what that engine serves.
        trouble: why no result comes; None where results come, or nothing runs yet.
        under_way: what is being done, and 0..1 of it.
        given: engines that were put in place since it was brought up last.
        in_a_row: failures since the last result.
        unknown: results that were no numbers.
        doubt: how the last of them was, until a while has passed without another.
        doubted_ns: when it came.
        given_up: backends that failed in this run, and how.
        is_wanted: it waits to be brought up.
    """

    blank: EngineReading
    running: EngineReading | None = None
    served: ServedModel | None = None
    trouble: ApplianceError | None = None
    under_way: tuple[str, float | None] | None = None
    given: int = 0
    in_a_row: int = 0
    failures: int = 0
    unknown: int = 0
    doubt: str = ""
    doubted_ns: int = 0
    replacements: int = 0
    given_up: dict[str, str] = field(default_factory=dict)
    is_wanted: bool = True

    def reading(self) -> EngineReading:
        """At this moment."""
        counted = self._counted(self.running or self.blank)
        if self.under_way is not None:
            sentence, progress = self.under_way
            if self.running is not None and self.trouble is None:
                return replace(counted, sentence=sentence, progress=progress)
            return replace(
                self._counted(self.blank),
                state=EngineState.BUILDING,
                sentence=sentence,
                progress=progress,
                fallback="; ".join(self.given_up.values()),
            )
        if self.trouble is not None:
            return replace(
                counted,
                state=EngineState.FAILED,
                sentence=str(self.trouble),
                next_step=self.trouble.hint,
            )
        return replace(counted, doubt=self.doubt)

    def _counted(self, reading: EngineReading) -> EngineReading:
        return replace(
            reading,
            failures=self.failures,
            unknown=self.unknown,
            replacements=self.replacements,
        )
