"""The real process for half an hour: nothing that it holds may grow.

Two cameras, one of which goes away twice a minute, and four viewers that come and go.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import websockets

from benchmarks.inputs import Inputs
from benchmarks.report import Row, at_least, at_most
from benchmarks.station import Running, Viewer, running, wait_until_ready
from benchmarks.unsteady import AWAY_S, THERE_S, unsteady_camera

VIEWERS = 4
SAMPLE_S = 5.0
INSIDE = Path(__file__).parent / "inside"
WARM_UP = 0.2  # share of the time in which memory may still find its level


@dataclass(slots=True)
class Samples:
    """What the process held, over time."""

    at_s: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    names: list[Counter[str]] = field(default_factory=list)

    def take(self, station: Running, names: Path) -> None:
        """One sample; `names` is the file in which the process tells those of its threads."""
        process = station.process
        self.at_s.append(time.monotonic() - station.started_s)
        self.rss_mb.append(process.memory_info().rss / 1e6)
        self.threads.append(process.num_threads())
        self.descriptors.append(process.num_fds())
        lines = names.read_text(encoding="utf-8").splitlines()
        counts = {name: int(count) for name, _, count in (each.rpartition(" ") for each in lines)}
        self.names.append(Counter(counts))

    def after_warm_up(self) -> "Samples":
        """Without the beginning."""
        first = int(len(self.at_s) * WARM_UP)
        return Samples(
            self.at_s[first:],
            self.rss_mb[first:],
            self.threads[first:],
            self.descriptors[first:],
            self.names[first:],
        )

    def gained(self) -> list[str]:
        """Names of the threads of which there were more in the last third than in the first."""
        third = len(self.names) // 3
        begin = sum(self.names[:third], Counter[str]())
        end = sum(self.names[-third:], Counter[str]())
        return [name for name in end if end[name] - begin[name] > third / 2]


def soak(inputs: Inputs, cache: Path, minutes: float) -> list[Row]:
    """Growth by a line fitted through the samples, from its first minute to its last."""
    with unsteady_camera(inputs) as camera:
        cameras = {
            "street": str(inputs.clip),
            "gate": f"http://127.0.0.1:{camera.server_port}/",
        }
        names = cache / "threads"
        telling = {"PYTHONPATH": str(INSIDE), "BENCHMARK_THREADS": str(names)}
        with running(inputs, cache, cameras, telling) as station:
            wait_until_ready(station)
            samples, crowd = asyncio.run(_watch(station, names, minutes * 60))
        connections = camera.connections
    kept = samples.after_warm_up()
    expected = minutes * 60 / (THERE_S + AWAY_S)
    return [
        at_most(
            "RSS growth by the fitted line",
            _growth(kept.at_s, kept.rss_mb),
            5,
            unit="MB",
            first=kept.rss_mb[0],
            last=kept.rss_mb[-1],
            most=max(kept.rss_mb),
            minutes=minutes,
        ),
        at_most(
            "threads gained by the fitted line",
            _growth(kept.at_s, kept.threads),
            1,
            least=min(kept.threads),
            most=max(kept.threads),
            gained=kept.gained(),
        ),
        at_most(
            "descriptors gained by the fitted line",
            _growth(kept.at_s, kept.descriptors),
            1,
            least=min(kept.descriptors),
            most=max(kept.descriptors),
        ),
        at_least(
            "reconnections / times the camera went away",
            connections / expected,
            0.8,
            connections=connections,
        ),
        at_least(
            "visits of viewers that got pictures / all",
            crowd.served / crowd.visits,
            0.95,
            visits=crowd.visits,
            refused=crowd.refused,
        ),
    ]


@dataclass(slots=True)
class _Crowd:
    visits: int = 0
    served: int = 0
    refused: list[str] = field(default_factory=list)


async def _watch(station: Running, names: Path, seconds: float) -> tuple[Samples, _Crowd]:
    cookie, crowd, samples = station.cookie(), _Crowd(), Samples()
    guests = [
        asyncio.create_task(_come_and_go(station, cookie, crowd, random.Random(seed)))  # noqa: S311
        for seed in range(VIEWERS)
    ]
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        await asyncio.sleep(SAMPLE_S)
        samples.take(station, names)
        for guest in guests:
            if guest.done():
                guest.result()
    for guest in guests:
        guest.cancel()
    await asyncio.gather(*guests, return_exceptions=True)
    return samples, crowd


async def _come_and_go(station: Running, cookie: str, crowd: _Crowd, dice: random.Random) -> None:
    """Visits of some seconds each, and short rests."""
    for _ in itertools.count():
        viewer = Viewer()
        stay_s = dice.uniform(3, 15)
        try:
            await asyncio.wait_for(viewer.watch(station, cookie, ["street", "gate"]), stay_s)
        except TimeoutError:
            crowd.served += viewer.pictures > 0
        except websockets.ConnectionClosed as closed:
            crowd.refused.append(str(closed))
        crowd.visits += 1  # ended: one that the end of the soak cuts short does not count
        await asyncio.sleep(dice.uniform(0, 5))


def _growth(at_s: list[float], values: list[float] | list[int]) -> float:
    slope, _ = np.polyfit(at_s, values, 1)
    return float(slope * (at_s[-1] - at_s[0]))
