"""Frame memory: a fixed number of slots between one camera and its readers.

A slot is in exactly one place at a time: free, being written, published as the latest, or
replaced as the latest and still leased to a reader. Nothing is allocated after the
constructor, and a published slot is never written before its last lease is released.
"""

from collections.abc import Callable
from threading import Condition
from typing import Self

import numpy as np

from appliance.values import U8, FrameStamp

WRITTEN, LATEST = 1, 1  # slots that no reader holds

Shape = tuple[int, int, int]
Allocate = Callable[[Shape], U8]


def pageable(shape_hwc: Shape) -> U8:
    """Ordinary memory for one frame: `shape_hwc` uint8, its contents undefined."""
    return np.empty(shape_hwc, np.uint8)


def slots_for(held: int) -> int:
    """How many slots a camera needs so that its writer finds one whatever readers do.

    While an engine takes the place of another, both may have frames in flight: for one inference
    the writer may find none then, and counts it.

    Args:
        held: frames that readers hold at once, at most: those in flight, and those of each sink.
    """
    return WRITTEN + LATEST + held


def nobody() -> None:
    """Stands where no one wants to be told of a published frame."""


class Slot:
    """Memory for one frame; the writer's until it is published.

    Attributes:
        pixels: (H, W, 3) uint8 BGR, writable; only the writer may touch it, and only
            between `FrameSlots.begin` and `FrameSlots.publish`.
        stamp: when the frame in it was taken; None before the first.
    """

    __slots__ = ("leases", "pixels", "published", "stamp")

    def __init__(self, pixels: U8) -> None:
        self.pixels = pixels
        self.published = pixels.view()
        self.published.flags.writeable = False
        self.stamp: FrameStamp | None = None
        self.leases = 0


