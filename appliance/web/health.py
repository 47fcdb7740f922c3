"""Health for scripts and container runtimes, over a Unix socket: no login, no port, no proxy.

Whoever may open the state folder may ask. The socket is bound and reached through the folder's
descriptor, because a path of more than 107 bytes does not fit into a socket address.
"""

import asyncio
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from appliance.errors import StoreError
from appliance.readings import StationReading
from appliance.redaction import one_line

NAME = "health.sock"
TIMEOUT_S = 5.0
LARGEST_BYTES: Final = 64 * 1024
PEER: Final = "3i"  # struct ucred: process, user, group


async def serve_health(folder: Path, reading: Callable[[], StationReading]) -> asyncio.Server:
    """Answer each connection with one JSON document, from the event loop itself."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        now = reading()
        document = {
            "ready": now.ready,
            "health": now.health,
            "reasons": now.reasons,
            "notices": now.notices,
        }
        writer.write(json.dumps(document).encode())
        await writer.drain()
        writer.close()

    with _opened(folder, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        return await asyncio.start_unix_server(answer, f"/proc/self/fd/{descriptor}/{NAME}")


def ask_health(folder: Path, *, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """What the station in `folder` says of itself.

    Root asks as well, and the station is not trusted by it: no link is followed, whoever listens
    must be the folder's owner, and the answer has its limits of size, time and form.

    Args:
        folder: the state folder.
        timeout_s: for all of it.

    Returns:
        `ready`, `health`, `reasons` and `notices`.

    Raises:
        StoreError: no station answers there.
    """
    deadline_s = time.monotonic() + timeout_s
    try:
        with (
            _opened(folder, os.O_RDONLY | os.O_DIRECTORY) as state,
            _opened(NAME, os.O_PATH | os.O_NOFOLLOW, within=state) as found,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel,
        ):
            channel.settimeout(timeout_s)
            channel.connect(f"/proc/self/fd/{found}")  # refused where it is no socket
            _check_peer(channel, {os.fstat(state).st_uid, os.geteuid()})
            return _judged(_received(channel, deadline_s))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(
            f"no station answers in {folder}", hint="Is it running, with the same settings?"
        ) from error


@contextmanager
def _opened(path: Path | str, flags: int, *, within: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check_peer(channel: socket.socket, owners: Collection[int]) -> None:
    """Refuse an answer of anybody but these users."""
    size = struct.calcsize(PEER)
    credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, user, _ = struct.unpack(PEER, credentials)
    if user not in owners:
        raise PermissionError(f"user {user} listens, expected one of {sorted(owners)}")


def _received(channel: socket.socket, deadline_s: float) -> bytes:
    answer = bytearray()
    while True:
        channel.settimeout(max(deadline_s - time.monotonic(), 0.001))
        part = channel.recv(LARGEST_BYTES + 1 - len(answer))
        if not part:
            return bytes(answer)
        answer += part
        if len(answer) > LARGEST_BYTES:
            raise ValueError(f"expected at most {LARGEST_BYTES} bytes, got more")


def _judged(answer: bytes) -> dict[str, Any]:
    """The answer, if it has the form of one; its texts may come from anybody."""
    match json.loads(answer):
        case {"ready": bool(ready), "health": str(health), "reasons": [*reasons], **rest}:
            notices = rest.get("notices", [])  # which the first releases did not tell
            if isinstance(notices, list) and all(isinstance(t, str) for t in (*reasons, *notices)):
                return {
                    "ready": ready,
                    "health": one_line(health),
                    "reasons": [*map(one_line, reasons)],
                    "notices": [*map(one_line, notices)],
                }
    raise ValueError("expected ready, health, reasons and notices")
