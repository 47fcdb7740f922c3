"""Boxes with labels, burned into a picture.

White with a dark halo, on every picture readable and of no meaning by color. A box that one side
alone has seen is amber and dashed.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.predictions import Instances
from appliance.render.labels import (
    BOX_BGR,
    HALO_BGR,
    Color,
    Place,
    Sizes,
    size_of,
    text_of,
    write,
)
from appliance.values import U8

ALONE_BGR: Color = (80, 189, 244)  # --warn-fill, #f4bd50
WIDE_ENOUGH_FOR_CLASS = 26  # letters: a label needs room, a small picture shows boxes only


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
    sizes = Sizes.of(picture)
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
    taken: list[Place] = []
    for box, text, color in zip(boxes, texts, colors, strict=False):
        place = _place(box, size_of(text, sizes), picture.shape[:2], taken)
        taken.append(place)
        write(picture, text, place, color, sizes)


def _texts(detections: Instances, names: Sequence[str], letters: float) -> Iterator[str]:
    """A label for each, or none at all where the picture has no room for them."""
    if letters < WIDE_ENOUGH_FOR_CLASS:
        return
    for name, score in zip(names, detections.scores.tolist(), strict=True):
        yield text_of(name, score, letters)


def _dash(picture: U8, box: tuple[int, ...], color: Color, line: int) -> None:
    left, top, right, bottom = box
    dash = 4 * line
    for x in range(left, right, 2 * dash):
        for y in (top, bottom):
            cv2.line(picture, (x, y), (min(x + dash, right), y), color, line)
    for y in range(top, bottom, 2 * dash):
        for x in (left, right):
            cv2.line(picture, (x, y), (x, min(y + dash, bottom)), color, line)


def _place(
    box: tuple[int, ...], size_wh: tuple[int, int], picture_hw: tuple[int, ...], taken: list[Place]
) -> Place:
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

    def cost(place: Place, y: int) -> int:
        # Pushed back into the picture, it covers what it names: better than another label, no more.
        return abs(place.y - y) * width + 4 * sum(map(place.overlap, taken))

    places = [
        (
            Place(
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


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))
