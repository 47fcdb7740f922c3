"""What is known of an engine's agreement with the original: figures and a verdict."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from appliance.errors import ApplianceError
from appliance.values import Precision


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value.

    Attributes:
        title: what was measured.
        value: in `unit`.
        unit: as "px"; empty where there is none.
        digits: of the value, behind the point, for a person.
        limit: what is asked for; None where nothing is.
        is_least: whether the limit is the least, and not the most.
    """

    title: str
    value: float
    unit: str = ""
    digits: int = 0
    limit: float | None = None
    is_least: bool = False

    @property
    def is_fine(self) -> bool:
        """Whether the value is within the limit."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.is_least else self.value <= self.limit

    @property
    def measured(self) -> str:
        """The value for a person."""
        return f"{self.value:.{self.digits}f} {self.unit}".strip()

    @property
    def asked(self) -> str:
        """The limit for a person; empty where nothing is asked for."""
        if self.limit is None:
            return ""
        return f"{'≥' if self.is_least else '≤'} {self.limit:g} {self.unit}".strip()


@dataclass(frozen=True, slots=True)
class Verification:
    """The verdict with its figures.

    Attributes:
        verdict: "proven"; "unproven" where too little could be compared; "refused";
            "unverified" where nothing here runs the engine.
        precision: what was tried.
        device: serial of the device that it was made on; empty where on none.
        computes: multiplying layers by the numbers they compute in, as the engine tells.
        reason: why it is refused; else empty.
        hint: what to do about it.
        frames: how many frames were compared; 0 means a test picture only.
        summary: what is proven, or what is missing for a proof, as the task's measure says it.
        figures: what was measured, by the names of the task's measure.
    """

    verdict: str
    precision: Precision
    device: str = ""
    computes: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""
    hint: str = ""
    frames: int = 0
    summary: str = ""
    figures: Mapping[str, Figure] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Verification":
        """From what `as_dict` made.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: it did not make that.
        """
        precision = Precision(document["precision"])
        figures = {name: Figure(**each) for name, each in document.get("figures", {}).items()}
        return cls(**{**document, "precision": precision, "figures": figures})

    @classmethod
    def without_device(cls, precision: Precision) -> "Verification":
        """Of an engine that nothing here can run."""
        return cls("unverified", precision)

    @classmethod
    def impossible(cls, precision: Precision, error: ApplianceError) -> "Verification":
        """Of an engine that could not be built or loaded."""
        return cls("refused", precision, reason=str(error), hint=error.hint)

    def as_dict(self) -> dict[str, Any]:
        """For the sidecar."""
        return asdict(self)

    def sentence(self) -> str:
        """For a person."""
        if self.verdict == "proven":
            return f"proven: {self.summary}"
        if self.verdict == "refused":
            return f"refused: {self.reason}"
        if self.verdict == "unverified":
            return "unverified: no device here runs it; it is compared on the one that will"
        return (
            f"unproven: {self.summary}; "
            "add frames to the model's verify folder, or set APPLIANCE_VERIFY__PICTURES"
        )
