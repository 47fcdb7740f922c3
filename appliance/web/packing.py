"""Text for browsers, packed where they take it so: over a thin line a page comes sooner."""

import gzip

from starlette.responses import Response

from appliance.web.asgi import Scope, header

LEVEL = 6
SMALLEST = 1000  # bytes that are worth it


def accepts_packed(scope: Scope) -> bool:
    """Whether whoever calls can unpack."""
    accepted = header(scope, b"accept-encoding").lower().replace(" ", "").split(",")
    return any(coding == "gzip" or coding.startswith("gzip;q=") for coding in accepted) and (
        "gzip;q=0" not in accepted
    )


def pack(content: bytes) -> bytes:
    """The same, packed; the same again for the same content."""
    return gzip.compress(content, LEVEL, mtime=0)


def packed_page(scope: Scope, text: str) -> Response:
    """A page of HTML for whoever calls."""
    content, headers = text.encode(), {"Vary": "Accept-Encoding"}
    if len(content) >= SMALLEST and accepts_packed(scope):
        content, headers["Content-Encoding"] = pack(content), "gzip"
    return Response(content, media_type="text/html; charset=utf-8", headers=headers)
