"""Bodies that pass the gate: requests are counted, Gradio's page is finished."""

import asyncio
from contextlib import suppress

from starlette.requests import ClientDisconnect

from appliance.web.asgi import App, Message, Receive, Scope, Send


class _TooLargeError(Exception):
    pass


async def call_limited(app: App, scope: Scope, receive: Receive, send: Send, *, limit: int) -> int:
    """Call `app`, which gets no more than `limit` bytes of body, whatever Content-Length says.

    Returns:
        The status to answer with, where the request got no answer: 413 for a body that is too
        large, 503 for one that had not come when the server's patience at its end was over.
        0 where there is nothing left to say, to a caller that has gone as well.
    """
    seen = 0
    started = False

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _TooLargeError
        return message

    async def watched(message: Message) -> None:
        nonlocal started
        if started or seen <= limit:  # else it is an error page about our own exception
            started = True
            await send(message)

    given_up = False
    with suppress(_TooLargeError, ClientDisconnect):
        try:
            await app(scope, counted, watched)
        except asyncio.CancelledError:  # only the ending server does it; a traceback says no more
            given_up = True
    if started:
        return 0
    if seen > limit:
        return 413
    return 503 if given_up else 0


def forget_encodings(scope: Scope) -> None:
    """The page must come unpacked, so that the nonce can be put in."""
    scope["headers"] = [(k, v) for k, v in scope["headers"] if k != b"accept-encoding"]


def finishing(send: Send, nonce: str, head: str) -> Send:
    """Holds the page back until it is whole, adds our tags, and marks every script as ours."""
    start: Message = {}
    parts: list[bytes] = []

    async def collect(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            return
        parts.append(message.get("body", b""))
        if message.get("more_body"):
            return
        body = b"".join(parts).replace(b"</head>", f"{head}</head>".encode(), 1)
        body = body.replace(b"<script", f'<script nonce="{nonce}"'.encode())
        headers = [(k, v) for k, v in start["headers"] if k.lower() != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({**start, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return collect
