"""What the inference loop serves: pictures that somebody wants a model to look at."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from appliance.errors import ApplianceError
from appliance.geometry import Fit
from appliance.pipeline.served import ServedModel
from appliance.runtimes import EngineSlot


class Urgency(StrEnum):
    """Who waits for a result. Each has its own queue at each model."""

    LIVE = "live"  # a camera: goes first, and its failure is the engine's
    PEOPLE = "people"  # a person who waits for an answer
    BACKGROUND = "background"  # batch, shadow and text: nobody waits at the moment


OTHERS = (Urgency.PEOPLE, Urgency.BACKGROUND)  # behind the cameras, in the order of their turns


@dataclass(frozen=True, slots=True)
class Inference:
    """One that is over.

    Attributes:
        model: what ran.
        slot: with its outputs; valid until `Work.finish` returns.
        fit: from the picture to the slot.
        submitted_ns: monotonic.
        ready_ns: when the outputs were there, monotonic.
    """

    model: ServedModel
    slot: EngineSlot
    fit: Fit
    submitted_ns: int
    ready_ns: int

    @property
    def duration_ms(self) -> float:
        """From submit to outputs."""
        return (self.ready_ns - self.submitted_ns) / 1e6


class Work(Protocol):
    """One picture for one model; `place` and `finish` are called in the loop's thread.

    It ends once: `place` returns None, `finish` returns, or `fail` is called.
    """

    @property
    def model(self) -> str:
        """The model's name."""

    @property
    def urgency(self) -> Urgency:
        """Who waits for it."""

    @property
    def is_wanted(self) -> bool:
        """False once nobody waits for it any more."""

    def place(self, model: ServedModel, slot: EngineSlot) -> Fit | None:
        """Write the picture into `slot.frames`; None where nobody waits for it any more."""

    def finish(self, inference: Inference) -> None:
        """Take the outputs; if this raises, `fail` is called with the error."""

    def fail(self, error: ApplianceError) -> None:
        """There will be no result; called at most once, before or after `place`.

        Before `place` it may be called in any thread: that of other work which takes its room.
        """
