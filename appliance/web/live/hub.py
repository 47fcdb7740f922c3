"""The live view's server side: one acknowledged WebSocket for each open page.

The encoder hands each picture over once, for all viewers. A viewer gets the newest picture of a
camera only after it has drawn the one before: a slow one sees fewer pictures, never old ones,
and nothing piles up for it.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from appliance.pipeline.encoder import LiveEncoder, LivePicture
from appliance.readings import StationReading
from appliance.texts import Texts
from appliance.web.access.gate import HOLDER_KEY, SESSION_KEY, SESSION_OVER, TOKEN_KEY
from appliance.web.access.seats import Seats
from appliance.web.access.sessions import Session, Sessions
from appliance.web.asgi import texts_of
from appliance.web.live.messages import picture_message, station_message

READING_PERIOD_S = 0.5
SEND_TIMEOUT_S = 5.0
TOO_MANY = 4429
GOING_AWAY = 1001
MESSAGE_LIMIT = 16 * 1024
KIOSK = "kiosk"  # whose seat the one of the host's own screen is


@dataclass(slots=True)
class _Viewer:
    """One page. `ready` holds the cameras whose last picture it has drawn.

    The kiosk's has no session, and so no end. `is_lost`: somebody else has got the seat.
    """

    session: Session | None
    token: str
    texts: Texts
    holder: str
    is_lost: bool = False
    watching: set[str] = field(default_factory=set)
    ready: set[str] = field(default_factory=set)
    sent: dict[str, int] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def lose(self) -> None:
        """The seat is somebody else's now."""
        self.is_lost = True
        self.wake.set()


