"""Asks an RTSP camera what it has (RFC 2326), without a password until it asks for one."""

import re
import socket
import time
from dataclasses import dataclass, replace
from email.parser import HeaderParser

from appliance.capture.authentication import authorization

MOST_BYTES = 65_536  # of a head, and of what follows it

_METHOD = "DESCRIBE"
_STATUS_LINE = re.compile(r"RTSP/\d\.\d (\d{3})", re.ASCII)


class NotRtspError(Exception):
    """What answers does not speak RTSP."""


@dataclass(frozen=True, slots=True)
class Description:
    """A camera's answer to DESCRIBE.

    Attributes:
        status: of the answer.
        challenges: in which forms it wants a password, as it says them.
        location: where it leads to; empty where it does not.
        body: what it has to show (SDP).
        is_answered: it got the password.
    """

    status: int
    challenges: tuple[str, ...] = ()
    location: str = ""
    body: bytes = b""
    is_answered: bool = False


def describe(
    address: tuple[str, int], url: str, user: str, password: str, *, timeout_s: float
) -> Description:
    """Ask a camera what it has at a URL.

    Args:
        address: host and port.
        url: without credentials.
        user: empty where there is none.
        password: sent only if it is asked for, and in no other form.
        timeout_s: until it has answered.

    Raises:
        OSError: it cannot be reached.
        EOFError: it hangs up.
        TimeoutError: it says nothing.
        NotRtspError: it speaks something else.
    """
    ends_s = time.monotonic() + timeout_s
    with socket.create_connection(address, timeout_s) as connection:
        first = _ask(connection, url, ends_s)
        proof = authorization(first.challenges, _METHOD, url, user, password) if user else ""
        if first.status != 401 or not proof:
            return first
        try:
            return _answered(connection, url, ends_s, proof, first)
        except (ConnectionError, EOFError):
            pass  # it hangs up after each answer
    with socket.create_connection(address, timeout_s) as connection:
        return _answered(connection, url, ends_s, proof, first)


def _answered(
    connection: socket.socket,
    url: str,
    ends_s: float,
    proof: str,
    first: Description,
) -> Description:
    """What it says to the password, with what it had asked for."""
    said = _ask(connection, url, ends_s, proof)
    return replace(said, challenges=first.challenges, is_answered=True)


def _ask(connection: socket.socket, url: str, ends_s: float, proof: str = "") -> Description:
    lines = [f"{_METHOD} {url} RTSP/1.0", f"CSeq: {2 if proof else 1}"]
    lines += ["Accept: application/sdp"]
    lines += [f"Authorization: {proof}"] if proof else []
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    head, body = _read_head(connection, ends_s)
    first, _, rest = head.decode(errors="replace").partition("\r\n")
    match = _STATUS_LINE.match(first)
    if match is None:
        raise NotRtspError
    told = HeaderParser().parsestr(rest)
    length = told.get("Content-Length", "").strip()
    wanted = min(int(length), MOST_BYTES) if length.isdecimal() and len(length) < 10 else 0
    while len(body) < wanted and (more := _receive(connection, ends_s)):
        body += more
    return Description(
        status=int(match[1]),
        challenges=tuple(told.get_all("WWW-Authenticate", ())),
        location=told.get("Location", "").strip(),
        body=body,
    )


def _read_head(connection: socket.socket, ends_s: float) -> tuple[bytes, bytes]:
    """The head of an answer, and what came behind it already."""
    head = b""
    while b"\r\n\r\n" not in head:
        more = _receive(connection, ends_s)
        if not more:
            raise EOFError
        head += more
        if len(head) > MOST_BYTES:
            raise NotRtspError
    head, _, body = head.partition(b"\r\n\r\n")
    return head, body


def _receive(connection: socket.socket, ends_s: float) -> bytes:
    left_s = ends_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    connection.settimeout(left_s)
    return connection.recv(4096)