class Lease:
    """A reader's hold on one published frame; the frame stays as it is until released.

    Usable as a context manager. Each reader that keeps the frame retains its own lease.
    """

    __slots__ = ("_pixels", "_release", "_retain", "_stamp")

    def __init__(
        self,
        pixels: U8,
        stamp: FrameStamp,
        *,
        retain: Callable[[], None],
        release: Callable[[], None],
    ) -> None:
        self._pixels = pixels
        self._stamp = stamp
        self._retain = retain
        self._release: Callable[[], None] | None = release

    @property
    def pixels(self) -> U8:
        """(H, W, 3) uint8 BGR, read-only, valid until `release`.

        Raises:
            ValueError: the lease was released.
        """
        self._check_held()
        return self._pixels

    @property
    def stamp(self) -> FrameStamp:
        """When the frame was taken."""
        return self._stamp

    def retain(self) -> "Lease":
        """A second, independent lease on the same frame.

        Raises:
            ValueError: this lease was released.
        """
        release = self._check_held()
        self._retain()
        return Lease(self._pixels, self._stamp, retain=self._retain, release=release)

    def release(self) -> None:
        """Give the frame back; a second call does nothing."""
        release, self._release = self._release, None
        if release is not None:
            release()

    def _check_held(self) -> Callable[[], None]:
        if self._release is None:
            raise ValueError("lease: expected one that is held, got a released one")
        return self._release

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class FrameSlots:
    """The slots of one camera at one frame size. One thread writes, any number read.

    Attributes:
        shape_hwc: (H, W, 3) of every slot.
        published: frames handed to readers.
        dropped: frames that were replaced before any reader took them.
        starved: times the writer found every slot leased.
    """

    def __init__(
        self,
        count: int,
        shape_hwc: Shape,
        *,
        allocate: Allocate = pageable,
        on_publish: Callable[[], None] = nobody,
    ) -> None:
        """Allocate every slot.

        Args:
            count: slots, at least 2: one to write while another is the latest; see `slots_for`.
            shape_hwc: (H, W, 3).
            allocate: gives the memory of one slot, uint8 of the shape asked for.
            on_publish: called in the writer's thread after each frame, without the lock,
                so that one loop can wait for several cameras.

        Raises:
            ValueError: fewer than two slots, or memory of another shape.
        """
        if count < 2:
            raise ValueError(f"slots: expected at least 2, got {count}")
        self.shape_hwc = shape_hwc
        self.published = 0
        self.dropped = 0
        self.starved = 0
        self._on_publish = on_publish
        self._changed = Condition()
        self._free = [Slot(allocate(shape_hwc)) for _ in range(count)]
        self._writing: Slot | None = None
        self._latest: Slot | None = None
        self._latest_taken = False
        for slot in self._free:
            if slot.pixels.shape != shape_hwc or slot.pixels.dtype != np.uint8:
                got = f"{slot.pixels.dtype} {slot.pixels.shape}"
                raise ValueError(f"allocate: expected uint8 {shape_hwc}, got {got}")

    def begin(self) -> Slot | None:
        """A slot to write the next frame into; None when readers hold them all.

        With none free the latest is recycled, and counted as dropped when nobody took it.

        Raises:
            ValueError: the slot before was neither published nor abandoned.
        """
        with self._changed:
            if self._writing is not None:
                raise ValueError("begin: expected the slot before to be published or abandoned")
            if not self._free:
                self._retire_latest()
            if not self._free:
                self.starved += 1
                return None
            self._writing = self._free.pop()
            return self._writing

    def publish(self, slot: Slot, stamp: FrameStamp) -> None:
        """Make a written slot the latest; the one before is dropped when nobody took it.

        Raises:
            ValueError: the slot is not the one that `begin` gave.
        """
        with self._changed:
            self._end_writing(slot)
            if not self._retire_latest():
                self._latest = None  # its last reader brings it back
            slot.stamp = stamp
            self._latest, self._latest_taken = slot, False
            self.published += 1
            self._changed.notify_all()
        self._on_publish()

    def abandon(self, slot: Slot) -> None:
        """Take back a slot that could not be written.

        Raises:
            ValueError: the slot is not the one that `begin` gave.
        """
        with self._changed:
            self._end_writing(slot)
            self._give_back(slot)

    def retire(self) -> None:
        """Nothing more will be taken: the latest is dropped when nobody took it; leases hold."""
        with self._changed:
            if not self._retire_latest():
                self._latest = None  # its last reader brings it back

    def take(self, after_sequence: int = 0, *, timeout_s: float = 0.0) -> Lease | None:
        """Lease the latest frame; several readers may hold the same one.

        Args:
            after_sequence: only a frame with a higher sequence number will do.
            timeout_s: how long to wait for one.

        Returns:
            A lease, to be released by the caller; None when no such frame came in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._newer(after_sequence), timeout_s):
                return None
            slot = self._newer(after_sequence)
            if slot is None or slot.stamp is None:
                return None
            slot.leases += 1
            self._latest_taken = True
            self._changed.notify_all()
            return Lease(
                slot.published,
                slot.stamp,
                retain=lambda: self._retain(slot),
                release=lambda: self._release(slot),
            )

    def wait_for_room(self, timeout_s: float) -> bool:
        """Wait until a frame can be written and published without dropping one."""
        with self._changed:
            return self._changed.wait_for(self._has_room, timeout_s)

    def _has_room(self) -> bool:
        latest = self._latest
        if latest is None:
            return bool(self._free)
        return self._latest_taken and (bool(self._free) or latest.leases == 0)

    def _newer(self, sequence: int) -> Slot | None:
        latest = self._latest
        if latest is None or latest.stamp is None or latest.stamp.sequence <= sequence:
            return None
        return latest

    def _retire_latest(self) -> bool:
        """Free the latest unless a reader holds it."""
        latest = self._latest
        if latest is None or latest.leases > 0:
            return False
        self.dropped += not self._latest_taken
        self._latest = None
        self._give_back(latest)
        return True

    def _end_writing(self, slot: Slot) -> None:
        if slot is not self._writing:
            raise ValueError("slot: expected the one that begin() gave")
        self._writing = None

    def _give_back(self, slot: Slot) -> None:
        self._free.append(slot)
        self._changed.notify_all()

    def _retain(self, slot: Slot) -> None:
        with self._changed:
            slot.leases += 1

    def _release(self, slot: Slot) -> None:
        with self._changed:
            slot.leases -= 1
            if slot.leases > 0:
                return
            if slot is self._latest:
                self._changed.notify_all()
            else:
                self._give_back(slot)
