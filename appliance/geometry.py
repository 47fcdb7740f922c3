"""How a frame is fitted into a model's input, and boxes are brought back.

The integers used forward are kept and used backward: nothing is computed twice, so
nothing drifts (a padding recomputed from unrounded sizes is off by pixels).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from appliance.errors import ModelError
from appliance.values import F32

VERSION: Final = 1  # where a frame lies in an input


class FitMode(StrEnum):
    """How a frame meets the model's input size."""

    LETTERBOX = "letterbox"
    STRETCH = "stretch"
    CROP = "crop"  # its center alone, which fills the input


@dataclass(frozen=True, slots=True)
class Fit:
    """One frame size placed in one input size.

    Attributes:
        source_wh: frame size, pixels.
        input_wh: model input size, pixels.
        resized_wh: size of the resized picture inside the input, pixels.
        offset_xy: its left top corner inside the input, pixels.
        taken_wh: size of the part of the frame that is resized, pixels; the whole frame unless
            it is cropped.
        taken_xy: that part's left top corner in the frame, pixels.
    """

    source_wh: tuple[int, int]
    input_wh: tuple[int, int]
    resized_wh: tuple[int, int]
    offset_xy: tuple[int, int]
    taken_wh: tuple[int, int]
    taken_xy: tuple[int, int]

    @classmethod
    def of(
        cls,
        mode: FitMode,
        source_wh: tuple[int, int],
        input_wh: tuple[int, int],
        crop: float = 1.0,
    ) -> "Fit":
        """Place a frame of `source_wh` in an input of `input_wh`.

        Letterboxing keeps the ratio, rounds the resized size to whole pixels (never
        below one) and centers it; the odd pixel of padding goes right and below.

        Cropping keeps the ratio as well: of the largest part of the frame that has the input's
        shape, the middle `crop` of each side is taken, in whole pixels of the frame. It is what
        authors say as "resize the shorter side to 256, take the center of 224", with 224 / 256,
        and never makes a picture that is larger than the input.

        Raises:
            ModelError: a size is not positive.
        """
        if min(*source_wh, *input_wh) < 1:
            raise ModelError(f"sizes: expected at least 1 x 1, got {source_wh} in {input_wh}")
        (source_w, source_h), (input_w, input_h) = source_wh, input_wh
        if mode is FitMode.STRETCH:
            return cls(source_wh, input_wh, input_wh, (0, 0), source_wh, (0, 0))
        if mode is FitMode.CROP:
            taken_w = max(1, round(crop * min(source_w, source_h * input_w / input_h)))
            taken_h = max(1, round(crop * min(source_h, source_w * input_h / input_w)))
            corner = ((source_w - taken_w) // 2, (source_h - taken_h) // 2)
            return cls(source_wh, input_wh, input_wh, (0, 0), (taken_w, taken_h), corner)
        scale = min(input_w / source_w, input_h / source_h)
        resized_w = min(input_w, max(1, round(source_w * scale)))
        resized_h = min(input_h, max(1, round(source_h * scale)))
        offset = ((input_w - resized_w) // 2, (input_h - resized_h) // 2)
        return cls(source_wh, input_wh, (resized_w, resized_h), offset, source_wh, (0, 0))

    @property
    def scale_xy(self) -> tuple[float, float]:
        """The size of a source pixel in input pixels."""
        return self.resized_wh[0] / self.taken_wh[0], self.resized_wh[1] / self.taken_wh[1]

    def to_input(self, boxes_xyxy_px: F32) -> F32:
        """Boxes (N, 4) from source pixels to input pixels."""
        from_part = boxes_xyxy_px - _twice(self.taken_xy)
        return from_part * _twice(self.scale_xy) + _twice(self.offset_xy)

    def to_source(self, boxes_xyxy_px: F32) -> F32:
        """Boxes (N, 4) from input pixels to source pixels, not clipped."""
        from_part = (boxes_xyxy_px - _twice(self.offset_xy)) / _twice(self.scale_xy)
        return from_part + _twice(self.taken_xy)


def _twice(xy: tuple[float, float]) -> F32:
    """(4,) float32, for both corners of a box."""
    return np.array([*xy, *xy], np.float32)


def clip(boxes_xyxy_px: F32, size_wh: tuple[int, int]) -> F32:
    """Boxes (N, 4) cut to the frame 0..w, 0..h.

    A box outside the frame, or with crossed corners, comes out with no area: see `has_area`.
    """
    limit = np.array([*size_wh, *size_wh], np.float32)
    return np.clip(boxes_xyxy_px, np.float32(0), limit)


def has_area(boxes_xyxy_px: F32) -> NDArray[np.bool_]:
    """(N,) bool: finite boxes at least one hundredth of a pixel wide and high."""
    with np.errstate(invalid="ignore"):
        shortest = np.min(boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2], axis=1)
        return np.asarray((shortest >= 0.01) & np.isfinite(boxes_xyxy_px).all(axis=1), np.bool_)
