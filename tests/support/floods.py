"""Floods of a station, each by one kind of caller, in a process of its own: it slows no measure.

    python -m tests.support.floods KIND URL PASSWORD

It says "begun" once a flood is on, ends where its standard input does, and then says what came of
it: how often there was which answer, as JSON.
"""

import asyncio
import itertools
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx
import websockets

FLOODER, PROXY = "127.0.0.3", "127.0.0.1"
NAME_HEADER = "X-Remote-User"
VIEWER, OPERATOR, GUESSED = "vera", "otto", "ada"
BEGUN_S = 0.5
SESSIONS = 504  # more than the station keeps
HALF_OPEN = 430
SEATS = 40
JUNK = b"\x16\x03\x01 this is no request\r\n\r\n"

One = Callable[[httpx.AsyncClient, int], Awaitable[object]]


class Flood:
    """What all of them share.

    Args:
        url: of the station.
        password: of everybody there.
    """

    def __init__(self, url: str, password: str) -> None:
        self.url = url
        self.password = password
        self.over = asyncio.Event()
        self.came: Counter[str] = Counter()
        self._numbers = itertools.count()

    def client(self, address: str = FLOODER, **headers: str) -> httpx.AsyncClient:
        """Calls from one address; header names with _ for -."""
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
        own = {"Origin": self.url, **{key.replace("_", "-"): text for key, text in headers.items()}}
        line = httpx.AsyncHTTPTransport(local_address=address, limits=limits)
        return httpx.AsyncClient(base_url=self.url, headers=own, transport=line, timeout=30)

    async def signed_in(self, user: str) -> str:
        """The Cookie header of a person at the flooder's address."""
        async with self.client() as client:
            answer = await client.post("/login", data={"user": user, "password": self.password})
        return answer.headers["set-cookie"].partition(";")[0]

    async def repeat(
        self, client: httpx.AsyncClient, at_a_time: int, one: One, *, least: int = 0
    ) -> None:
        """`one(client, n)` again and again, so many at a time, and `least` of them in any case."""

        async def caller() -> None:
            while not self.over.is_set() or self.came.total() < least:
                await self.noted(one(client, next(self._numbers)))

        await asyncio.gather(*(caller() for _ in range(at_a_time)))

    async def keep(
        self, count: int, one: Callable[[], Awaitable[object]], *, pause_s: float = 0.0
    ) -> None:
        """So many of these at a time; each that ends comes back, and all end with the flood."""

        async def holder() -> None:
            while not self.over.is_set():
                await self.noted(one())
                await asyncio.sleep(pause_s)

        holders = [asyncio.create_task(holder()) for _ in range(count)]
        await self.over.wait()
        for each in holders:
            each.cancel()
        await asyncio.gather(*holders, return_exceptions=True)

    async def noted(self, call: Awaitable[object]) -> None:
        """Counts what comes of it."""
        try:
            answer = await call
        except (httpx.TransportError, OSError, websockets.WebSocketException) as error:
            answer = type(error).__name__
        self.came[str(answer)] += 1


async def sign_ins(flood: Flood) -> None:
    """One viewer, with the right password, each time as a new browser."""
    form = {"user": VIEWER, "password": flood.password}

    async def one(client: httpx.AsyncClient, _: int) -> object:
        client.cookies.clear()
        return (await client.post("/login", data=form)).status_code

    async with flood.client() as client:
        await flood.repeat(client, 20, one)


async def vouched_sign_ins(flood: Flood) -> None:
    """The same by a proxy's word, which costs next to nothing: 504 sessions in seconds."""

    async def one(client: httpx.AsyncClient, _: int) -> object:
        client.cookies.clear()
        return (await client.get("/login")).status_code

    headers = {NAME_HEADER.replace("-", "_"): VIEWER, "X_Forwarded_For": "192.0.2.9"}
    async with flood.client(PROXY, **headers) as client:
        await flood.repeat(client, 8, one, least=SESSIONS)


