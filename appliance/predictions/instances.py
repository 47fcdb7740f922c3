"""Things in a picture, one row each: detection, and what adds columns to it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from appliance.errors import ApplianceError
from appliance.predictions.prediction import class_names
from appliance.values import F32, I32


@dataclass(frozen=True, slots=True)
class Instances:
    """Things that a model found in one picture, best first.

    Attributes:
        boxes_xyxy_px: (N, 4) float32, source pixels, clipped to the picture.
        scores: (N,) float32 in 0..1.
        class_ids: (N,) int32.

    Raises:
        ApplianceError: the columns have not the same number of rows.
    """

    boxes_xyxy_px: F32
    scores: F32
    class_ids: I32

    def __post_init__(self) -> None:
        count = len(self.scores)
        for name, array, shape in (
            ("boxes_xyxy_px", self.boxes_xyxy_px, (count, 4)),
            ("scores", self.scores, (count,)),
            ("class_ids", self.class_ids, (count,)),
        ):
            if array.shape != shape:
                raise ApplianceError(f"{name}: expected {shape}, got {array.shape}")

    def __len__(self) -> int:
        return len(self.scores)

    def names(self, labels: Sequence[str]) -> list[str]:
        """The class name of each; an id without one is shown as such.

        Args:
            labels: class names in the order of class ids.
        """
        return class_names(self.class_ids.tolist(), labels)

    def where(self, wanted: NDArray[np.bool_]) -> Self:
        """The rows for which `wanted`, (N,) bool, is true."""
        return replace(
            self,
            boxes_xyxy_px=self.boxes_xyxy_px[wanted],
            scores=self.scores[wanted],
            class_ids=self.class_ids[wanted],
        )

    def from_score(self, least: float) -> Self:
        """Those with at least this score, in 0..1."""
        return self.where(self.scores >= np.float32(least))

    def scaled(self, scale: float) -> Self:
        """The same of the picture resized by `scale`."""
        return replace(self, boxes_xyxy_px=self.boxes_xyxy_px * np.float32(scale))

    @classmethod
    def empty(cls) -> Self:
        """No instances."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32))
