"""What is known of an engine's agreement with the original: limits, figures, a verdict."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from appliance.errors import ApplianceError
from appliance.values import Precision

MIN_REFERENCES = 100  # predictions of the original below which nothing counts as proven


@dataclass(frozen=True, slots=True)
class Limits:
    """How far an engine of one precision may be from the original.

    Attributes:
        f1: least F1 of its predictions.
        box_px: most that the edges of a candidate may move, input pixels.
        score: most that a candidate's score may change.
    """

    f1: float
    box_px: float
    score: float


@dataclass(frozen=True, slots=True)
class Verification:
    """The verdict with its figures.

    Attributes:
        verdict: "proven"; "unproven" where too few predictions could be compared; "refused";
            "unverified" where nothing here runs the engine.
        precision: what was tried.
        device: serial of the device that it was made on; empty where on none.
        computes: multiplying layers by the numbers they compute in, as the engine tells.
        reason: why it is refused; else empty.
        hint: what to do about it.
        frames: how many frames were compared; 0 means a test picture only.
        references: predictions of the original that counted.
        f1: of matched predictions.
        box_px_p99: 99th percentile of a pair's corner difference, source pixels.
        score_p99: 99th percentile of a pair's score difference.
        shift_px: how far the predictions lie to one side on average, input pixels.
        row_box_px: largest difference of candidate boxes, input pixels, of all rows that count.
        row_score: largest difference of candidate scores, of all rows that count.
        row_shift_px: how far the candidates lie to one side on average, input pixels.
    """

    verdict: str
    precision: Precision
    device: str = ""
    computes: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""
    hint: str = ""
    frames: int = 0
    references: int = 0
    f1: float = 0.0
    box_px_p99: float = 0.0
    score_p99: float = 0.0
    shift_px: float = 0.0
    row_box_px: float = 0.0
    row_score: float = 0.0
    row_shift_px: float = 0.0

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Verification":
        """From what `as_dict` made.

        Raises:
            KeyError, TypeError, ValueError: it did not make that.
        """
        return cls(**{**document, "precision": Precision(document["precision"])})

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
            return f"proven: F1 {self.f1:.3f} over {self.references} objects of the original"
        if self.verdict == "refused":
            return f"refused: {self.reason}"
        if self.verdict == "unverified":
            return "unverified: no device here runs it; it is compared on the one that will"
        return (
            f"unproven: {self.references} objects to compare, {MIN_REFERENCES} needed; "
            "add frames to the model's verify folder, or set APPLIANCE_VERIFY__PICTURES"
        )
