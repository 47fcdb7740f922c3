"""The gate's own answers: why a request goes no further."""

import json
from dataclasses import dataclass

from appliance.texts import Texts, marked
from appliance.web.asgi import Send

UNANSWERED = {
    408: marked("The request came too slowly."),
    413: marked("The request is too large."),
    503: marked("The station ends."),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """The gate's own answer; its text is noted for the catalog."""

    status: int
    text: str = ""
    location: str = ""


async def answer(
    send: Send, refusal: Refusal, texts: Texts, *, asks: bool = False, as_json: bool = False
) -> None:
    """Say so, in the caller's language.

    Args:
        send: to the caller.
        refusal: what is said.
        texts: of their language.
        asks: whether a token is asked for where nobody is known.
        as_json: whoever calls reads nothing else.
    """
    said = texts(refusal.text) if refusal.text else ""
    kind, body = b"text/plain; charset=utf-8", said.encode()
    if as_json:
        kind, body = b"application/json", json.dumps({"detail": said}).encode()
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if refusal.status == 408:
        headers.append((b"connection", b"close"))  # the rest of the body is not waited for
    if refusal.status == 401 and asks:  # players send theirs only when they are asked
        headers.append((b"www-authenticate", b'Basic realm="token"'))
    if refusal.location:
        headers.append((b"location", refusal.location.encode()))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
