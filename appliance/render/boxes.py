"""Boxes with labels, burned into a picture.

White with a dark halo, on every picture readable and of no meaning by color. A box that one side
alone has seen is amber and dashed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.predictions import Instances
from appliance.values import U8

Color = tuple[int, int, int]
BOX_BGR: Color = (255, 255, 255)  # --box
ALONE_BGR: Color = (80, 189, 244)  # --warn-fill, #f4bd50
HALO_BGR: Color = (0, 0, 0)  # --box-halo, opaque: on a still picture nothing needs to shine through
FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_PX = 22  # height of a capital at scale 1
# In letters: a label needs room, a small picture shows boxes only.
WIDE_ENOUGH_FOR_CLASS = 26
WIDE_ENOUGH_FOR_SCORE = 40


@dataclass(frozen=True, slots=True)
class _Sizes:
    """What is drawn how large on a picture of one size, pixels."""

    line: int
    letter: int
    pad: int
    scale: float

    @classmethod
    def of(cls, picture: U8) -> "_Sizes":
        """By the longer side: what is read at 640 pixels is read at 3840, shown as wide."""
        unit = max(picture.shape[:2]) / 640
        letter = max(8, round(11 * unit))
        return cls(max(1, round(2 * unit)), letter, max(2, round(3 * unit)), letter / FONT_PX)


@dataclass(frozen=True, slots=True)
class _Place:
    """A label's rectangle, pixels."""

    x: int
    y: int
    width: int
    height: int

    def overlap(self, other: "_Place") -> int:
        """Shared pixels."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return width * height if width > 0 and height > 0 else 0


def draw_boxes(
    picture: U8,
    detections: Instances,
    names: Sequence[str],
    *,
    alone: NDArray[np.bool_] | None = None,
) -> None:
    """Draw into `picture` (H, W, 3) uint8 BGR itself.

    Args:
        picture: written to.
        detections: in its pixels.
        names: of the class of each.
        alone: (N,) which of them no other side has seen.
    """
    sizes = _Sizes.of(picture)
    boxes = [tuple(box) for box in np.rint(detections.boxes_xyxy_px).astype(int).tolist()]
    colors = [
        ALONE_BGR if alone is not None and alone[index] else BOX_BGR for index in range(len(boxes))
    ]
    for box in boxes:
        cv2.rectangle(picture, box[:2], box[2:], HALO_BGR, 2 * sizes.line)
    for box, color in zip(boxes, colors, strict=True):
        if color is BOX_BGR:
            cv2.rectangle(picture, box[:2], box[2:], color, sizes.line)
        else:
            _dash(picture, box, color, sizes.line)
    texts = list(_texts(detections, names, picture.shape[1] / sizes.letter))
    taken: list[_Place] = []
    for box, text, color in zip(boxes, texts, colors, strict=False):
        place = _place(box, _size_of(text, sizes), picture.shape[:2], taken)
        taken.append(place)
        _write(picture, text, place, color, sizes)


def _texts(detections: Instances, names: Sequence[str], letters: float) -> Iterator[str]:
    """A label for each, or none at all where the picture has no room for them."""
    if letters < WIDE_ENOUGH_FOR_CLASS:
        return
    for name, score in zip(names, detections.scores.tolist(), strict=True):
        yield name if letters < WIDE_ENOUGH_FOR_SCORE else f"{name} {score:.2f}"


def _dash(picture: U8, box: tuple[int, ...], color: Color, line: int) -> None:
    left, top, right, bottom = box
    dash = 4 * line
    for x in range(left, right, 2 * dash):
        for y in (top, bottom):
            cv2.line(picture, (x, y), (min(x + dash, right), y), color, line)
    for y in range(top, bottom, 2 * dash):
        for x in (left, right):
            cv2.line(picture, (x, y), (x, min(y + dash, bottom)), color, line)


def _size_of(text: str, sizes: _Sizes) -> tuple[int, int]:
    (width, _), _ = cv2.getTextSize(text, FONT, sizes.scale, _stroke(sizes))
    return width + 2 * sizes.pad, sizes.letter + 2 * sizes.pad


def _place(
    box: tuple[int, ...], size_wh: tuple[int, int], picture_hw: tuple[int, ...], taken: list[_Place]
) -> _Place:
    """Inside the picture, and off the other labels as far as there is room; as labels.js does."""
    left, top, right, bottom = box
    width, height = size_wh
    wanted = [
        (left, top - height),
        (left, bottom),
        (right - width, top - height),
        (right - width, bottom),
        (left, top),
        (left, bottom - height),
    ]

    def cost(place: _Place, y: int) -> int:
        # Pushed back into the picture, it covers what it names: better than another label, no more.
        return abs(place.y - y) * width + 4 * sum(map(place.overlap, taken))

    places = [
        (
            _Place(
                _clamp(x, 0, picture_hw[1] - width),
                _clamp(y, 0, picture_hw[0] - height),
                width,
                height,
            ),
            y,
        )
        for x, y in wanted
    ]
    return min(places, key=lambda pair: cost(*pair))[0]


def _write(picture: U8, text: str, place: _Place, color: Color, sizes: _Sizes) -> None:
    corner = (place.x + place.width - 1, place.y + place.height - 1)
    cv2.rectangle(picture, (place.x, place.y), corner, HALO_BGR, cv2.FILLED)
    origin = (place.x + sizes.pad, place.y + place.height - sizes.pad)
    cv2.putText(picture, text, origin, FONT, sizes.scale, color, _stroke(sizes), cv2.LINE_AA)


def _stroke(sizes: _Sizes) -> int:
    return max(1, sizes.line // 2)


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))
