"""Network cameras: RTSP and HTTP, through OpenCV's FFmpeg."""

import re
from dataclasses import replace
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

import cv2

from appliance.capture.contract import (
    UNKNOWN_TIME_S,
    CameraSpec,
    SettledError,
    Source,
    TooLargeError,
)
from appliance.capture.diagnosis import LedElsewhereError, gives_one_picture, why_not
from appliance.capture.opencv import ProvenFrames, open_video, size_of
from appliance.errors import SourceError
from appliance.ffmpeg import Opened
from appliance.values import U8

PICTURE_FORMS = ("_pipe", "image2")  # FFmpeg's names for what holds one picture
MOST_LED = 2  # from one path of a camera to another
PATTERN = re.compile(r"[%*?{]")
FILE_ENDING = re.compile(r"\.(?=[A-Za-z]\w*$)")
LED_BY = {"http": {"http", "https"}, "https": {"https"}, "rtsp": {"rtsp", "rtsps"}}  # none back


class StreamCapture:
    """One connection to a network camera."""

    def __init__(self, spec: CameraSpec) -> None:
        self._spec = spec
        self._handle = _opened(spec)
        self._frames = ProvenFrames(self._handle, spec)

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


def _opened(spec: CameraSpec) -> cv2.VideoCapture:
    """An open handle on a camera, or on where it leads to on its own host.

    FFmpeg follows nobody: a camera could have it call on whatever the station reaches.
    """
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        round(spec.open_timeout_s * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        round(spec.read_timeout_s * 1000),
        cv2.CAP_PROP_N_THREADS,
        1,  # with more, frames wait in the decoder and a silent camera is noticed later
    ]
    there = spec
    for _ in range(1 + MOST_LED):
        opened = open_video(spec, with_credentials(there), limits)
        if opened.handle.isOpened():
            _check(there, opened)
            return opened.handle
        opened.handle.release()
        error = LedElsewhereError(spec, opened.led_to) if opened.led_to else why_not(there)
        if not isinstance(error, LedElsewhereError) or not _is_at_home(there.url, error.url):
            raise error
        there = replace(there, url=error.url)
    raise SourceError("The camera leads from one address to the next", hint=spec.check("URL"))


def _check(spec: CameraSpec, opened: Opened) -> None:
    """Refuse what opens and is no stream."""
    error: SourceError | None = None
    if opened.form.endswith(PICTURE_FORMS) and gives_one_picture(spec):
        error = SettledError(
            "This address gives one picture, not a stream",
            hint=f"Use the camera's address for RTSP or MJPEG. {spec.check('URL')}",
        )
    elif not all(size_of(opened.handle)):
        # No picture came through: if the first one is announced as too long, none ever will.
        told = why_not(spec)
        error = told if isinstance(told, TooLargeError) else None
    if error is not None:
        opened.handle.release()
        raise error


def _is_at_home(url: str, led_to: str) -> bool:
    """Whether a camera leads to itself, and not to where its password would travel in clear."""
    try:
        here, there = urlsplit(url), urlsplit(led_to)
        return here.hostname == there.hostname and there.scheme in LED_BY.get(here.scheme, ())
    except ValueError:
        return False


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
    if spec.username:
        host = parts.netloc.rpartition("@")[2]
        user = f"{quote(spec.username, safe='')}:{quote(spec.password, safe='')}"
        parts = parts._replace(netloc=f"{user}@{host}")
    return urlunsplit(_of_one_stream(parts) if parts.scheme in {"http", "https"} else parts)


def _of_one_stream(parts: SplitResult) -> SplitResult:
    """The address as FFmpeg takes it for that of one stream.

    One with a `?` or an escape that ends like a picture's name is the pattern of many names to it:
    it calls the first few without our limits, on whatever host they lead to, and waits for ever.
    So the ending's dot is escaped, which is the same to a server.
    """
    parts = parts._replace(fragment="")  # no server ever sees it
    if not PATTERN.search(urlunsplit(parts)):
        return parts
    last = "query" if parts.query else "path"
    return parts._replace(**{last: FILE_ENDING.sub("%2E", getattr(parts, last))})


SOURCE = Source(
    kind="stream", schemes=("rtsp", "rtsps", "http", "https"), live=True, open=StreamCapture
)
