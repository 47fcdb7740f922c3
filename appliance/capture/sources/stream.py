"""Network cameras: RTSP and HTTP, through OpenCV's FFmpeg."""

from urllib.parse import quote, urlsplit, urlunsplit

import cv2

from appliance.capture.contract import UNKNOWN_TIME_S, CameraSpec, Source
from appliance.capture.diagnosis import why_not
from appliance.capture.opencv import ProvenFrames
from appliance.errors import SourceError
from appliance.values import U8


class StreamCapture:
    """One connection to a network camera."""

    def __init__(self, spec: CameraSpec) -> None:
        self._spec = spec
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            round(spec.open_timeout_s * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            round(spec.read_timeout_s * 1000),
            cv2.CAP_PROP_N_THREADS,
            1,  # with more, frames wait in the decoder and a silent camera is noticed later
        ]
        self._handle = cv2.VideoCapture(with_credentials(spec), cv2.CAP_FFMPEG, limits)
        if not self._handle.isOpened():
            self._handle.release()
            raise why_not(spec)
        self._frames = ProvenFrames(self._handle)

    def grab(self) -> float | None:
        """Wait for the next frame.

        Raises:
            SourceError: the camera closed the connection, or stayed silent for too long.
        """
        if not self._handle.grab():
            raise SourceError(
                "The camera ended the connection",
                hint="Nothing to do if it restarts; otherwise check its power and network.",
            )
        return UNKNOWN_TIME_S

    def retrieve(self, into: U8 | None) -> U8:
        """The grabbed frame, in `into` where it fits."""
        return self._frames.decode(into)

    def close(self) -> None:
        """End the connection."""
        self._handle.release()


def with_credentials(spec: CameraSpec) -> str:
    """The URL to open, user name and password in it. Never to be shown.

    Raises:
        SourceError: the URL cannot be understood.
    """
    try:
        parts = urlsplit(spec.url)
        _ = parts.port  # raises where the port is no number
    except ValueError as error:
        raise SourceError("The address is no URL", hint=spec.check("URL")) from error
    if not spec.username:
        return urlunsplit(parts)
    host = parts.netloc.rpartition("@")[2]
    user = f"{quote(spec.username, safe='')}:{quote(spec.password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{user}@{host}"))


SOURCE = Source(
    kind="stream", schemes=("rtsp", "rtsps", "http", "https"), live=True, open=StreamCapture
)
