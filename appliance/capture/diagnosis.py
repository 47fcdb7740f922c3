"""Why a network camera did not open, in words for the person in front of the page.

OpenCV only says that it failed. So after a failed open, and only then, the camera is asked
once more, briefly, and its answer is put into a sentence.
"""

import base64
import re
import socket
import ssl
from dataclasses import dataclass
from functools import cache
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import httpx

from appliance.capture.contract import CameraSpec, StalledError, place_of
from appliance.errors import SourceError

PATIENCE_S = 3.0
DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
STATUS_LINE = re.compile(rb"RTSP/\d\.\d (\d{3})")
PICTURE_TYPES = ("multipart/", "image/", "video/", "application/")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a camera said when it was asked directly.

    Attributes:
        status: HTTP or RTSP status; 0 where the answer has none.
        content_type: of an HTTP answer's body.
        silent: it took the connection and said nothing.
    """

    status: int = 0
    content_type: str = ""
    silent: bool = False


def why_not(spec: CameraSpec) -> SourceError:
    """Ask a camera that did not open what is wrong; takes a few seconds at most."""
    parts = urlsplit(spec.url)
    timeout_s = min(PATIENCE_S, spec.open_timeout_s)
    address = (parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 80))
    try:
        connection = socket.create_connection(address, timeout_s)
    except (OSError, UnicodeError) as error:
        return _unreachable(spec, error)
    with connection:
        if parts.scheme == "rtsp":
            return _verdict(spec, _ask_rtsp(spec, parts, connection))
    if parts.scheme == "rtsps":
        return _verdict(spec, Answer(status=200))  # encrypted: no more can be told from here
    return _verdict(spec, _ask_http(spec, parts, timeout_s))


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
    place, status = place_of(spec.url), answer.status
    if answer.silent:
        message = f"The camera at {place} takes the connection, then says nothing"
        return StalledError(message, hint="Switch the camera off and on again.")
    if status in {401, 403}:
        asks = "refuses the user name or password" if spec.username else "asks for a password"
        return SourceError(f"The camera {asks} ({status})", hint=spec.check("USERNAME", "PASSWORD"))
    if status == 404:
        message = "The camera has no stream at this path (404)"
    elif status >= 400:
        message = f"The camera answers with error {status}"
    elif not status:
        message = f"What answers at {place} is no camera of this kind"
    elif answer.content_type and not answer.content_type.startswith(PICTURE_TYPES):
        message = f'The camera sends "{answer.content_type[:40]}", which is no video'
    else:
        message = "The camera answers, but sends no video that can be read"
        return SourceError(message, hint="Set the camera to H.264, H.265 or MJPEG.")
    return SourceError(message, hint=spec.check("URL"))


def _ask_rtsp(spec: CameraSpec, parts: SplitResult, connection: socket.socket) -> Answer:
    user, password = _credentials(spec, parts)
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    lines = [f"DESCRIBE {_without_credentials(parts)} RTSP/1.0", "CSeq: 1"]
    lines += [f"Authorization: Basic {token}"] if user else []
    try:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        status = STATUS_LINE.match(connection.recv(256))
    except TimeoutError:
        return Answer(silent=True)
    except OSError:
        return Answer()
    return Answer(status=int(status[1])) if status else Answer()


def _ask_http(spec: CameraSpec, parts: SplitResult, timeout_s: float) -> Answer:
    user, password = _credentials(spec, parts)
    url = _without_credentials(parts)
    try:
        with httpx.Client(
            timeout=timeout_s, follow_redirects=True, trust_env=False, verify=_trust(parts.scheme)
        ) as client:
            answer = _get(client, url, httpx.BasicAuth(user, password) if user else None)
            if user and answer.status == 401:
                answer = _get(client, url, httpx.DigestAuth(user, password))
            return answer
    except httpx.TimeoutException:
        return Answer(silent=True)
    except (httpx.HTTPError, httpx.InvalidURL):
        return Answer()


@cache
def _trust(scheme: str) -> ssl.SSLContext:
    """Whose certificates count, loaded once: they take a megabyte that Python does not see."""
    if scheme == "https":
        return httpx.create_ssl_context(trust_env=False)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nobody's: none will be shown


def _get(client: httpx.Client, url: str, auth: httpx.Auth | None) -> Answer:
    with client.stream("GET", url, auth=auth) as response:
        return Answer(response.status_code, response.headers.get("content-type", ""))


def _credentials(spec: CameraSpec, parts: SplitResult) -> tuple[str, str]:
    if spec.username:
        return spec.username, spec.password
    return unquote(parts.username or ""), unquote(parts.password or "")


def _without_credentials(parts: SplitResult) -> str:
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
