"""The measures of the whole: each returns rows for the table."""

import asyncio
import gc
import importlib.metadata
import json
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from benchmarks.flood import flood
from benchmarks.inputs import MODEL, YOLO, Inputs, yolo_weights
from benchmarks.page import page
from benchmarks.report import Row, at_least, at_most
from benchmarks.station import (
    Running,
    Viewer,
    running,
    stare,
    wait_until_ready,
    wait_until_started,
)
from benchmarks.steady import age_of_results, stub_station

ROUNDS = 3


def throughput(inputs: Inputs, cache: Path) -> list[Row]:
    """Pictures per second of the whole pipeline, against the bare model and a plain loop."""
    ways = _in_turn(("original", "plain", "product"), cache, threads=2)
    fps = {way: figures["fps"] for way, figures in ways.items()}
    to_bare, to_plain = fps["product"] / fps["original"], fps["product"] / fps["plain"]
    return [
        at_least("pipeline fps / bare session.run fps", to_bare, 0.95, **fps),
        at_least("pipeline fps / plain loop fps", to_plain, 1.2),
    ]


def yolo(inputs: Inputs, cache: Path) -> list[Row]:
    """The same with a YOLO11n at 640, where choosing before decoding counts most."""
    if not yolo_weights().is_file():
        print(f"yolo: skipped, there is no {yolo_weights()}")
        return []
    ways = _in_turn(("original", "plain", "product"), cache, threads=2, model=YOLO)
    fps = {way: figures["fps"] for way, figures in ways.items()}
    to_bare, to_plain = fps["product"] / fps["original"], fps["product"] / fps["plain"]
    return [
        at_least("YOLO at 640: pipeline fps / bare session.run fps", to_bare, 1.1, **fps),
        at_least("YOLO at 640: pipeline fps / plain loop fps", to_plain, 1.25),
    ]


def overhead(inputs: Inputs, cache: Path) -> list[Row]:
    """Processor time for each 720p frame beyond the model, one thread."""
    ways = _in_turn(("original", "canonical", "plain", "product"), cache, threads=1)
    cpu = {way: figures["cpu_ms"] for way, figures in ways.items()}
    ours, theirs = cpu["product"] - cpu["canonical"], cpu["plain"] - cpu["original"]
    return [at_most("non-inference CPU / that of a plain loop", ours / theirs, 0.6, unit="", **cpu)]


def _in_turn(
    ways: Sequence[str], cache: Path, *, threads: int, model: str = MODEL
) -> dict[str, dict[str, float]]:
    """The middle of a few runs of each way, in turn, so that a slow minute slows them all."""
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way in ways:
            runs[way].append(_alone(way, cache, threads, model))
    return {
        way: {key: statistics.median(run[key] for run in done) for key in done[0]}
        for way, done in runs.items()
    }


