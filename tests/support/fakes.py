"""Stand-ins at the contracts: an engine of gray levels, a camera of painted frames, a clock."""

import threading
import time
from collections.abc import Callable, Iterable

import numpy as np

from appliance import tasks
from appliance.buffers import FrameSlots, Lease
from appliance.errors import EngineError
from appliance.geometry import FitMode
from appliance.letterbox import Letterbox
from appliance.nms import NmsMode
from appliance.pipeline.served import ServedModel
from appliance.predictions import Instances, Result
from appliance.runtimes import EngineReport, EngineSlot
from appliance.stores.sessions import SessionRow
from appliance.tasks.detection import DetectionTable
from appliance.values import (
    U8,
    FrameStamp,
    ModelContract,
    TensorSpec,
)

CONTRACT = ModelContract(
    "detection",
    TensorSpec("frames", (1, 32, 32, 3), "uint8"),
    (
        TensorSpec("boxes", (1, 4, 4), "float32"),
        TensorSpec("scores", (1, 4), "float32"),
        TensorSpec("class_ids", (1, 4), "int32"),
    ),
)


def wait_until(met: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Return as soon as `met()` is true; fail after a generous deadline."""
    deadline = time.monotonic() + timeout_s
    while not met():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.002)


class MemoryShelf:
    """Keeps sessions for another `Sessions` of the same test."""

    def __init__(self) -> None:
        self.rows: dict[str, SessionRow] = {}

    def load(self) -> list[SessionRow]:
        """All that were kept."""
        return list(self.rows.values())

    def put(self, row: SessionRow) -> None:
        """Keep one."""
        self.rows[row.key] = row

    def drop(self, keys: Iterable[str]) -> None:
        """Keep these no more."""
        for key in keys:
            self.rows.pop(key, None)


class Wall:
    """A wall clock that is set by hand."""

    def __init__(self, now_s: float = 1.8e9) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        """Seconds since 1970."""
        return self.now_s


class Clock:
    """A monotonic clock that moves when it is told to."""

    def __init__(self, start_s: float = 1000.0) -> None:
        self.now_ns = round(start_s * 1e9)

    def __call__(self) -> int:
        """Nanoseconds."""
        return self.now_ns

    def advance(self, seconds: float) -> None:
        """Move on."""
        self.now_ns += round(seconds * 1e9)


class LevelEngine:
    """Detects one box, whose score is the frame's first gray level over 255.

    `submit` returns at once, and the outputs are written in `wait`, from what the slot held at
    the time of the submit.

    Attributes:
        history: what was called: ("submit", slot) and ("wait", slot).
        failures: errors to raise, one for each of the next calls of `submit`.
        in_wait: called within `wait`, to hold the engine up.
        busy: slots whose results are not there yet, whoever waits.
        score: of the box, in the place of the frame's; None: the frame's.
        closed: how often it was closed.
    """

    def __init__(self, *, slots: int = 2, backend: str = "fake") -> None:
        self.report = EngineReport("auto", backend, "Fake engine", "1", "fp32")
        self.history: list[tuple[str, int]] = []
        self.failures: list[Exception] = []
        self.in_wait: Callable[[], None] = lambda: None
        self.busy: set[int] = set()
        self.score: float | None = None
        self.closed = 0
        self._submitted: dict[int, int] = {}
        self.slots = tuple(
            EngineSlot(
                index,
                np.zeros(CONTRACT.input.shape, np.uint8),
                {spec.name: np.zeros(spec.shape, spec.dtype) for spec in CONTRACT.outputs},
            )
            for index in range(slots)
        )

    def submit(self, slot: EngineSlot) -> None:
        """Note the frame's level."""
        self.history.append(("submit", slot.index))
        if self.failures:
            raise self.failures.pop(0)
        if slot.index in self._submitted:
            raise EngineError(f"slot {slot.index}: submitted twice")
        self._submitted[slot.index] = int(slot.frames[0, 0, 0, 0])

    def wait(self, slot: EngineSlot, timeout_s: float | None = None) -> bool:
        """Write the outputs, unless the slot is busy."""
        if slot.index in self.busy:
            time.sleep(timeout_s or 0)
            return False
        self.history.append(("wait", slot.index))
        level = self._submitted.pop(slot.index)
        self.in_wait()
        slot.outputs["boxes"][0, 0] = (8, 8, 24, 24)
        score = level / 255 if self.score is None else self.score
        slot.outputs["scores"][0] = (score, 0, 0, 0)
        slot.outputs["class_ids"][0] = (0, -1, -1, -1)
        return True

    def close(self) -> None:
        """Count it."""
        self.closed += 1


def served(name: str, engine: LevelEngine) -> ServedModel:
    """`engine` with everything around it that the loop needs."""
    table = DetectionTable(nms=NmsMode.NONE, max_detections=4)
    letterbox = Letterbox(
        input_wh=CONTRACT.input_wh, mode=FitMode.STRETCH, pad_value=0, interpolation="linear"
    )
    return ServedModel(name, engine, tasks.known()["detection"], table, letterbox)


class PaintedCamera:
    """Frames of one gray level each, through real slots.

    Attributes:
        held: leases that are out.
        on_publish: called after each frame.
    """

    def __init__(self, *, slots: int = 4) -> None:
        self.on_publish: Callable[[], None] = lambda: None
        self._slots = FrameSlots(slots, (24, 32, 3), on_publish=self._tell)
        self._sequence = 0
        self._lock = threading.Lock()
        self.held = 0

    def _tell(self) -> None:
        self.on_publish()

    def show(self, *levels: int) -> None:
        """Publish one frame after the other."""
        for level in levels:
            slot = self._slots.begin()
            assert slot is not None, "every slot is leased"
            slot.pixels[:] = level
            self._sequence += 1
            self._slots.publish(slot, FrameStamp(self._sequence, time.monotonic_ns(), 0.0))

    def take(self, after_sequence: int = 0) -> Lease | None:
        """The newest frame past `after_sequence`."""
        lease = self._slots.take(after_sequence)
        return None if lease is None else self._counted(lease)

    def _counted(self, lease: Lease) -> Lease:
        held = [lease]  # one of ours for each lease handed out on this frame
        self._count(1)

        def retain() -> None:
            held.append(held[-1].retain())
            self._count(1)

        def release() -> None:
            held.pop().release()
            self._count(-1)

        return Lease(lease.pixels, lease.stamp, retain=retain, release=release)

    def _count(self, change: int) -> None:
        with self._lock:
            self.held += change


def counted_lease(pixels: U8, sequence: int = 1) -> tuple[Lease, Callable[[], int]]:
    """A lease on `pixels`, and how many leases on them are held now."""
    held = [1]

    def change(by: int) -> None:
        held[0] += by

    stamp = FrameStamp(sequence, time.monotonic_ns(), 0.0)
    lease = Lease(pixels, stamp, retain=lambda: change(1), release=lambda: change(-1))
    return lease, lambda: held[0]


def result_of(camera: str, lease: Lease, *, at_ns: int = 0) -> Result:
    """An empty result for the frame of `lease`."""
    height, width = lease.pixels.shape[:2]
    return Result(camera, lease.stamp, (width, height), "detection", Instances.empty(), 5.0, at_ns)


def levels_of(results: Iterable[Result]) -> list[tuple[str, int]]:
    """Camera and gray level of each result of a `LevelEngine`."""
    return [(each.camera, round(float(each.prediction.scores[0]) * 255)) for each in results]
