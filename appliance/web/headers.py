"""Headers of every answer: what the browser may do with it."""

from collections.abc import Iterable

from appliance.web.routes import REPORT

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
# A report is one file that loads nothing: it may do no more than lie there, in no origin at all.
_REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), usb=(), payment=()",
}


def secured(
    headers: Iterable[tuple[bytes, bytes]], *, path: str, nonce: str, https: bool
) -> Headers:
    """The answer's own headers with ours, which win.

    Args:
        headers: the answer's.
        path: below the base path.
        nonce: of this answer where the path is Gradio's page, else empty.
        https: a proxy in front speaks TLS.
    """
    framed = path == "/player"
    ours = dict(_ALWAYS)
    if nonce:
        ours["Content-Security-Policy"] = _PAGE_POLICY.format(nonce=nonce)
    elif REPORT.fullmatch(path):
        ours["Content-Security-Policy"] = _REPORT_POLICY
    else:
        ancestors = "'self'" if framed else "'none'"
        ours["Content-Security-Policy"] = _OWN_POLICY.format(ancestors=ancestors)
    ours["X-Frame-Options"] = "SAMEORIGIN" if framed else "DENY"
    if https:
        ours["Strict-Transport-Security"] = "max-age=31536000"
    cacheable = path.startswith(("/static/", "/ui/assets/", "/ui/static/", "/ui/svelte/"))
    ours["Cache-Control"] = "private, no-cache" if cacheable else "no-store"
    names = {name.lower().encode() for name in ours}
    kept = [
        (name, value)
        for name, value in headers
        if name.lower() not in names and not name.lower().startswith(b"access-control-")
    ]
    return kept + [(name.lower().encode(), value.encode()) for name, value in ours.items()]
