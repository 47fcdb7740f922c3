"""What a kind of camera has to offer, and how one is chosen for a URL.

A source opens, advances and decodes; it never retries. Trying again is the camera's work.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from appliance.errors import SourceError
from appliance.values import U8

UNKNOWN_TIME_S = -1.0


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """One camera as the environment describes it.

    Attributes:
        key: names the camera in variables, logs and addresses; [a-z0-9_].
        name: what people call it.
        url: where it is; credentials stay apart from it.
        username: for the camera, may be empty.
        password: for the camera; never part of a message.
        repeat: a file starts over at its end.
        paced: a file plays as fast as it was recorded, not as fast as it can be read.
        size_wh: frame size asked of a device, pixels; None leaves it to the device.
        fps: rate asked of a device, frames per second; None leaves it to the device.
        pixel_aspect: width to height of a pixel; None leaves it to what the stream says.
        megapixels: millions of pixels that a picture may have.
        open_timeout_s: how long opening may take.
        read_timeout_s: how long the next frame may take.
    """

    key: str
    name: str
    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    repeat: bool = False
    paced: bool = True
    size_wh: tuple[int, int] | None = None
    fps: float | None = None
    pixel_aspect: float | None = None
    megapixels: int = 40
    open_timeout_s: float = 10.0
    read_timeout_s: float = 10.0

    def variable(self, field: str) -> str:
        """The name of one field's variable."""
        return f"APPLIANCE_CAMERAS__{self.key.upper()}__{field}"

    def check_size(self, width: int, height: int) -> None:
        """Refuse pictures that are too large.

        Raises:
            TooLargeError: they are.
        """
        if width * height > self.megapixels * 1_000_000:
            raise TooLargeError(
                f"The pictures have {width} x {height} pixels, and no more than"
                f" {self.megapixels} megapixels are read",
                hint="Set a smaller picture in the camera, or raise"
                f" {self.variable('MEGAPIXELS')}.",
            )

    def check(self, *fields: str) -> str:
        """The hint to check these fields, by the names of their variables."""
        *others, last = map(self.variable, fields)
        return f"Check {', '.join(others)} and {last}." if others else f"Check {last}."


class StalledError(SourceError):
    """The connection stands, but no new frame comes through it."""


class NoVideoError(SourceError):
    """The camera answers, and nothing that can be read comes."""


class SettledError(SourceError):
    """Only another setting, here or in the camera, ends this: it is tried again seldom."""


class TooLargeError(SourceError):
    """The pictures are larger than what this camera may send."""


class Capture(Protocol):
    """An open camera or file. Used by one thread."""

    def grab(self) -> float | None:
        """Advance to the next frame.

        Returns:
            The frame's media time in seconds, `UNKNOWN_TIME_S` where there is none; None
            after the last frame of a file.

        Raises:
            SourceError: the camera or file failed.
        """
        ...

    def retrieve(self, into: U8 | None) -> U8:
        """Decode the grabbed frame, (H, W, 3) uint8 BGR.

        The frame is written into `into` where that has the frame's shape; otherwise `into`
        is untouched, and the frame comes back in new memory.

        Raises:
            SourceError: the frame cannot be decoded.
        """
        ...

    def close(self) -> None:
        """Let the camera go."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of camera: a plug-in.

    Attributes:
        kind: its name in logs and on the page.
        schemes: of the URLs it serves.
        live: frames keep coming whether or not they are taken, so old ones are dropped. A
            source that is not live waits for its reader and drops nothing.
        open: opens one camera, or raises SourceError in time.
    """

    kind: str
    schemes: tuple[str, ...]
    live: bool
    open: Callable[[CameraSpec], Capture]


def choose(url: str, sources: Mapping[str, Source]) -> Source:
    """The source that serves a URL; a plain path is a file, or a device below /dev.

    Raises:
        SourceError: none of them does.
    """
    scheme = scheme_of(url)
    for source in sources.values():
        if scheme in source.schemes:
            return source
    known = ", ".join(sorted(name for source in sources.values() for name in source.schemes))
    raise SourceError(
        f'No camera can be opened with "{scheme}://"',
        hint=f"Use one of {known}, or the path of a file.",
    )


def scheme_of(url: str) -> str:
    """The scheme of a URL, lower case; "file" or "v4l2" for a plain path."""
    if "://" in url:
        return url.partition("://")[0].lower()
    return "v4l2" if url.startswith("/dev/video") else "file"


def path_of(url: str) -> str:
    """The path in a file:// or v4l2:// URL; a plain path as it is."""
    return url.partition("://")[2] if "://" in url else url


def place_of(url: str) -> str:
    """Host and port of a URL, without credentials, path or query: fit for any message."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "its address"
    return f"{parts.hostname or ''}{port}" or "its address"
