"""Engines that take as long as the picture says, on any clock, and cameras that never run dry."""

import time
from collections import Counter
from collections.abc import Callable

import numpy as np

from appliance.buffers import Lease
from appliance.errors import ApplianceError, EngineError
from appliance.geometry import Fit
from appliance.pipeline.served import ServedModel
from appliance.pipeline.work import Inference, Urgency
from appliance.runtimes import EngineReport, EngineSlot
from appliance.values import FrameStamp
from tests.support.fakes import CONTRACT


class TimedEngine:
    """An inference takes as many milliseconds as the frame's first gray level; slots work at once.

    Attributes:
        submitted: levels, in order.
        in_submit: called within `submit`; may raise.
        in_wait: called where the result is there; may raise.
        hangs: no result ever comes.
        closed: how often it was closed.
    """

    def __init__(
        self,
        *,
        slots: int = 1,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.report = EngineReport("auto", "fake", "Timed engine", "1", "fp32")
        self.submitted: list[int] = []
        self.in_submit: Callable[[], None] = lambda: None
        self.in_wait: Callable[[], None] = lambda: None
        self.hangs = False
        self.closed = 0
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._done_ns: dict[int, int] = {}
        self.slots = tuple(
            EngineSlot(
                index,
                np.zeros(CONTRACT.input.shape, np.uint8),
                {spec.name: np.zeros(spec.shape, spec.dtype) for spec in CONTRACT.outputs},
            )
            for index in range(slots)
        )

    def submit(self, slot: EngineSlot) -> None:
        """Begin."""
        level = int(slot.frames[0, 0, 0, 0])
        self.submitted.append(level)
        self.in_submit()
        self._done_ns[slot.index] = self._clock_ns() + level * 1_000_000

    def wait(self, slot: EngineSlot, timeout_s: float | None = None) -> bool:
        """Whether it is over, after at most `timeout_s`."""
        assert timeout_s is not None, "the loop waits without end"
        left_s = max(0.0, (self._done_ns[slot.index] - self._clock_ns()) / 1e9)
        if self.hangs or left_s > timeout_s:
            self._sleep(timeout_s)
            return False
        self._sleep(left_s)
        self.in_wait()
        return True

    def close(self) -> None:
        """Count it."""
        self.closed += 1


class EndlessCamera:
    """Has a new frame whenever it is asked.

    Attributes:
        held: leases that are out.
    """

    def __init__(self, level: int) -> None:
        self._pixels = np.full((24, 32, 3), level, np.uint8)
        self.held = 0

    def take(self, after_sequence: int = 0) -> Lease:
        """One more frame."""
        self._hold(1)
        stamp = FrameStamp(after_sequence + 1, time.monotonic_ns(), 0.0)
        return Lease(
            self._pixels, stamp, retain=lambda: self._hold(1), release=lambda: self._hold(-1)
        )

    def _hold(self, change: int) -> None:
        self.held += change


class TimedWork:
    """Work of so many milliseconds that counts how it ended, and may be followed by its like."""

    def __init__(
        self,
        model: str,
        urgency: Urgency,
        level: int,
        ended: Counter[str],
        then: Callable[[], None] = lambda: None,
    ) -> None:
        self.model = model
        self.urgency = urgency
        self.is_wanted = True
        self._level = level
        self._ended = ended
        self._then = then

    def place(self, model: ServedModel, slot: EngineSlot) -> Fit:
        """Fill the slot."""
        return model.letterbox.place(np.full((32, 32, 3), self._level, np.uint8), slot.frames[0])

    def finish(self, _inference: Inference) -> None:
        """Count it."""
        self._ended["finished"] += 1
        self._then()

    def fail(self, error: ApplianceError) -> None:
        """Count it."""
        assert isinstance(error, EngineError)
        self._ended[str(error)] += 1
