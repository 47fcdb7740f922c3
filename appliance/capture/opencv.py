"""What every source that reads through OpenCV needs of it."""

from typing import Protocol, cast

import cv2
import numpy as np

from appliance.errors import SourceError
from appliance.values import U8


class VideoHandle(Protocol):
    """The part of `cv2.VideoCapture` that decodes."""

    def retrieve(self, image: U8 | None = None) -> tuple[bool, object]:
        """Decode the grabbed frame, into `image` where it fits."""
        ...


def decode(handle: VideoHandle, into: U8 | None) -> U8:
    """Decode the grabbed frame: (H, W, 3) uint8 BGR, in `into` where that fits.

    OpenCV leaves a buffer of another shape alone and returns new memory, without a word:
    the caller compares addresses.

    Raises:
        SourceError: there is no picture, or one of another kind.
    """
    try:
        done, pixels = handle.retrieve() if into is None else handle.retrieve(into)
    except cv2.error as error:
        raise SourceError("A picture of the camera cannot be decoded") from error
    if not done or not isinstance(pixels, np.ndarray):
        raise SourceError("A picture of the camera cannot be decoded")
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise SourceError(
            f"Picture: expected (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}",
            hint="Set the camera to an ordinary color format.",
        )
    return cast("U8", pixels)


def same_memory(one: U8, other: U8) -> bool:
    """Whether two frames are one and the same memory."""
    return one.shape == other.shape and one.ctypes.data == other.ctypes.data
