"""Why a network camera did not open, in words for the person in front of the page.

OpenCV only says that it failed. So after a failed open, and only then, the camera is asked
once more, briefly, and its answer is put into a sentence. It gets the password only when it asks
for one, in the form in which it asks; and it is not followed to where it leads.
"""

import re
import socket
import ssl
from dataclasses import dataclass, replace
from functools import cache
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

import httpx

from appliance.capture.contract import (
    CameraSpec,
    NoVideoError,
    StalledError,
    TooLargeError,
    place_of,
)
from appliance.capture.deadline import Deadline, deadline
from appliance.capture.rtsp import AS_SENT, NotRtspError, algorithm_of, answer, describe, offers
from appliance.errors import SourceError
from appliance.ffmpeg import FFMPEG

PATIENCE_S = 3.0
ALL_PATIENCE = 2  # times as long for all of an HTTP answer as for its next byte
DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
LIST_TYPES = ("mpegurl", "dash+xml")
PART_LENGTH = re.compile(rb"(?i)^content-length:\s*(\d{1,18})\s*$", re.MULTILINE)
PICTURE_TYPES = ("multipart/", "image/", "video/", "application/")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a camera said when it was asked directly.

    Attributes:
        status: HTTP or RTSP status; 0 where the answer has none.
        content_type: of an HTTP answer's body.
        silent: it took the connection and said nothing.
        challenges: in which forms it wanted a password.
        is_answered: it got the password.
        led_to: the address that it leads to; empty where it does not.
        is_sound_only: it has something to show, and no video.
        part_bytes: how long the first picture of its stream will be; 0 where it does not say.
    """

    status: int = 0
    content_type: str = ""
    silent: bool = False
    challenges: tuple[str, ...] = ()
    is_answered: bool = False
    led_to: str = ""
    is_sound_only: bool = False
    part_bytes: int = 0


class LedElsewhereError(SourceError):
    """A camera leads to another address.

    Attributes:
        url: that address.
    """

    def __init__(self, spec: CameraSpec, url: str) -> None:
        super().__init__(
            f"The camera leads to another address ({place_of(url)[:60]})",
            hint=f"If that is right, write it into {spec.variable('URL')}.",
        )
        self.url = url


def why_not(spec: CameraSpec) -> SourceError:
    """Ask a camera that did not open what is wrong; takes a few seconds at most."""
    parts = urlsplit(spec.url)
    timeout_s = min(PATIENCE_S, spec.open_timeout_s)
    address = (parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 80))
    try:
        socket.create_connection(address, timeout_s).close()
    except (OSError, UnicodeError) as error:
        return _unreachable(spec, error)
    if parts.scheme == "rtsp":
        return _verdict(spec, _ask_rtsp(spec, parts, address, timeout_s))
    if parts.scheme == "rtsps":
        return _verdict(spec, Answer(status=200))  # encrypted: no more can be told from here
    return _verdict(spec, _ask_http(spec, parts, timeout_s))


def gives_one_picture(spec: CameraSpec) -> bool:
    """Whether an address gives one picture and is done; takes a few seconds at most."""
    answer = _ask_http(spec, urlsplit(spec.url), min(PATIENCE_S, spec.open_timeout_s))
    return answer.status == 200 and answer.content_type.startswith("image/")


def _unreachable(spec: CameraSpec, error: OSError | UnicodeError) -> SourceError:
    place = place_of(spec.url)
    power = f"Check the camera's power and network. {spec.check('URL')}"
    match error:
        case ConnectionRefusedError():
            return SourceError(f"The camera refuses the connection at {place}", hint=power)
        case TimeoutError():
            return SourceError(f"No answer from {place}", hint=power)
        case socket.gaierror() | UnicodeError():
            return SourceError(
                f"Nobody knows the name in {place}",
                hint=f"Use the camera's IP address. {spec.check('URL')}",
            )
        case _:
            return SourceError(f"{place} cannot be reached: {error.strerror}", hint=power)


def _verdict(spec: CameraSpec, answer: Answer) -> SourceError:
    place = place_of(spec.url)
    if answer.silent:
        message = f"The camera at {place} takes the connection, then says nothing"
        return StalledError(message, hint="Switch the camera off and on again.")
    if answer.led_to:
        return LedElsewhereError(spec, answer.led_to)
    match answer.status:
        case 0:
            message = f"What answers at {place} is no camera of this kind"
            return SourceError(message, hint=spec.check("URL"))
        case 401:
            return _unwelcome(spec, answer)
        case status if status >= 400:
            return _refusal(spec, status)
    return _unlike_video(spec, answer) or _unread(answer)


def _unwelcome(spec: CameraSpec, answer: Answer) -> SourceError:
    check = spec.check("USERNAME", "PASSWORD")
    if answer.is_answered:
        return SourceError("The camera refuses the user name or password (401)", hint=check)
    if not spec.username:
        return SourceError("The camera asks for a password (401)", hint=check)
    return SourceError(
        "The camera asks for the password in a form that is not known here (401)",
        hint="Set the camera to digest with MD5.",
    )


def _refusal(spec: CameraSpec, status: int) -> SourceError:
    if status == 403:
        message = "The camera does not give this stream to this user (403)"
        return SourceError(message, hint=spec.check("USERNAME", "PASSWORD", "URL"))
    message = f"The camera answers with error {status}"
    if status == 404:
        message = "The camera has no stream at this path (404)"
    return SourceError(message, hint=spec.check("URL"))


def _unlike_video(spec: CameraSpec, answer: Answer) -> SourceError | None:
    """What it sends instead, by its own word; None where that may be video."""
    if answer.part_bytes > FFMPEG.room_bytes:
        return TooLargeError(
            f"The camera sends pictures of {answer.part_bytes // 1_000_000} MB, which are not read",
            hint="Set a smaller picture in the camera, or a lower quality.",
        )
    kind = answer.content_type.partition(";")[0].strip().lower()
    if kind.endswith(LIST_TYPES):
        message = "The camera sends a list of addresses, which is not read"
        return SourceError(message, hint="Use the camera's address for RTSP or MJPEG.")
    if kind and not kind.startswith(PICTURE_TYPES):
        message = f'The camera sends "{answer.content_type[:40]}", which is no video'
        return SourceError(message, hint=spec.check("URL"))
    return None


def _unread(answer: Answer) -> SourceError:
    """The camera gives something, and FFmpeg made nothing of it."""
    digests = [
        algorithm_of(terms) for scheme, terms in offers(answer.challenges) if scheme == "digest"
    ]
    if answer.is_answered and digests and not digests[-1].startswith("MD5"):
        return SourceError(
            f"The camera wants the password by {digests[-1]}, which the decoder does not know",
            hint="Set the camera to digest with MD5.",
        )
    if answer.is_sound_only:
        return SourceError(
            "The camera sends sound and no video", hint="Switch its video on, or use another path."
        )
    return NoVideoError(
        "The camera answers, but sends no video that can be read",
        hint="Set the camera to H.264, H.265 or MJPEG.",
    )


def _ask_rtsp(
    spec: CameraSpec, parts: SplitResult, address: tuple[str, int], timeout_s: float
) -> Answer:
    user, password = _credentials(spec, parts)
    url = _without_credentials(parts)
    try:
        told = describe(address, url, user, password, timeout_s=timeout_s)
    except TimeoutError:
        return Answer(silent=True)
    except (OSError, EOFError, NotRtspError):
        return Answer()
    return Answer(
        status=told.status,
        challenges=told.challenges,
        is_answered=told.is_answered,
        led_to=told.location if 300 <= told.status < 400 else "",
        is_sound_only=b"m=" in told.body and b"m=video" not in told.body,
    )


def _ask_http(spec: CameraSpec, parts: SplitResult, timeout_s: float) -> Answer:
    user, password = _credentials(spec, parts)
    url = _without_credentials(parts)
    with deadline(ALL_PATIENCE * timeout_s) as ends:
        try:
            with httpx.Client(
                timeout=timeout_s, trust_env=False, verify=_trust(parts.scheme)
            ) as client:
                return _asked_twice(client, url, (user, password), ends)
        except httpx.TimeoutException:
            return Answer(silent=True)
        except (httpx.HTTPError, httpx.InvalidURL):
            return Answer(silent=ends.is_over)


def _asked_twice(
    client: httpx.Client, url: str, credentials: tuple[str, str], ends: Deadline
) -> Answer:
    """What it says without the password and, where it asks for one, with it."""
    first = _get(client, url, ends)
    asked = "GET", httpx.URL(url).raw_path.decode()
    authorization = answer(first.challenges, asked, *credentials) if credentials[0] else b""
    if first.status != 401 or not authorization:
        return first
    told = _get(client, url, ends, authorization)
    return replace(told, challenges=first.challenges, is_answered=True)


@cache
def _trust(scheme: str) -> ssl.SSLContext:
    """Whose certificates count, loaded once: they take a megabyte that Python does not see."""
    if scheme == "https":
        return httpx.create_ssl_context(trust_env=False)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nobody's: none will be shown


def _get(client: httpx.Client, url: str, ends: Deadline, authorization: bytes = b"") -> Answer:
    own = {b"Authorization": authorization} if authorization else {}
    traced = {"trace": ends.trace}
    with client.stream("GET", url, headers=own, extensions=traced) as response:
        headers = response.headers
        asked = [value for name, value in headers.raw if name.lower() == b"www-authenticate"]
        return Answer(
            status=response.status_code,
            content_type=headers.get("content-type", ""),
            challenges=tuple(value.decode(AS_SENT) for value in asked),
            led_to=urljoin(url, headers["location"]) if response.has_redirect_location else "",
            part_bytes=_first_part_bytes(response),
        )


def _first_part_bytes(response: httpx.Response) -> int:
    """What the first part of a multipart answer says of its length; 0 where it says nothing."""
    if not response.headers.get("content-type", "").startswith("multipart/"):
        return 0
    try:
        start = next(response.iter_raw(), b"")
    except httpx.ReadTimeout:
        return 0  # it sends nothing now
    match = PART_LENGTH.search(start.partition(b"\r\n\r\n")[0])
    return int(match[1]) if match else 0


def _credentials(spec: CameraSpec, parts: SplitResult) -> tuple[str, str]:
    if spec.username:
        return spec.username, spec.password
    return unquote(parts.username or ""), unquote(parts.password or "")


def _without_credentials(parts: SplitResult) -> str:
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
