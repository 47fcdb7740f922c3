"""Bodies that pass the gate: requests are counted and timed, answers ended and finished."""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from appliance.web.asgi import App, Message, Receive, Scope, Send, header
from appliance.web.packing import pack

BODY_S = 15.0  # for a body to come,
SLOWEST_BYTES_S = 20_000  # and as much more as what has come takes at this speed
LOOK_S = 1.0


class _RefusedError(Exception):
    pass


class _Body:
    """A request's body on its way to the application: counted, and timed until it is whole.

    A large one may take its time over a thin line, as long as it goes on.

    Attributes:
        refused: the status that says why it is not handed on; 0 while it is.
    """

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._seen = 0
        self._whole = False
        self._began_s = asyncio.get_running_loop().time()
        self.refused = 0

    async def receive(self) -> Message:
        if self._whole:  # what comes now is the caller's going, and may take for ever
            return await self._receive()
        try:
            patience_s = BODY_S + self._seen / SLOWEST_BYTES_S
            async with asyncio.timeout_at(self._began_s + patience_s):
                message = await self._receive()
        except TimeoutError:
            self.refused = 408
            raise _RefusedError from None
        self._seen += len(message.get("body", b""))
        self._whole = not message.get("more_body")
        if self._seen > self._limit:
            self.refused = 413
            raise _RefusedError
        return message


async def call_limited(app: App, scope: Scope, receive: Receive, send: Send, *, limit: int) -> int:
    """Call `app`, which gets no more than `limit` bytes of body, whatever Content-Length says.

    Returns:
        The status to answer with, where the request got no answer: 413 for a body that is too
        large, 408 for one that takes too long, 503 for one that had not come when the server's
        patience at its end was over. 0 where there is nothing left to say, to a caller that has
        gone as well.
    """
    body = _Body(receive, limit)
    started = False

    async def watched(message: Message) -> None:
        nonlocal started
        if started or not body.refused:  # else it is an error page about our own exception
            started = True
            await send(message)

    given_up = False
    with suppress(_RefusedError, ClientDisconnect):
        try:
            await app(scope, body.receive, watched)
        except asyncio.CancelledError:  # only the ending server does it; a traceback says no more
            given_up = True
    if started:
        return 0
    return body.refused or (503 if given_up else 0)


def while_true(app: App, holds: Callable[[], bool]) -> App:
    """`app`, whose answer is ended in order soon after `holds` no longer does.

    An endless answer, such as Gradio's stream of events, would go on after its session.
    """

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        open_end = False

        async def noted(message: Message) -> None:
            nonlocal open_end
            await send(message)
            open_end = message["type"] == "http.response.start" or bool(message.get("more_body"))

        answering = asyncio.ensure_future(app(scope, receive, noted))
        try:
            while not answering.done() and (holds() or not open_end):
                await asyncio.wait({answering}, timeout=LOOK_S)
            if answering.done():
                await answering
                return
        except RuntimeError as error:
            # Gradio's stream of events says 404 when it has begun: its session is of another run.
            if not (open_end and isinstance(error.__cause__, HTTPException)):
                raise
        finally:
            answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        if open_end:  # it may have ended in order when it was told to
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return call


def forget_encodings(scope: Scope) -> None:
    """The page must come unpacked, so that the nonce can be put in."""
    scope["headers"] = [(k, v) for k, v in scope["headers"] if k != b"accept-encoding"]


# Of an app to install, which this is none: at the root of the host, where others may live.
_MANIFEST = re.compile(rb'<link rel="manifest"[^>]*>')
_GRADIO, _GRADIO_END = b"<gradio-app", b"</gradio-app>"


@dataclass(frozen=True, slots=True)
class PageParts:
    """What we put into Gradio's page, so that it does not wait for Gradio.

    Attributes:
        head: the end of the head: our scripts and styles.
        top: before Gradio's part: the bar.
        end: after it: the player.
    """

    head: str
    top: str
    end: str


def finishing(send: Send, nonce: str, parts: PageParts, language: str, *, packed: bool) -> Send:
    """Holds the page back until it is whole, adds our parts, and marks every script as ours.

    It also says in which language the page is; Gradio's own document says English.

    Args:
        send: gets the whole page.
        nonce: of this answer.
        parts: ours.
        language: of the page.
        packed: whether whoever calls can unpack.
    """
    start: Message = {}
    received: list[bytes] = []

    async def collect(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            return
        received.append(message.get("body", b""))
        if message.get("more_body"):
            return
        body = _finished(b"".join(received), nonce, parts, language)
        headers = [(k, v) for k, v in start["headers"] if k.lower() != b"content-length"]
        headers.append((b"vary", b"Accept-Encoding"))
        if packed:
            body = pack(body)
            headers.append((b"content-encoding", b"gzip"))
        headers.append((b"content-length", str(len(body)).encode()))
        await send({**start, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return collect


def _finished(body: bytes, nonce: str, parts: PageParts, language: str) -> bytes:
    if _GRADIO in body:  # else it is what stands in until the page is made
        body = _MANIFEST.sub(b"", body, count=1)
        body = body.replace(b'lang="en"', f'lang="{language}"'.encode(), 1)
        body = body.replace(b"</head>", f"{parts.head}</head>".encode(), 1)
        body = body.replace(_GRADIO, parts.top.encode() + _GRADIO, 1)
        body = body.replace(_GRADIO_END, _GRADIO_END + parts.end.encode(), 1)
    return body.replace(b"<script", f'<script nonce="{nonce}"'.encode())


def unchanged(scope: Scope, send: Send) -> Send:
    """Answers 304, without a body, where whoever calls has the very file already."""
    known = header(scope, b"if-none-match")
    if not known or scope["method"] not in {"GET", "HEAD"}:
        return send
    is_known = False

    async def answer(message: Message) -> None:
        nonlocal is_known
        if message["type"] == "http.response.start" and message["status"] == 200:
            headers = dict(message.get("headers", []))
            is_known = headers.get(b"etag", b"") in known.encode("latin-1").split(b", ")
            if is_known:
                kept = [(k, v) for k, v in headers.items() if not k.startswith(b"content-")]
                await send({**message, "status": 304, "headers": kept})
                return
        if not is_known:
            await send(message)
        elif not message.get("more_body"):
            await send({"type": "http.response.body", "body": b""})

    return answer