async def guesses(flood: Flood, user: Callable[[int], str] = lambda _: GUESSED) -> None:
    """At one user's password, from a new address each time."""

    async def one(client: httpx.AsyncClient, n: int) -> object:
        address = {"X-Forwarded-For": f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"}
        form = {"user": user(n), "password": "wrong"}
        return (await client.post("/login", data=form, headers=address)).status_code

    async with flood.client(PROXY) as client:
        await flood.repeat(client, 50, one)


async def guesses_at_anybody(flood: Flood) -> None:
    """The same at a new name each time."""
    await guesses(flood, lambda n: f"user{n}")


async def pages(flood: Flood) -> None:
    """One viewer loads the whole document of the page, as fast as it comes."""

    async def one(client: httpx.AsyncClient, _: int) -> object:
        return (await client.get("/ui/")).status_code

    async with flood.client(Cookie=await flood.signed_in(VIEWER)) as client:
        await flood.repeat(client, 30, one)


async def inspections(flood: Flood) -> None:
    """One operator has pictures looked at without end."""
    import numpy as np
    from PIL import Image

    from tests.support.people import encoded  # for this flood alone: they take their time

    noise = np.random.default_rng(7).integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    picture = encoded(Image.fromarray(noise), "JPEG", quality=60)

    async def one(client: httpx.AsyncClient, _: int) -> object:
        asked = "/api/inspect?model=bright-spots&confidence=0.5"
        return (await client.post(asked, content=picture)).status_code

    async with flood.client(Cookie=await flood.signed_in(OPERATOR)) as client:
        await flood.repeat(client, 20, one)


async def joins(flood: Flood) -> None:
    """One viewer asks Gradio for events, each time as a page that was just opened."""
    async with flood.client(Cookie=await flood.signed_in(VIEWER)) as client:
        config = (await client.get("/ui/config")).json()
        events = [each["id"] for each in config["dependencies"]]

        async def one(client: httpx.AsyncClient, n: int) -> object:
            event = {"data": [], "fn_index": events[n % len(events)], "session_hash": f"page{n}"}
            return (await client.post("/ui/gradio_api/queue/join", json=event)).status_code

        await flood.repeat(client, 30, one)


async def seats(flood: Flood) -> None:
    """One viewer watches in many windows, and comes back where one is ended."""
    place = flood.url.replace("http", "ws") + "/live"
    headers = {"Cookie": await flood.signed_in(VIEWER), "Origin": flood.url}

    async def watch() -> object:
        options = {"additional_headers": headers, "local_addr": (FLOODER, 0), "max_size": None}
        async with websockets.connect(place, **options) as view:
            await view.send(json.dumps({"watch": ["gate"]}))
            async for message in view:
                if isinstance(message, bytes):
                    await view.send(json.dumps({"ack": "gate"}))
            return view.close_code

    await flood.keep(SEATS, watch, pause_s=0.1)


async def _raw(flood: Flood, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = httpx.URL(flood.url)
    line = await asyncio.open_connection(url.host, url.port, local_addr=(FLOODER, 0))
    line[1].write(data)
    return line


async def half_open_heads(flood: Flood) -> None:
    """A stranger begins requests and ends none; what is dropped comes back."""

    async def hold() -> object:
        reader, writer = await _raw(flood, b"GET / HTTP/1.1\r\nHost: x\r\n")
        try:
            await reader.read()
        finally:
            writer.close()
        return "ended"

    await flood.keep(HALF_OPEN, hold)


async def junk(flood: Flood) -> None:
    """A stranger sends what is no request."""

    async def one(_: httpx.AsyncClient, __: int) -> object:
        reader, writer = await _raw(flood, JUNK)
        answer = await reader.read()
        writer.close()
        return answer[:12].decode("latin-1")

    async with flood.client() as client:
        await flood.repeat(client, 30, one)


KINDS = {
    flood.__name__: flood
    for flood in (
        sign_ins,
        vouched_sign_ins,
        guesses,
        guesses_at_anybody,
        pages,
        inspections,
        joins,
        seats,
        half_open_heads,
        junk,
    )
}


async def _run(kind: str, url: str, password: str) -> None:
    flood = Flood(url, password)
    flooding = asyncio.create_task(KINDS[kind](flood))
    await asyncio.wait({flooding}, timeout=BEGUN_S)
    print("begun", flush=True)  # noqa: T201 - the protocol with the test
    await asyncio.to_thread(sys.stdin.read)
    flood.over.set()
    with suppress(TimeoutError):
        await asyncio.wait_for(flooding, 35)
    print(json.dumps(flood.came), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
