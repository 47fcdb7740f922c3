"""The frame memory of one camera: its slots, and fresh ones when the frame size changes."""

from collections.abc import Callable, Mapping

import numpy as np

from appliance.buffers import Allocate, FrameSlots, Lease
from appliance.capture.opencv import same_memory
from appliance.errors import SourceError
from appliance.values import U8, Drop, FrameStamp

IDLE_NS = 2_000_000_000
REFRESH_NS = 500_000_000


class FrameMemory:
    """Where the frames of one camera lie. One thread stores, any number take.

    Until the first frame the size is unknown and no memory is held.
    """

    def __init__(
        self,
        *,
        count: int,
        allocate: Allocate,
        on_publish: Callable[[], None],
        clock_ns: Callable[[], int],
    ) -> None:
        self._count = count
        self._allocate = allocate
        self._on_publish = on_publish
        self._clock_ns = clock_ns
        self._slots: FrameSlots | None = None
        self._broken = 0
        self._idle = 0
        self._asked_ns = clock_ns()
        self._stored_ns: int | None = None

    @property
    def size_wh(self) -> tuple[int, int] | None:
        """Frame size in pixels; None before the first frame."""
        slots = self._slots
        return None if slots is None else (slots.shape_hwc[1], slots.shape_hwc[0])

    @property
    def drops(self) -> Mapping[Drop, int]:
        """Frames that nobody will ever take, by reason; all reasons are there."""
        slots = self._slots
        return {
            Drop.NEWER: 0 if slots is None else slots.dropped,
            Drop.NO_SLOT: 0 if slots is None else slots.starved,
            Drop.BROKEN: self._broken,
            Drop.IDLE: self._idle,
        }

    def wanted(self, now_ns: int) -> bool:
        """Whether decoding a frame now is worth it.

        While anyone asks for frames, each one: which of them will be the newest when the
        reader comes back cannot be known. While nobody asks, just so many that the first to
        ask again finds a recent one.
        """
        if now_ns - self._asked_ns < IDLE_NS or self._stored_ns is None:
            return True
        return now_ns - self._stored_ns >= REFRESH_NS

    def take(self, after_sequence: int = 0) -> Lease | None:
        """Lease the newest frame, if it is newer than `after_sequence`; does not wait."""
        self._asked_ns = self._clock_ns()
        slots = self._slots
        return None if slots is None else slots.take(after_sequence)

    def wait_for_room(self, timeout_s: float) -> bool:
        """Wait until a frame can be stored without losing one."""
        slots = self._slots
        return slots is None or slots.wait_for_room(timeout_s)

    def skip(self) -> None:
        """Count a frame that is not decoded because it is not wanted."""
        self._idle += 1

    def retire(self) -> None:
        """Nothing more will be taken from here: a frame that still waits is dropped."""
        slots = self._slots
        if slots is not None:
            slots.retire()

    def store(self, retrieve: Callable[[U8 | None], U8], stamp: FrameStamp) -> None:
        """Decode the grabbed frame into a slot and publish it.

        Args:
            retrieve: see `Capture.retrieve`.
            stamp: when the frame was grabbed.

        Raises:
            SourceError: from `retrieve`.
        """
        slots = self._slots
        if slots is None:
            self._adopt(self._decode(retrieve, None), stamp)
            return
        slot = slots.begin()
        if slot is None:
            return  # every slot is leased; the slots have counted it
        try:
            pixels = self._decode(retrieve, slot.pixels)
        except Exception:
            slots.abandon(slot)
            raise
        if pixels.shape != slots.shape_hwc:
            slots.abandon(slot)
            self._adopt(pixels, stamp)
            return
        if not same_memory(pixels, slot.pixels):
            np.copyto(slot.pixels, pixels)
        self._stored_ns = stamp.captured_ns
        slots.publish(slot, stamp)

    def _decode(self, retrieve: Callable[[U8 | None], U8], into: U8 | None) -> U8:
        try:
            return retrieve(into)
        except SourceError:
            self._broken += 1
            raise

    def _adopt(self, pixels: U8, stamp: FrameStamp) -> None:
        """Change to slots of this frame's size, this frame first; leases on older ones hold."""
        height, width, channels = pixels.shape
        slots = FrameSlots(
            self._count,
            (height, width, channels),
            allocate=self._allocate,
            on_publish=self._on_publish,
        )
        slot = slots.begin()
        if slot is None:
            return
        np.copyto(slot.pixels, pixels)
        older = self._slots
        if older is not None:
            older.retire()
            slots.dropped, slots.starved = older.dropped, older.starved
        self._slots = slots
        self._stored_ns = stamp.captured_ns
        slots.publish(slot, stamp)
