"""Health for scripts and container runtimes, over a Unix socket: no login, no port, no proxy.

Whoever may open the state folder may ask. The socket is bound and reached through the folder's
descriptor, because a path of more than 107 bytes does not fit into a socket address.
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.errors import StoreError
from appliance.readings import StationReading

NAME = "health.sock"
TIMEOUT_S = 5.0


@contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)


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

    with _short_path(folder) as path:
        return await asyncio.start_unix_server(answer, path)


def ask_health(folder: Path) -> dict[str, Any]:
    """What the station in `folder` says of itself.

    Raises:
        StoreError: no station answers there.
    """
    try:
        with (
            _short_path(folder) as path,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel,
        ):
            channel.settimeout(TIMEOUT_S)
            channel.connect(path)
            parts = iter(lambda: channel.recv(65536), b"")
            answer: dict[str, Any] = json.loads(b"".join(parts))
            return answer
    except (OSError, ValueError) as error:
        raise StoreError(
            f"no station answers in {folder}", hint="Is it running, with the same settings?"
        ) from error
