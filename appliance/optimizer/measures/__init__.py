"""What agreement with the original means, for each task.

A measure is one module with a constant MEASURE, named as its task. The gate
(optimizer/verification.py) puts the same questions to every engine; how far two answers are apart,
and how far is too far, the measure of the task says.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from appliance.catalog.card import Card
from appliance.geometry import Fit
from appliance.optimizer import measures
from appliance.optimizer.exhibits import Exhibit
from appliance.optimizer.verdict import Figure
from appliance.predictions import Prediction
from appliance.registry import plugins
from appliance.tasks import Outputs
from appliance.values import F32, U8, Precision

WIDER = "A wider precision sees more: APPLIANCE_ENGINE__PRECISION=auto tries them."
P = TypeVar("P", bound=Prediction)
P_contra = TypeVar("P_contra", bound=Prediction, contravariant=True)
Limits = Mapping[str, float]  # by name, as settings have them below APPLIANCE_VERIFY__


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the reference put a frame: x in the input is offset + scale times x in the frame.

    Attributes:
        size_wh: of the frame, pixels.
        offset_xy: (2,) float32, pixels of the input.
        scale_xy: (2,) float32.
    """

    size_wh: tuple[int, int]
    offset_xy: F32
    scale_xy: F32


@dataclass(frozen=True, slots=True)
class Terms:
    """What an engine is compared by.

    Attributes:
        card: the model's.
        precision: what the engine was built as.
        limits: of this precision, those that the measure names.
    """

    card: Card
    precision: Precision
    limits: Limits

    @property
    def is_exact(self) -> bool:
        """Whether nothing was rounded, so that every difference is a mistake."""
        return self.precision is Precision.FP32

    def hint(self, of_the_card: str) -> str:
        """What to do about a difference: what in the card may be wrong, or a wider precision."""
        return f"The model's card may name the wrong {of_the_card}." if self.is_exact else WIDER


@dataclass(frozen=True, slots=True)
class Finding:
    """What a comparison has shown.

    Attributes:
        figures: by name.
        reason: why the engine must not serve; else empty.
        hint: what to do about it.
        agreement: what was found, for a person; holds where enough was compared.
        missing: what was compared and what is needed for a proof; empty where it is enough.
    """

    figures: Mapping[str, Figure]
    reason: str
    hint: str
    agreement: str
    missing: str


class Comparison(Protocol[P_contra]):
    """An engine and the original, compared picture by picture."""

    @property
    def compared(self) -> int:
        """How many outputs counted so far."""

    def add_outputs(self, expected: Outputs, seen: Outputs, *, of_noise: bool) -> None:
        """Of one input, the very same for both.

        Args:
            expected: the original's, by the head's numpy twin.
            seen: the engine's.
            of_noise: the picture was made up, since no frame showed anything.
        """

    def add_predictions(self, expected: P_contra, seen: P_contra, fit: Fit) -> int:
        """Of one frame, each with a preparation of its own; how many disagreements it shows.

        Args:
            expected: the original's.
            seen: what the station would show.
            fit: how the station placed the frame.
        """

    def finding(self) -> Finding:
        """Of everything that was added."""


@dataclass(frozen=True, slots=True)
class View:
    """One side of an exhibit.

    Attributes:
        caption: what it shows.
        picture: (H, W, 3) uint8 BGR with the prediction drawn.
    """

    caption: str
    picture: U8


@dataclass(frozen=True, slots=True)
class Measure(Generic[P]):
    """How engines of one task are compared with the original.

    Attributes:
        name: the task's.
        limits: names of those that it asks for.
        confidence: score from which predictions are compared.
        predict: the original's canonical outputs of a placed frame to a prediction from a score
            on, without the code that the station does it with.
        begin: a new comparison.
        views: an exhibit as the original and as the engine saw it, with the names of classes.
        about: what a report's figures are, for a person.
        legend: what its pictures show.
    """

    name: str
    limits: tuple[str, ...]
    confidence: float
    predict: Callable[[Outputs, Placement, Card, float], P]
    begin: Callable[[Terms], Comparison[P]]
    views: Callable[[Exhibit[P], Sequence[str]], tuple[View, View]]
    about: str
    legend: str

    def limits_of(self, limits: Limits) -> dict[str, float]:
        """Those that it asks for."""
        return {name: limits[name] for name in self.limits}


@cache
def known() -> Mapping[str, Measure[Any]]:
    """Every measure by the name of its task."""
    return plugins(measures, "MEASURE", Measure)


def quantile(values: Sequence[float] | F32, share: float) -> float:
    """The least of the values that `share` of them are within; 0 where there are none."""
    return float(np.quantile(values, share, method="higher")) if len(values) else 0.0
