"""The pictures of a report: the few that show most, kept while the comparison runs."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import cv2
import numpy as np

from appliance.predictions import Prediction
from appliance.values import U8

LIMIT = 6  # pictures
WIDEST_PX = 640
P = TypeVar("P", bound=Prediction)


@dataclass(frozen=True, slots=True)
class Exhibit(Generic[P]):
    """One frame as both sides saw it.

    Attributes:
        frame: (H, W, 3) uint8 BGR, at most WIDEST_PX wide.
        expected: of the original, in pixels of `frame`.
        seen: of the engine, in pixels of `frame`.
    """

    frame: U8
    expected: P
    seen: P


class Exhibits:
    """Keeps the best picture of each stretch of the frames: neighbors are too much alike.

    Args:
        frames: how many there will be.
    """

    def __init__(self, frames: int) -> None:
        self._stretch = max(1, -(-frames // LIMIT))
        self._best: dict[int, tuple[tuple[int, int], Exhibit[Any]]] = {}
        self._offered = 0

    def offer(self, frame: U8, expected: P, seen: P, *, disagreements: int) -> None:
        """Keep this frame if it shows more than the others of its stretch."""
        place = self._offered // self._stretch
        self._offered += 1
        worth = (disagreements, len(expected) + len(seen))
        if place not in self._best or worth > self._best[place][0]:
            self._best[place] = (worth, _exhibit(frame, expected, seen))

    def best(self) -> tuple[Exhibit[Any], ...]:
        """The worst disagreement first, then the fullest."""
        ordered = sorted(self._best.values(), key=lambda kept: kept[0], reverse=True)
        return tuple(exhibit for _, exhibit in ordered)


def _exhibit(frame: U8, expected: P, seen: P) -> Exhibit[P]:
    """A copy no larger than what will be shown: a small box holds six of them, not of frames."""
    height, width = frame.shape[:2]
    scale = min(1.0, WIDEST_PX / width)
    size_wh = (round(width * scale), max(1, round(height * scale)))
    picture = np.asarray(cv2.resize(frame, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    return Exhibit(picture, expected.scaled(scale), seen.scaled(scale))
