"""Asks an RTSP camera what it has (RFC 2326), without a password until it asks for one."""

import base64
import hashlib
import re
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.parser import HeaderParser
from urllib.request import parse_http_list, parse_keqv_list

MOST_BYTES = 65_536  # of a head, and of what follows it
AS_SENT = "latin-1"  # a letter for each byte, whatever a camera means by it
MADE_BY = {"MD5": "md5", "MD5-SESS": "md5", "SHA-256": "sha256", "SHA-256-SESS": "sha256"}

_STATUS_LINE = re.compile(rb"RTSP/\d\.\d (\d{3})")
_SCHEME = re.compile(r"\s*([A-Za-z]+)\s+(.*)", re.DOTALL)


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
        asked = "DESCRIBE", url
        authorization = answer(first.challenges, asked, user, password) if user else b""
        if first.status != 401 or not authorization:
            return first
        try:
            return _answered(connection, url, ends_s, authorization, first)
        except (ConnectionError, EOFError):
            pass  # it hangs up after each answer
    with socket.create_connection(address, timeout_s) as connection:
        return _answered(connection, url, ends_s, authorization, first)


def offers(challenges: Sequence[str]) -> list[tuple[str, Mapping[str, str]]]:
    """Scheme, lower case, and terms of each form in which a password is asked for."""
    matches = (match for match in map(_SCHEME.match, challenges) if match)
    return [(match[1].lower(), _terms(match[2])) for match in matches]


def algorithm_of(terms: Mapping[str, str]) -> str:
    """Which algorithm a digest is made by, upper case."""
    return terms.get("algorithm", "MD5").upper()


def answer(challenges: Sequence[str], asked: tuple[str, str], user: str, password: str) -> bytes:
    """The value of Authorization, as it is asked for; empty where no known form is.

    The digest is that of RFC 2617 and 7616.

    Args:
        challenges: as they came, a letter for each byte.
        asked: method and address.
        user: who asks.
        password: of the user.
    """
    offered = offers(challenges)
    for scheme, terms in offered:
        if scheme == "digest" and algorithm_of(terms) in MADE_BY:
            return _digest(terms, *map(_as_sent, (*asked, user, password))).encode(AS_SENT)
    schemes = {scheme for scheme, _ in offered}
    if "basic" not in schemes or "digest" in schemes:
        return b""
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


def _terms(text: str) -> Mapping[str, str]:
    """Those that say something; cameras leave values empty, or the sign of equality out."""
    return parse_keqv_list([term for term in parse_http_list(text) if term.partition("=")[2]])


def _as_sent(text: str) -> str:
    return text.encode().decode(AS_SENT)


def _digest(terms: Mapping[str, str], method: str, url: str, user: str, password: str) -> str:
    algorithm = algorithm_of(terms)

    def hashed(*parts: str) -> str:
        return hashlib.new(MADE_BY[algorithm], ":".join(parts).encode(AS_SENT)).hexdigest()

    realm, nonce = terms.get("realm", ""), terms.get("nonce", "")
    own, count = secrets.token_hex(8), "00000001"
    secret = hashed(user, realm, password)
    if algorithm.endswith("-SESS"):
        secret = hashed(secret, nonce, own)
    what = hashed(method, url)
    by_count = "auth" in parse_http_list(terms.get("qop", ""))
    proof = hashed(secret, nonce, *([count, own, "auth"] if by_count else []), what)
    told = {"username": user, "realm": realm, "nonce": nonce, "uri": url, "response": proof}
    told |= {"opaque": terms["opaque"]} if "opaque" in terms else {}
    told |= {"cnonce": own} if by_count or algorithm.endswith("-SESS") else {}
    header = ", ".join(f'{name}="{_quoted(value)}"' for name, value in told.items())
    header += f", algorithm={terms['algorithm']}" if "algorithm" in terms else ""
    header += f", qop=auth, nc={count}" if by_count else ""
    return f"Digest {header}"


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _answered(
    connection: socket.socket,
    url: str,
    ends_s: float,
    authorization: bytes,
    first: Description,
) -> Description:
    """What it says to the password, with what it had asked for."""
    said = _ask(connection, url, ends_s, authorization)
    return replace(said, challenges=first.challenges, is_answered=True)


def _ask(
    connection: socket.socket, url: str, ends_s: float, authorization: bytes = b""
) -> Description:
    lines = [f"DESCRIBE {url} RTSP/1.0".encode(), b"CSeq: %d" % (2 if authorization else 1)]
    lines += [b"Accept: application/sdp"]
    lines += [b"Authorization: " + authorization] if authorization else []
    connection.sendall(b"\r\n".join([*lines, b"", b""]))
    head, body = _read_head(connection, ends_s)
    match = _STATUS_LINE.match(head)
    if match is None:
        raise NotRtspError
    told = HeaderParser().parsestr(head.partition(b"\r\n")[2].decode(AS_SENT))
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
