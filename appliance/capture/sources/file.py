"""Video files and single pictures.

Frame count and rate of a file are hearsay (some files claim 1000 frames per second, or a
count below zero), so neither decides anything: a file is read to its end, and its time is
that of each frame.
"""

import math
from pathlib import Path

import cv2

from appliance.capture.contract import CameraSpec, Source, path_of
from appliance.capture.opencv import ProvenFrames, open_video
from appliance.errors import SourceError
from appliance.values import U8

PLAUSIBLE_FPS = (1.0, 240.0)
ASSUMED_FPS = 25.0


class MediaClock:
    """Media time of each frame: its own timestamp, or the nominal rate where it has none."""

    def __init__(self, nominal_fps: float) -> None:
        low, high = PLAUSIBLE_FPS
        plausible = math.isfinite(nominal_fps) and low <= nominal_fps <= high
        self._step_s = 1 / (nominal_fps if plausible else ASSUMED_FPS)
        self._last_s: float | None = None

    def at(self, timestamp_ms: float) -> float:
        """Seconds of the next frame, always later than the one before."""
        time_s = timestamp_ms / 1000
        if self._last_s is None:
            time_s = time_s if math.isfinite(time_s) else 0.0
        elif not (math.isfinite(time_s) and time_s > self._last_s):
            time_s = self._last_s + self._step_s
        self._last_s = time_s
        return time_s


class FileCapture:
    """One file, from its start to its end, or for ever."""

    def __init__(self, spec: CameraSpec) -> None:
        self._spec = spec
        self._path = Path(path_of(spec.url)).absolute()
        self._rewind()

    def grab(self) -> float | None:
        """Media time of the next frame, seconds; it starts over where the file does.

        Raises:
            SourceError: the file cannot be read, or holds no picture.
        """
        if self._handle.grab():
            self._grabbed += 1
            return self._clock.at(self._handle.get(cv2.CAP_PROP_POS_MSEC))
        if self._grabbed == 0:
            raise self._unreadable()
        if not self._spec.repeat:
            return None
        self._handle.release()
        self._rewind()
        return self.grab()

    def retrieve(self, into: U8 | None) -> U8:
        """The grabbed frame, in `into` where it fits."""
        return self._frames.decode(into)

    def close(self) -> None:
        """Close the file."""
        self._handle.release()

    def _rewind(self) -> None:
        if not self._path.is_file():
            # Said before it is opened: a device or a pipe could be read for ever.
            name, there = self._path.name, self._path.exists()
            message = f'"{name}" is no file' if there else f'There is no file "{name}"'
            raise SourceError(message, hint=self._spec.check("URL"))
        options = [cv2.CAP_PROP_N_THREADS, 1]
        self._handle = open_video(self._spec, str(self._path), options).handle
        if not self._handle.isOpened():
            raise self._unreadable()
        self._clock = MediaClock(self._handle.get(cv2.CAP_PROP_FPS))
        self._frames = ProvenFrames(self._handle, self._spec)
        self._grabbed = 0

    def _unreadable(self) -> SourceError:
        return SourceError(
            f'"{self._path.name}" holds no readable video: it is damaged, of another kind,'
            " or sound only",
            hint=f"Play it on another machine, then convert or replace it."
            f" {self._spec.check('URL')}",
        )


SOURCE = Source(kind="file", schemes=("file",), live=False, open=FileCapture)
