"""How much longer anybody waits while somebody tries passwords without a pause."""

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import httpx

from benchmarks.inputs import Inputs
from benchmarks.report import Row
from benchmarks.station import running, wait_until_ready, wait_until_started

RATE_HZ = 200
SECONDS = 8
PROBE_S = 0.02
CONNECTIONS = 50


def flood(inputs: Inputs, cache: Path) -> list[Row]:
    """The health route, with 200 wrong passwords a second beside it and without."""
    others = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    with others, running(inputs, cache, {"street": str(inputs.clip)}) as station:
        wait_until_ready(station)
        wait_until_started(station)
        idle = others.submit(time.sleep, SECONDS)
        idle_ms = _health_ms(station.url, idle.done)
        flooding = others.submit(_sign_in_wrongly, station.url)
        flooded_ms = _health_ms(station.url, flooding.done)
        flooding.result()
    figures = {"idle_ms": idle_ms, "flooded_ms": flooded_ms}
    ratio = flooded_ms / idle_ms
    return [Row("health under a flood of sign-ins / idle, median", ratio, detail=figures)]


def _health_ms(url: str, is_over: Callable[[], bool]) -> float:
    """Median time of an answer until something else is over."""
    took_ms: list[float] = []
    with httpx.Client(timeout=30) as client:
        while not is_over():
            began_s = time.monotonic()
            client.get(f"{url}/api/health")
            took_ms.append((time.monotonic() - began_s) * 1000)
            time.sleep(PROBE_S)
    return statistics.median(took_ms)


def _sign_in_wrongly(url: str) -> None:
    """In a process of its own, at a steady rate, whatever the answers are."""
    asyncio.run(_post_at_rate(url))


async def _post_at_rate(url: str) -> None:
    limits = httpx.Limits(max_connections=CONNECTIONS)
    form = {"user": "nobody", "password": "wrong"}
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:
        begun, began_s = [], time.monotonic()
        for number in range(RATE_HZ * SECONDS):
            attempt = client.post(f"{url}/login", data=form, headers={"Origin": url})
            begun.append(asyncio.create_task(attempt))
            await asyncio.sleep(max(0.0, began_s + number / RATE_HZ - time.monotonic()))
        await asyncio.gather(*begun)
