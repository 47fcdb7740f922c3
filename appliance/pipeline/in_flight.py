"""What the loop has under way: whose picture is in which slot of which engine."""

from dataclasses import dataclass
from typing import Protocol

from appliance.buffers import Lease
from appliance.errors import EngineError
from appliance.geometry import Fit
from appliance.pipeline.asked import Asked
from appliance.pipeline.served import ServedModel
from appliance.runtimes import EngineSlot


class FrameSource(Protocol):
    """What the loop needs of a camera."""

    def take(self, after_sequence: int) -> Lease | None:
        """The newest frame past `after_sequence`, or None; never waits."""


@dataclass(slots=True)
class Lane:
    """One camera and the model that looks at it."""

    key: str
    source: FrameSource
    model: str
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """A camera's."""

    lane: Lane
    lease: Lease


@dataclass(frozen=True, slots=True, eq=False)
class InFlight:
    """A picture in a slot of an engine."""

    origin: Frame | Asked
    model: ServedModel
    slot: EngineSlot
    fit: Fit
    submitted_ns: int

    def give_back(self) -> None:
        """The slot is free again, and so is the camera's."""
        self.model.free.append(self.slot)
        if isinstance(self.origin, Frame):
            self.origin.lease.release()

    def give_up(self, error: EngineError) -> None:
        """Whoever waits for it gets an error, and the slot is nobody's any more."""
        if isinstance(self.origin, Frame):
            self.origin.lease.release()
        else:
            self.origin.answer.set_exception(error)

    @property
    def is_asked(self) -> bool:
        """Whether it is a person's picture, and no camera's."""
        return isinstance(self.origin, Asked)

    @property
    def queue(self) -> tuple[str, bool]:
        """What it keeps its order in: a camera's frames wait for no person's picture."""
        return self.model.name, self.is_asked

    def is_overdue(self, now_ns: int) -> bool:
        """Whether a person's picture keeps the engine for longer than it may."""
        return self.is_asked and now_ns - self.submitted_ns > self.model.patience_s * 1e9
