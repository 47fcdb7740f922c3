"""Work that an engine has in one of its slots."""

from dataclasses import dataclass

from appliance.geometry import Fit
from appliance.pipeline.served import ServedModel
from appliance.pipeline.work import Inference, Urgency, Work
from appliance.runtimes import EngineSlot


@dataclass(frozen=True, slots=True, eq=False)
class InFlight:
    """Submitted, and not finished.

    Attributes:
        work: whose picture it is.
        model: what looks at it.
        slot: where it is.
        fit: from the picture to the slot.
        submitted_ns: monotonic.
        is_charged: whether it went before cameras, by the share of its urgency.
    """

    work: Work
    model: ServedModel
    slot: EngineSlot
    fit: Fit
    submitted_ns: int
    is_charged: bool

    @property
    def is_live(self) -> bool:
        """Whether it is a camera's."""
        return self.work.urgency is Urgency.LIVE

    def age_s(self, now_ns: int) -> float:
        """Since the submit."""
        return (now_ns - self.submitted_ns) / 1e9

    def over(self, ready_ns: int) -> Inference:
        """As its work wants it."""
        return Inference(self.model, self.slot, self.fit, self.submitted_ns, ready_ns)
