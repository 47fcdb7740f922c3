"""The real process, with the clip as its cameras, for measures from outside."""

import asyncio
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import websockets

from appliance.settings.secrets import hash_password
from appliance.values import Stage
from benchmarks.inputs import MODEL, Inputs

USER, PASSWORD, TOKEN = "bench", "benchmark-password", "benchmark-metrics-token"
STARTS_S = 120


@dataclass(frozen=True, slots=True)
class Running:
    """A station that runs.

    Attributes:
        process: of the station.
        url: of its page.
        started_s: monotonic, when it was started.
    """

    process: psutil.Process
    url: str
    started_s: float

    def cookie(self) -> str:
        """Sign in; the Cookie header."""
        answer = httpx.post(
            f"{self.url}/login",
            data={"user": USER, "password": PASSWORD},
            headers={"Origin": self.url},
        )
        return answer.headers["set-cookie"].partition(";")[0]

    def reading(self) -> dict[str, Any]:
        """What /api/ready says."""
        answer = httpx.get(f"{self.url}/api/ready", headers={"Authorization": f"Bearer {TOKEN}"})
        document: dict[str, Any] = answer.json()
        return document

    def metrics(self) -> str:
        """What /metrics says."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx.get(f"{self.url}/metrics", headers=headers).text

    def cpu_s(self) -> float:
        """Processor seconds so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def running(
    inputs: Inputs, cache: Path, cameras: Mapping[str, str], more: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Serve `cameras` (key to URL) until the block ends; `more` variables where given."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environ = {
        **os.environ,  # noqa: TID251 - a child's environment
        "APPLIANCE_PATHS__STATE": str(inputs.state),
        "APPLIANCE_PATHS__CACHE": str(cache / "cache"),
        "APPLIANCE_WEB__PORT": str(port),
        "APPLIANCE_MODEL": MODEL,
        "APPLIANCE_AUTH__USERS": f"{USER}:admin:{hash_password(PASSWORD)}",
        "APPLIANCE_AUTH__METRICS_TOKEN": TOKEN,
        **{f"APPLIANCE_CAMERAS__{key.upper()}__URL": url for key, url in cameras.items()},
        **(more or {}),
    }
    started_s = time.monotonic()
    log = (cache / "station.log").open("w")
    child = subprocess.Popen([sys.executable, "-m", "appliance", "serve"], env=environ, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        yield Running(psutil.Process(child.pid), url, started_s)
    finally:
        child.terminate()
        child.wait(15)
        log.close()


def wait_until_ready(station: Running) -> float:
    """Seconds from the start until the page answers and the station is ready."""
    while time.monotonic() - station.started_s < STARTS_S:
        try:
            if station.reading()["ready"]:
                return time.monotonic() - station.started_s
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise TimeoutError("the station did not become ready")


def wait_until_started(station: Running) -> dict[str, float]:
    """Seconds from the start of the process to each stage, once all were reached."""
    while time.monotonic() - station.started_s < STARTS_S:
        stages = re.findall(r'appliance_start_seconds{stage="(\w+)"} (\S+)', station.metrics())
        if len(stages) == len(Stage):
            return {stage: float(seconds) for stage, seconds in stages}
        time.sleep(0.1)
    raise TimeoutError("the station has no page, or no result")


@dataclass(slots=True)
class Viewer:
    """Counts what one live view gets."""

    pictures: int = 0
    ages_ms: list[float] = field(default_factory=list)
    first_s: float = 0.0

    async def watch(self, station: Running, cookie: str, cameras: list[str]) -> None:
        """Watch, and acknowledge each picture at once, until cancelled."""
        async with _open(station, cookie) as socket_:
            await socket_.send(json.dumps({"watch": cameras}))
            async for message in socket_:
                if isinstance(message, str):
                    continue
                (size,) = struct.unpack(">I", message[:4])
                header = json.loads(message[4 : 4 + size])
                self.first_s = self.first_s or time.monotonic()
                self.pictures += 1
                self.ages_ms.append(header["age_ms"])
                await socket_.send(json.dumps({"ack": header["camera"]}))


async def stare(station: Running, cookie: str, cameras: list[str]) -> None:
    """A viewer that asks for pictures and never reads one."""
    async with _open(station, cookie) as socket_:
        await socket_.send(json.dumps({"watch": cameras}))
        socket_.transport.pause_reading()
        await asyncio.sleep(3600)


@asynccontextmanager
async def _open(station: Running, cookie: str) -> AsyncIterator[Any]:
    url = station.url.replace("http", "ws") + "/live"
    headers = {"Cookie": cookie, "Origin": station.url}
    async with websockets.connect(url, additional_headers=headers, max_size=None) as socket_:
        yield socket_