class LiveHub:
    """Brings pictures and readings to viewers. Lives in the event loop, but for `publish`.

    Args:
        cameras: keys that may be watched.
        sessions: a viewer whose session is over is closed.
        station: name and version, for the page; with them goes a mark of this run, by which a page
            notices that another one answers.
        confidence: the station's floor of scores.
        viewers: most viewers at a time.
        clock_ns: monotonic.
    """

    def __init__(
        self,
        *,
        cameras: frozenset[str],
        sessions: Sessions,
        station: dict[str, str],
        confidence: float,
        viewers: int,
        clock_ns: Callable[[], int],
    ) -> None:
        self._cameras = cameras
        self._sessions = sessions
        self._station: dict[str, object] = {**station, "boot": secrets.token_hex(4), "page": False}
        self._confidence = confidence
        self._seats = Seats(viewers)
        self._clock_ns = clock_ns
        self._encoder: LiveEncoder
        self._reading: Callable[[], StationReading]
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._viewers: list[_Viewer] = []
        self._latest: dict[str, tuple[int, bytes]] = {}
        self._closing = False

    def connect(self, encoder: LiveEncoder, reading: Callable[[], StationReading]) -> None:
        """The encoder that calls `publish`, and the station now; before the first viewer."""
        self._encoder = encoder
        self._reading = reading

    def page_is_up(self) -> None:
        """The page around the live view is made."""
        self._station["page"] = True

    def count(self) -> int:
        """Open viewers; may be asked from any thread."""
        return self._seats.count()

    def seat(self, holder: str, lose: Callable[[], None]) -> AbstractContextManager[bool]:
        """One more, who watches by other means; see `Seats.taken`."""
        return self._seats.taken(holder, lose)

    def publish(self, picture: LivePicture) -> None:
        """Called by the encoder's thread; never waits."""
        event_loop = self._event_loop
        if event_loop is None or event_loop.is_closed():
            return
        message = picture_message(picture, now_ns=self._clock_ns())
        event_loop.call_soon_threadsafe(self._deliver, picture, message)

    def close(self) -> None:
        """The server ends: tell every viewer, who will come back by itself."""
        self._closing = True
        for viewer in self._viewers:
            viewer.wake.set()

    def _deliver(self, picture: LivePicture, message: bytes) -> None:
        camera = picture.result.camera
        watching = [viewer for viewer in self._viewers if camera in viewer.watching]
        before, _ = self._latest.get(camera, (0, b""))
        for viewer in watching:
            if viewer.sent.get(camera, 0) < before:
                self._encoder.skipped(camera)
        if watching:  # kept for nobody, it would be an old one for whoever comes next
            self._latest[camera] = (picture.result.stamp.sequence, message)
        for viewer in watching:
            viewer.wake.set()

    async def serve(self, socket: WebSocket) -> None:
        """One viewer whom the gate has let in, from connect to goodbye."""
        scope = socket.scope
        viewer = _Viewer(scope[SESSION_KEY], scope[TOKEN_KEY], texts_of(scope), scope[HOLDER_KEY])
        await self._serve(socket, viewer)

    async def serve_kiosk(self, socket: WebSocket) -> None:
        """The host's own screen; whoever calls this has seen to it that it is nobody else."""
        await self._serve(socket, _Viewer(None, "", texts_of(socket.scope), KIOSK))

    async def _serve(self, socket: WebSocket, viewer: _Viewer) -> None:
        self._event_loop = asyncio.get_running_loop()
        await socket.accept()
        with self._seats.taken(viewer.holder, viewer.lose) as is_free:
            if is_free:
                await self._serve_seated(socket, viewer)
            else:
                await socket.close(TOO_MANY)

    async def _serve_seated(self, socket: WebSocket, viewer: _Viewer) -> None:
        self._viewers.append(viewer)
        listening = asyncio.create_task(self._listen(socket, viewer))
        listening.add_done_callback(lambda _: viewer.wake.set())
        try:
            await self._talk(socket, viewer, listening)
        except (WebSocketDisconnect, TimeoutError, RuntimeError):
            return  # a viewer that goes, or reads nothing, is a normal end
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            self._viewers.remove(viewer)
            self._watch(viewer, set())

    async def _talk(
        self, socket: WebSocket, viewer: _Viewer, listening: asyncio.Task[None]
    ) -> None:
        next_reading_s = 0.0
        now_s = asyncio.get_running_loop().time
        while not listening.done():
            if self._closing:
                await socket.close(GOING_AWAY)
                return
            if viewer.is_lost:
                await socket.close(TOO_MANY)
                return
            if self._is_over(viewer):
                assert viewer.session is not None  # noqa: S101 - a kiosk's is never over
                await socket.close(SESSION_OVER, self._sessions.why_over(viewer.session))
                return
            viewer.wake.clear()
            await self._send_pictures(socket, viewer)
            if now_s() >= next_reading_s:
                next_reading_s = now_s() + READING_PERIOD_S
                await self._sent(viewer, socket.send_text(self._reading_text(viewer)))
            try:
                async with asyncio.timeout(max(0.0, next_reading_s - now_s())):
                    await viewer.wake.wait()
            except TimeoutError:
                continue

    async def _send_pictures(self, socket: WebSocket, viewer: _Viewer) -> None:
        for camera in tuple(viewer.ready & viewer.watching):
            sequence, message = self._latest.get(camera, (0, b""))
            if sequence <= viewer.sent.get(camera, 0):
                continue
            viewer.ready.discard(camera)
            viewer.sent[camera] = sequence
            await self._sent(viewer, socket.send_bytes(message))
            self._encoder.sent(camera)

    async def _sent(self, viewer: _Viewer, message: Coroutine[Any, Any, None]) -> None:
        """Wait until a message is on its way.

        Raises:
            TimeoutError: the viewer does not read, or its session or seat went meanwhile.
        """
        sending = asyncio.create_task(message)
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                while not sending.done():
                    await asyncio.wait({sending}, timeout=READING_PERIOD_S)
                    is_over = viewer.is_lost or self._is_over(viewer)
                    if is_over and not sending.done():
                        raise TimeoutError
            await sending
        finally:
            sending.cancel()

    def _is_over(self, viewer: _Viewer) -> bool:
        return viewer.session is not None and self._sessions.find(viewer.token) is None

    def _reading_text(self, viewer: _Viewer) -> str:
        session = viewer.session
        who = {"user": session.user, "role": str(session.role)} if session is not None else {}
        station = {**self._station, **who}
        message = station_message(self._reading(), station, self._confidence, viewer.texts)
        if session is not None:
            message["session"] = self._sessions.end_of(session)
        return json.dumps(message, separators=(",", ":"))

    async def _listen(self, socket: WebSocket, viewer: _Viewer) -> None:
        while True:
            event = await socket.receive()
            message = _parse(event.get("text") or "")
            if message is None:
                return
            if isinstance(message.get("watch"), list):
                wanted = {key for key in message["watch"] if isinstance(key, str)}
                self._watch(viewer, wanted & self._cameras)
            if isinstance(message.get("ack"), str) and message["ack"] in viewer.watching:
                viewer.ready.add(message["ack"])
            if message.get("active") is True and viewer.session is not None:
                self._sessions.use(viewer.session)
            viewer.wake.set()

    def _watch(self, viewer: _Viewer, cameras: set[str]) -> None:
        for camera in cameras - viewer.watching:
            self._encoder.watch(camera)
            viewer.ready.add(camera)
            viewer.sent.pop(camera, None)
        for camera in viewer.watching - cameras:
            self._encoder.unwatch(camera)
            if not any(camera in other.watching for other in self._viewers if other is not viewer):
                self._latest.pop(camera, None)
        viewer.watching = cameras


def _parse(text: str) -> dict[str, Any] | None:
    """A viewer's message; None ends the connection: it has gone, or is no page of ours."""
    if len(text) > MESSAGE_LIMIT:
        return None
    try:
        message = json.loads(text)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
