"""Cameras' pictures with boxes burned in, for programs that know nothing but JPEG.

    GET api/cameras/KEY/stream      one picture after the other, until somebody ends it
    GET api/cameras/KEY/snapshot    the next one

Each picture is drawn and encoded once for all who watch. Who reads slowly misses pictures: the next
one is chosen when the one before has left, so nothing piles up here, and nobody sees an old one.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import override

from appliance.pipeline.encoder import LiveEncoder, LivePicture
from appliance.web.access.gate import HOLDER_KEY
from appliance.web.asgi import Receive, Scope, Send

SNAPSHOT_S = 5.0  # for a camera's next picture
BOUNDARY = b"--picture\r\n"
MULTIPART = b"multipart/x-mixed-replace; boundary=picture"

Seat = Callable[[str, Callable[[], None]], AbstractContextManager[bool]]


@dataclass(slots=True, eq=False)
class _Watcher:
    """Somebody who watches a camera; `newest` is the picture that they have not been sent yet."""

    camera: str
    newest: LivePicture | None = None
    is_over: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self) -> None:
        """No more pictures."""
        self.is_over = True
        self.wake.set()


class Streams:
    """Lives in the event loop, but for `publish`.

    Args:
        cameras: keys that may be watched.
        seat: takes a place among the viewers; see `Seats.taken`.
        clock_ns: monotonic.
    """

    def __init__(self, *, cameras: frozenset[str], seat: Seat, clock_ns: Callable[[], int]) -> None:
        self._cameras = cameras
        self._seat = seat
        self._clock_ns = clock_ns
        self._encoder: LiveEncoder
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._watchers: list[_Watcher] = []
        self._closing = False

    def connect(self, encoder: LiveEncoder) -> None:
        """The encoder that calls `publish`; before the first request."""
        self._encoder = encoder

    def publish(self, picture: LivePicture) -> None:
        """Called by the encoder's thread; never waits."""
        event_loop = self._event_loop
        if event_loop is not None and not event_loop.is_closed():
            event_loop.call_soon_threadsafe(self._deliver, picture)

    def close(self) -> None:
        """The server ends: so does every stream."""
        self._closing = True
        for watcher in self._watchers:
            watcher.end()

    def router(self) -> APIRouter:
        """The routes, below the base path."""
        router = APIRouter()
        router.add_api_route("/api/cameras/{key}/stream", self.stream, methods=["GET"])
        router.add_api_route("/api/cameras/{key}/snapshot", self.snapshot, methods=["GET"])
        return router

    async def stream(self, request: Request) -> Response:
        """Pictures of a camera, one after the other."""
        key = request.path_params["key"]
        return _Stream(self, key) if key in self._cameras else _no_camera()

    async def snapshot(self, request: Request) -> Response:
        """The next picture of a camera."""
        key = request.path_params["key"]
        if key not in self._cameras:
            return _no_camera()
        watcher = _Watcher(key)
        with self.seat(request.scope, watcher) as is_free:
            if not is_free:
                return no_seat()
            try:
                async with asyncio.timeout(SNAPSHOT_S):
                    picture = await self._next_one(watcher)
            except TimeoutError:
                picture = None
        if picture is None:
            return _told(404, "The camera sends no picture now.", "Live tells what is wrong.")
        age_ms = (self._clock_ns() - picture.result.stamp.captured_ns) / 1e6
        headers = {"X-Timestamp": _timestamp(picture), "X-Age-Ms": f"{age_ms:.0f}"}
        return Response(picture.jpeg, media_type="image/jpeg", headers=headers)

    def seat(self, scope: Scope, watcher: _Watcher) -> AbstractContextManager[bool]:
        """A seat for whoever calls; with it `watcher` ends."""
        return self._seat(scope[HOLDER_KEY], watcher.end)

    @contextmanager
    def watching(self, watcher: _Watcher) -> Iterator[None]:
        """One more watches a camera, until the block ends."""
        self._event_loop = asyncio.get_running_loop()
        watcher.is_over = watcher.is_over or self._closing
        self._watchers.append(watcher)
        self._encoder.watch(watcher.camera)
        try:
            yield
        finally:
            self._watchers.remove(watcher)
            self._encoder.unwatch(watcher.camera)

    async def next_for(self, watcher: _Watcher) -> LivePicture | None:
        """The newest picture that `watcher` was not sent yet; None at the end."""
        while watcher.newest is None and not watcher.is_over:
            watcher.wake.clear()
            await watcher.wake.wait()
        if watcher.is_over:
            return None
        picture, watcher.newest = watcher.newest, None
        self._encoder.sent(watcher.camera)
        return picture

    async def _next_one(self, watcher: _Watcher) -> LivePicture | None:
        with self.watching(watcher):
            return await self.next_for(watcher)

    def _deliver(self, picture: LivePicture) -> None:
        camera = picture.result.camera
        for watcher in self._watchers:
            if watcher.camera == camera:
                if watcher.newest is not None:
                    self._encoder.skipped(camera)
                watcher.newest = picture
                watcher.wake.set()


class _Stream(Response):
    """An answer without an end."""

    def __init__(self, streams: Streams, camera: str) -> None:
        super().__init__()
        self._streams = streams
        self._camera = camera

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watcher = _Watcher(self._camera)
        with self._streams.seat(scope, watcher) as is_free:
            if not is_free:
                await no_seat()(scope, receive, send)
                return
            with self._streams.watching(watcher):
                going = asyncio.create_task(_gone(receive))
                going.add_done_callback(lambda _: watcher.end())
                try:
                    await self._send_pictures(watcher, send)
                finally:
                    going.cancel()

    async def _send_pictures(self, watcher: _Watcher, send: Send) -> None:
        headers = [(b"content-type", MULTIPART)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": BOUNDARY, "more_body": True})
        while (picture := await self._streams.next_for(watcher)) is not None:
            await send({"type": "http.response.body", "body": _part(picture), "more_body": True})
            # Nothing, which leaves when there is room again: only then is the next one chosen.
            await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def no_seat() -> Response:
    """There are as many viewers as there may be."""
    return _told(429, "Too many are watching.", "APPLIANCE_LIVE__VIEWERS sets how many may.")


def _no_camera() -> Response:
    hint = "Its key is the one in APPLIANCE_CAMERAS__<KEY>__URL."
    return _told(404, "There is no such camera.", hint)


def _told(status: int, error: str, hint: str) -> Response:
    return JSONResponse({"error": error, "hint": hint}, status_code=status)


def _part(picture: LivePicture) -> bytes:
    """One picture, and at once the boundary behind it: without, readers would hold it back."""
    head = (
        f"Content-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\n"
        f"X-Timestamp: {_timestamp(picture)}\r\n\r\n"
    )
    return b"".join((head.encode(), picture.jpeg, b"\r\n", BOUNDARY))


def _timestamp(picture: LivePicture) -> str:
    """When it was taken: wall clock, seconds since 1970."""
    return f"{picture.result.stamp.captured_at_s:.3f}"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
