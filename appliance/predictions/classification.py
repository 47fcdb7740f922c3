"""What a picture as a whole shows: classes with their scores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from appliance.errors import ApplianceError
from appliance.predictions.prediction import class_names
from appliance.values import F32, I32


@dataclass(frozen=True, slots=True)
class Classification:
    """Classes that a model gives one picture, best first.

    Attributes:
        scores: (k,) float32 in 0..1.
        class_ids: (k,) int32.

    Raises:
        ApplianceError: the columns have not the same number of rows.
    """

    scores: F32
    class_ids: I32

    def __post_init__(self) -> None:
        shape = (len(self.scores),)
        for name, array in (("scores", self.scores), ("class_ids", self.class_ids)):
            if array.shape != shape:
                raise ApplianceError(f"{name}: expected {shape}, got {array.shape}")

    def __len__(self) -> int:
        return len(self.scores)

    def names(self, labels: Sequence[str]) -> list[str]:
        """The name of each class; an id without one is shown as such.

        Args:
            labels: class names in the order of class ids.
        """
        return class_names(self.class_ids.tolist(), labels)

    def where(self, wanted: NDArray[np.bool_]) -> Self:
        """The rows for which `wanted`, (k,) bool, is true."""
        return replace(self, scores=self.scores[wanted], class_ids=self.class_ids[wanted])

    def from_score(self, least: float) -> Self:
        """Those with at least this score, in 0..1."""
        return self.where(self.scores >= np.float32(least))

    def scaled(self, scale: float) -> Self:  # noqa: ARG002 - of the contract
        """The same: a class is the whole picture's, in whatever size."""
        return self

    @classmethod
    def empty(cls) -> Self:
        """No classes."""
        return cls(np.empty(0, np.float32), np.empty(0, np.int32))