def _alone(way: str, cache: Path, threads: int, model: str) -> dict[str, float]:
    """One run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.worker", way, "--cache", str(cache)]
    done = subprocess.run(  # noqa: S603
        [*command, "--threads", str(threads), "--model", model], stdout=subprocess.PIPE, check=True
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def age(inputs: Inputs, cache: Path) -> list[Row]:
    """How old a result is with cameras that are faster than the model."""
    rows = []
    for cameras in (1, 2, 4):
        figures = age_of_results(inputs, cache, cameras)
        bound = (cameras * figures["inference_ms"] + figures["period_ms"]) * 1.1
        ratio = figures["p99_ms"] / bound
        rows.append(
            at_most(f"age p99 / its bound, {cameras} cameras", ratio, 1.0, unit="", **figures)
        )
    return rows


def viewers(inputs: Inputs, cache: Path) -> list[Row]:
    """What many viewers cost the station, and what one that never reads costs the others."""
    with running(inputs, cache, {"street": str(inputs.clip)}) as station:
        wait_until_ready(station)
        cookie = station.cookie()
        few, many = (asyncio.run(_crowd(station, cookie, count)) for count in (1, 16))
        before = station.process.memory_info().rss
        stared = asyncio.run(_crowd(station, cookie, 4, starers=1))
        grown_mb = (station.process.memory_info().rss - before) / 1e6
    worst = min(many["fps"]) / max(many["fps"])
    beside = max(stared["fps"]) / max(few["fps"])
    return [
        at_most("CPU with 16 viewers / with 1", many["cpu"] / few["cpu"], 1.3),
        at_least("slowest of 16 viewers / fastest", worst, 0.9, fps=max(many["fps"])),
        at_least("fps beside one that never reads / without", beside, 0.9),
        at_most("memory that one costs", grown_mb, 10, unit="MB"),
    ]


async def _crowd(station: Running, cookie: str, count: int, *, starers: int = 0) -> dict:  # type: ignore[type-arg]
    crowd = [Viewer() for _ in range(count)]
    tasks = [asyncio.create_task(v.watch(station, cookie, ["street"])) for v in crowd]
    tasks += [asyncio.create_task(stare(station, cookie, ["street"])) for _ in range(starers)]
    await asyncio.sleep(2)
    counted, cpu_s, begin_s = [v.pictures for v in crowd], station.cpu_s(), time.monotonic()
    await asyncio.sleep(8)
    wall_s = time.monotonic() - begin_s
    fps = [(v.pictures - n) / wall_s for v, n in zip(crowd, counted, strict=True)]
    cpu = (station.cpu_s() - cpu_s) / wall_s
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {"fps": fps, "cpu": cpu}


def start_up(inputs: Inputs, cache: Path) -> list[Row]:
    """From `appliance serve` with a built engine to the first result and to the whole page."""
    with running(inputs, cache, {"street": str(inputs.clip)}) as station:
        wait_until_ready(station)  # the first run may build
    with running(inputs, cache, {"street": str(inputs.clip)}) as station:
        ready_s = wait_until_ready(station)
        reached_s = wait_until_started(station)
        cookie = station.cookie()
        asyncio.run(_crowd(station, cookie, 1))
        rss_mb = station.process.memory_info().rss / 1e6
    return [
        Row("start to ready", ready_s, "s"),
        Row("start to first result", reached_s["first_result"], "s"),
        Row("start to the whole page", reached_s["page"], "s"),
        at_most(
            "from the first result to the whole page",
            reached_s["page"] - reached_s["first_result"],
            1.0,
            unit="s",
        ),
        at_most("memory with the page open", rss_mb, 350, unit="MB"),
    ]


def steady_state(inputs: Inputs, cache: Path) -> list[Row]:
    """20,000 frames through a stub engine: nothing of a frame's size is allocated."""
    with stub_station(inputs) as count:
        _wait_for(count, 2_000)
        gc.collect()
        process = psutil.Process()
        before = process.memory_info().rss, threading.active_count(), process.num_fds()
        tracemalloc.start()
        tracemalloc.reset_peak()
        low, _ = tracemalloc.get_traced_memory()
        _wait_for(count, 7_000)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        _wait_for(count, 22_000)
        gc.collect()
        after = process.memory_info().rss, threading.active_count(), process.num_fds()
    return [
        at_most("memory traced at peak / one frame", (peak - low) / (1280 * 720 * 3), 0.5),
        at_most("RSS growth over 20,000 frames", (after[0] - before[0]) / 1e6, 2, unit="MB"),
        at_most("threads and descriptors gained", sum(after[1:]) - sum(before[1:]), 0),
    ]


def _wait_for(count: Callable[[], int], frames: int) -> None:
    while count() < frames:
        time.sleep(0.05)


def installed(inputs: Inputs, cache: Path) -> list[Row]:
    """Size of the packages of the cpu environment."""
    names = _pinned(Path(__file__).parent.parent / "requirements" / "cpu.txt")
    sizes = {name: _size_bytes(name) / 1e6 for name in names}
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:6]
    return [at_most("installed size, cpu", sum(sizes.values()), 1000, unit="MB", **dict(largest))]


def _pinned(lock: Path) -> Sequence[str]:
    lines = lock.read_text(encoding="utf-8").splitlines()
    return [line.partition("==")[0] for line in lines if "==" in line and not line.startswith(" ")]


def _size_bytes(name: str) -> int:
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        return 0
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_size for path in paths if path.is_file())


MEASURES = {
    measure.__name__: measure
    for measure in (
        throughput,
        yolo,
        overhead,
        age,
        viewers,
        start_up,
        flood,
        steady_state,
        installed,
        page,
    )
}
