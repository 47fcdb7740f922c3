"""Headers of every answer: what the browser may do with it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from appliance.web.files import NAMED_AFTER_CONTENT

Headers = list[tuple[bytes, bytes]]

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; manifest-src 'self'; frame-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'self'; object-src 'none'"
)
_OWN_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors {ancestors}; "
    "base-uri 'none'; object-src 'none'"
)
# One file that loads nothing: it may do no more than lie there, in no origin at all.
_SANDBOX = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
# As its builder names them, and how its page asks for its theme.
_GRADIOS_FILE = re.compile(r"/ui/assets/[\w.-]+-[\w-]{8}\d*\.\w+")
_GRADIOS_THEME = re.compile(rb"v=[0-9a-f]{64}")
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), usb=(), payment=()",
}


@dataclass(frozen=True, slots=True)
class Answered:
    """The request that is answered.

    Attributes:
        path: below the base path.
        query: as it came.
        nonce: of this answer where the path is Gradio's page, else empty.
        https: a proxy in front speaks TLS.
        sandboxed: what is answered may do nothing; see `Rule`.
    """

    path: str
    query: bytes = b""
    nonce: str = ""
    https: bool = False
    sandboxed: bool = False


def secured(headers: Iterable[tuple[bytes, bytes]], request: Answered, *, status: int) -> Headers:
    """The answer's own headers with ours, which win."""
    path, nonce = request.path, request.nonce
    framed = path == "/player"
    ours = dict(_ALWAYS)
    if nonce:
        ours["Content-Security-Policy"] = _PAGE_POLICY.format(nonce=nonce)
    elif request.sandboxed:
        ours["Content-Security-Policy"] = _SANDBOX
    else:
        ancestors = "'self'" if framed else "'none'"
        ours["Content-Security-Policy"] = _OWN_POLICY.format(ancestors=ancestors)
    ours["X-Frame-Options"] = "SAMEORIGIN" if framed else "DENY"
    if request.https:
        ours["Strict-Transport-Security"] = "max-age=31536000"
    ours["Cache-Control"] = _keeping(request) if status in {200, 304} else "no-store"
    names = {name.lower().encode() for name in ours}
    kept = [
        (name, value)
        for name, value in headers
        if name.lower() not in names and not name.lower().startswith(b"access-control-")
    ]
    return kept + [(name.lower().encode(), value.encode()) for name, value in ours.items()]


def _keeping(request: Answered) -> str:
    """How long a browser may keep what it got."""
    path = request.path
    place = path.removeprefix("/static/")
    named_after_content = (
        (place != path and NAMED_AFTER_CONTENT.fullmatch(place))
        or _GRADIOS_FILE.fullmatch(path)
        or (path == "/ui/theme.css" and _GRADIOS_THEME.fullmatch(request.query))
    )
    if named_after_content:
        return "private, max-age=31536000, immutable"
    is_file = path.startswith(("/static/", "/ui/assets/", "/ui/static/", "/ui/svelte/"))
    return "private, no-cache" if is_file else "no-store"
