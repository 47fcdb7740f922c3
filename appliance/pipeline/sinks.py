"""Where results go: several sinks, of which one that fails harms no other.

The loop hands each result to all of them, one after the other, in its own thread. So a sink takes
what it needs and returns; what takes long is the work of a thread of its own.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from loguru import logger

from appliance.buffers import Lease
from appliance.predictions import Result
from appliance.readings import SinkReading

QUIET_S = 60.0  # without a failure, until a sink counts as well again
REMIND_S = 3600.0  # between two lines of the log on a sink that goes on failing


class ResultSink(Protocol):
    """Takes the results of all cameras."""

    @property
    def name(self) -> str:
        """Of one word, for the log and for metrics; no two sinks share it."""

    @property
    def frames_held(self) -> int:
        """Frames of one camera on which it holds a lease at once, at most, between its calls."""

    def offer(self, result: Result, lease: Lease) -> None:
        """Take a result; called by the loop, so it must not block.

        Args:
            result: of one frame.
            lease: on that frame; ends when this returns, so whoever needs the pixels retains it,
                and gives back what it has retained where it raises.
        """


@dataclass(frozen=True, slots=True)
class CallbackSink:
    """A sink that needs no pixels.

    Attributes:
        name: of the sink.
        call: gets each result.
        frames_held: none.
    """

    name: str
    call: Callable[[Result], None]
    frames_held: int = field(default=0, init=False)

    def offer(self, result: Result, lease: Lease) -> None:  # noqa: ARG002 - as every sink
        """Hand the result on."""
        self.call(result)


@dataclass(slots=True)
class _Failures:
    """Of one sink.

    Attributes:
        total: since the start.
        kind: of the last one; empty while the sink is well.
        last_ns: when it came.
        logged: kinds that the log knows, of those since the sink was well.
        logged_ns: when the last line was logged.
        unlogged: failures since then.
    """

    total: int = 0
    kind: str = ""
    last_ns: int = 0
    logged: set[str] = field(default_factory=set)
    logged_ns: int = 0
    unlogged: int = 0


class FanOut:
    """Hands each result to every sink. `offer` is called by the loop, the rest by any thread.

    Args:
        sinks: in the order in which they get each result.
        clock_ns: monotonic.

    Attributes:
        frames_held: of one camera, by all sinks together, at most.
    """

    def __init__(self, sinks: Sequence[ResultSink], *, clock_ns: Callable[[], int]) -> None:
        names = [sink.name for sink in sinks]
        if len(set(names)) < len(names):
            raise ValueError(f"sinks: expected names that differ, got {names}")
        self.frames_held = sum(sink.frames_held for sink in sinks)
        self._sinks = tuple(sinks)
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._failures = {name: _Failures() for name in names}

    def offer(self, result: Result, lease: Lease) -> None:
        """Hand one on; whatever a sink raises goes no further."""
        for sink in self._sinks:
            try:
                sink.offer(result, lease)
            except Exception as error:  # noqa: BLE001 - counted and told; the other sinks go on
                self._failed(sink.name, error)
            else:
                self._worked(sink.name)

    def readings(self) -> Mapping[str, SinkReading]:
        """How each sink is, by its name."""
        now_ns = self._clock_ns()
        with self._lock:
            return {
                name: SinkReading(failures.total, _trouble(name, failures, now_ns))
                for name, failures in self._failures.items()
            }

    def _failed(self, name: str, error: Exception) -> None:
        now_ns, kind = self._clock_ns(), type(error).__name__
        with self._lock:
            failures = self._failures[name]
            failures.total += 1
            failures.kind, failures.last_ns = kind, now_ns
            if kind in failures.logged and now_ns - failures.logged_ns < REMIND_S * 1e9:
                failures.unlogged += 1
                return
            unlogged, failures.unlogged, failures.logged_ns = failures.unlogged, 0, now_ns
            failures.logged.add(kind)
        say = logger.bind(sink=name)
        if unlogged:
            say.exception("results: one was not taken, after {} more failures", unlogged)
        else:
            say.exception("results: one was not taken")

    def _worked(self, name: str) -> None:
        failures = self._failures[name]
        if not failures.kind:  # written by this thread alone
            return
        with self._lock:
            if self._clock_ns() - failures.last_ns < QUIET_S * 1e9:
                return
            unlogged, failures.unlogged, failures.kind = failures.unlogged, 0, ""
            failures.logged.clear()
        logger.bind(sink=name).info("results: are taken again, after {} more failures", unlogged)


def _trouble(name: str, failures: _Failures, now_ns: int) -> str:
    if not failures.kind or now_ns - failures.last_ns >= QUIET_S * 1e9:
        return ""
    return f"Some results do not reach {name} ({failures.kind})"
