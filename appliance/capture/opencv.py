"""What every source that reads through OpenCV needs of it."""

from typing import Protocol, cast

import cv2
import numpy as np

from appliance.errors import SourceError
from appliance.ffmpeg import FFMPEG
from appliance.values import U8

SAMPLED_ROWS = 32  # one of so many is compared with the picture before


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


class ProvenFrames:
    """Decodes what FFmpeg grabs, and sees to it that each picture was written.

    FFmpeg may refuse to convert a picture, and OpenCV does not notice: it hands out its own
    buffer as it was, with the picture before in it or, where it is new, with any memory of this
    process. So the first picture of each size, and one that equals the one before, is converted
    once more while FFmpeg is listened to.
    """

    def __init__(self, handle: VideoHandle) -> None:
        self._handle = handle
        self._sample: U8 | None = None

    def decode(self, into: U8 | None) -> U8:
        """See `decode`.

        Raises:
            SourceError: there is no picture, one of another kind, or one that is not converted.
        """
        pixels = decode(self._handle, into)
        sample = pixels[::SAMPLED_ROWS]
        if self._sample is None or self._sample.shape != sample.shape:
            self._prove(pixels)
            self._sample = sample.copy()
        elif np.array_equal(self._sample, sample):
            self._prove(pixels)
        else:
            np.copyto(self._sample, sample)
        return pixels

    def _prove(self, pixels: U8) -> None:
        complaint = FFMPEG.complaint(lambda: decode(self._handle, pixels))
        if "interlaced" in complaint:
            raise SourceError(
                "The pictures are interlaced, and only progressive ones can be read",
                hint="Set the camera to progressive, such as 1080p or 25p instead of 1080i or 50i.",
            )
        if complaint:
            raise SourceError("A picture of the camera cannot be converted")


def same_memory(one: U8, other: U8) -> bool:
    """Whether two frames are one and the same memory."""
    return one.shape == other.shape and one.ctypes.data == other.ctypes.data
