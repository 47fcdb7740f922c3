"""Cameras at a USB or MIPI port, through Video4Linux."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2

from appliance.capture.contract import UNKNOWN_TIME_S, CameraSpec, Source, path_of
from appliance.capture.opencv import VideoHandle, decode
from appliance.errors import SourceError
from appliance.values import U8

MOTION_JPEG = cv2.VideoWriter.fourcc(*"MJPG")


class DeviceHandle(VideoHandle, Protocol):
    """The part of `cv2.VideoCapture` that drives a device."""

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        """Whether the device gave itself to us."""
        ...

    def set(self, propId: int, value: float) -> bool:  # noqa: N803 (OpenCV's name)
        """Ask for one property; the device may decline."""
        ...

    def grab(self) -> bool:
        """Wait for the next frame."""
        ...

    def release(self) -> None:
        """Give the device back."""
        ...


def open_with_opencv(path: str) -> DeviceHandle:
    """OpenCV's own handle on a device."""
    return cv2.VideoCapture(path, cv2.CAP_V4L2)


class DeviceCapture:
    """One open device.

    The size and rate asked for are wishes: the device answers with the nearest it has, and
    every frame says its own size.
    """

    def __init__(
        self, spec: CameraSpec, *, handle_of: Callable[[str], DeviceHandle] = open_with_opencv
    ) -> None:
        self._spec = spec
        path = Path(path_of(spec.url))
        if not path.exists():
            raise SourceError(
                f"There is no camera at {path}",
                hint=f"Plug it in, and let the appliance see it. {spec.check('URL')}",
            )
        self._handle = handle_of(str(path))
        if not self._handle.isOpened():
            self._handle.release()
            raise SourceError(
                f"The camera at {path} does not open: another program uses it, it may not be"
                " used by this one, or it gives no pictures",
                hint=f"End the other program, or unplug and replug it. {spec.check('URL')}",
            )
        self._ask()

    def grab(self) -> float | None:
        """Wait for the next frame.

        Raises:
            SourceError: the device gives none.
        """
        if not self._handle.grab():
            raise SourceError(
                "The camera gives no more pictures", hint="Check its plug and its power."
            )
        return UNKNOWN_TIME_S

    def retrieve(self, into: U8 | None) -> U8:
        """The grabbed frame, in `into` where it fits."""
        pixels = decode(self._handle, into)
        self._spec.check_size(pixels.shape[1], pixels.shape[0])
        return pixels

    def close(self) -> None:
        """Give the device back."""
        self._handle.release()

    def _ask(self) -> None:
        handle = self._handle
        if self._spec.size_wh is not None:
            # A USB port carries the larger sizes at full rate only compressed; and V4L2 takes
            # the format first, the size second, the rate last.
            handle.set(cv2.CAP_PROP_FOURCC, MOTION_JPEG)
            handle.set(cv2.CAP_PROP_FRAME_WIDTH, self._spec.size_wh[0])
            handle.set(cv2.CAP_PROP_FRAME_HEIGHT, self._spec.size_wh[1])
        if self._spec.fps is not None:
            handle.set(cv2.CAP_PROP_FPS, self._spec.fps)
        handle.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not the queue's oldest


SOURCE = Source(kind="device", schemes=("v4l2",), live=True, open=DeviceCapture)
