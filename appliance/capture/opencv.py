"""What every source that reads through OpenCV needs of it."""

from collections.abc import Sequence
from typing import Protocol, cast

import cv2
import numpy as np

from appliance.capture.contract import CameraSpec
from appliance.errors import SourceError
from appliance.ffmpeg import FFMPEG, Opened
from appliance.values import U8

SAMPLED_ROWS = 32  # one of so many is compared with the picture before
BELIEVED_ASPECTS = (0.25, 4.0)
HARDLY_SQUEEZED = 0.01  # nobody sees it, and stretching takes time


class VideoHandle(Protocol):
    """The part of `cv2.VideoCapture` that decodes."""

    def retrieve(self, image: U8 | None = None) -> tuple[bool, object]:
        """Decode the grabbed frame, into `image` where it fits."""
        ...

    def get(self, propId: int) -> float:  # noqa: N803 (OpenCV's name)
        """One property."""
        ...


def open_video(spec: CameraSpec, address: str, options: Sequence[int]) -> Opened:
    """Open a file or camera whose pictures are not too large, with room for them.

    The size is known before the first picture takes memory, which FFmpeg may not take without.

    Raises:
        TooLargeError: they are.
    """
    opened = FFMPEG.open(address, options)
    if opened.handle.isOpened():
        width, height = size_of(opened.handle)
        try:
            spec.check_size(width, height)
        except SourceError:
            opened.handle.release()
            raise
        if FFMPEG.make_room(width * height):  # it may have lost a picture for want of it
            opened.handle.release()
            opened = FFMPEG.open(address, options)
    return opened


def size_of(handle: VideoHandle) -> tuple[int, int]:
    """Width and height of the pictures; 0 where they are not known yet."""
    return (
        round(handle.get(cv2.CAP_PROP_FRAME_WIDTH)),
        round(handle.get(cv2.CAP_PROP_FRAME_HEIGHT)),
    )


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
    """Decodes what FFmpeg grabs, as players show it, and sees to it that it was written.

    FFmpeg may refuse to convert a picture, and OpenCV does not notice: it hands out its own
    buffer as it was, with the picture before in it or, where it is new, with any memory of this
    process. So the first picture of each size, and one that equals the one before, is converted
    once more while FFmpeg is listened to.

    One that is larger than it may be is not decoded. One whose pixels are not square is stretched,
    from memory that is kept for that.
    """

    def __init__(self, handle: VideoHandle, spec: CameraSpec) -> None:
        self._handle = handle
        self._spec = spec
        self._sample: U8 | None = None
        self._squeezed: U8 | None = None

    def decode(self, into: U8 | None) -> U8:
        """See `decode`.

        Raises:
            SourceError: there is no picture, one of another kind, or one that is not converted.
            TooLargeError: it is too large.
        """
        size_wh = size_of(self._handle)
        shown_wh = self._shown(size_wh)
        self._spec.check_size(*shown_wh)
        if shown_wh == size_wh:
            self._squeezed = None
            return self._proven(into)
        self._squeezed = self._proven(self._squeezed)
        fits = into is not None and into.shape == (shown_wh[1], shown_wh[0], 3)
        stretched = cv2.resize(self._squeezed, shown_wh, dst=into if fits else None)
        return cast("U8", stretched)

    def _shown(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        """The size that a picture of square pixels has: never smaller."""
        aspect = self._spec.pixel_aspect or self._told_aspect()
        width, height = size_wh
        if abs(aspect - 1) < HARDLY_SQUEEZED:
            return size_wh
        return (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))

    def _told_aspect(self) -> float:
        """What the stream says of its pixels; 1 where that is nothing to believe."""
        wide = self._handle.get(cv2.CAP_PROP_SAR_NUM)
        high = self._handle.get(cv2.CAP_PROP_SAR_DEN)
        low, most = BELIEVED_ASPECTS
        return wide / high if high > 0 and low <= wide / high <= most else 1.0

    def _proven(self, into: U8 | None) -> U8:
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
