"""What every kind of prediction offers to those who carry it on."""

from collections.abc import Sequence
from typing import Protocol, Self


class Prediction(Protocol):
    """What a model says of one picture. Immutable; sizes are in pixels of that picture."""

    def __len__(self) -> int:
        """How many things are told of, best first."""

    def names(self, labels: Sequence[str]) -> list[str]:
        """The class name of each; an id without one is shown as such.

        Args:
            labels: class names in the order of class ids.
        """

    def from_score(self, least: float) -> Self:
        """Those with at least this score, in 0..1."""

    def scaled(self, scale: float) -> Self:
        """The same of the picture resized by `scale`."""


def class_names(class_ids: Sequence[int], labels: Sequence[str]) -> list[str]:
    """The class name of each id; an id without one is shown as such."""
    count = len(labels)
    return [(0 <= each < count and labels[each]) or f"class_{each}" for each in class_ids]
