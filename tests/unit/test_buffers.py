"""Frame slots: who owns a slot, what is dropped, what never is."""

import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.buffers import FrameSlots, Lease, slots_for
from appliance.values import FrameStamp

SHAPE = (2, 3, 3)
SCRIBBLE = 255


def stamp(sequence: int) -> FrameStamp:
    return FrameStamp(sequence, captured_ns=sequence * 1000, captured_at_s=0.0)


def publish(slots: FrameSlots, sequence: int) -> None:
    slot = slots.begin()
    assert slot is not None
    slot.pixels[:] = sequence
    slots.publish(slot, stamp(sequence))


def take(slots: FrameSlots, after_sequence: int = 0) -> Lease:
    lease = slots.take(after_sequence)
    assert lease is not None
    return lease


class SlotsMachine(RuleBasedStateMachine):
    """One writer, and readers that take, share, keep and release in any order."""

    COUNT = 4

    def __init__(self) -> None:
        super().__init__()
        self.slots = FrameSlots(self.COUNT, SHAPE)
        self.writing = None
        self.sequence = 0
        self.leases: list[Lease] = []
        self.taken: set[int] = set()

    @precondition(lambda self: self.writing is None)
    @rule()
    def begin(self):
        starved = self.slots.starved
        self.writing = self.slots.begin()
        if self.writing is None:
            assert self.slots.starved == starved + 1
            assert len({lease.stamp.sequence for lease in self.leases}) == self.COUNT
        else:
            self.writing.pixels[:] = SCRIBBLE  # shows up wherever a reader shares the slot

    @precondition(lambda self: self.writing is not None)
    @rule()
    def publish(self):
        self.sequence += 1
        self.writing.pixels[:] = self.sequence % SCRIBBLE
        self.slots.publish(self.writing, stamp(self.sequence))
        self.writing = None

    @precondition(lambda self: self.writing is not None)
    @rule()
    def abandon(self):
        self.slots.abandon(self.writing)
        self.writing = None

    @rule(age=st.integers(0, 3))
    def take(self, age):
        after_sequence = max(0, self.sequence - age)
        lease = self.slots.take(after_sequence)
        if lease is not None:
            assert lease.stamp.sequence == self.sequence > after_sequence
            self.leases.append(lease)
            self.taken.add(self.sequence)

    @precondition(lambda self: self.leases)
    @rule(pick=st.integers(0))
    def retain(self, pick):
        self.leases.append(self.leases[pick % len(self.leases)].retain())

    @precondition(lambda self: self.leases)
    @rule(pick=st.integers(0), twice=st.booleans())
    def release(self, pick, twice):
        lease = self.leases.pop(pick % len(self.leases))
        lease.release()
        if twice:
            lease.release()

    @invariant()
    def leased_frames_stay_as_they_were_published(self):
        for lease in self.leases:
            assert (lease.pixels == lease.stamp.sequence % SCRIBBLE).all()

    @invariant()
    def no_slot_is_lost(self):
        latest = self.slots._latest
        held = {lease.stamp.sequence for lease in self.leases}
        if latest is not None:
            held.discard(latest.stamp.sequence)
        places = (len(self.slots._free), self.writing is not None, latest is not None, len(held))
        assert sum(places) == self.COUNT

    @invariant()
    def every_frame_was_taken_or_dropped_or_waits(self):
        latest = self.slots._latest
        waits = latest is not None and latest.stamp.sequence not in self.taken
        assert self.slots.published == len(self.taken) + self.slots.dropped + waits


TestSlots = SlotsMachine.TestCase
TestSlots.settings = settings(max_examples=40, stateful_step_count=40)


def test_the_latest_frame_wins_and_the_one_before_is_counted():
    """A reader gets the newest frame only; those it never saw are counted as dropped."""
    slots = FrameSlots(3, SHAPE)
    for sequence in (1, 2, 3):
        publish(slots, sequence)
    with take(slots) as lease:
        assert lease.stamp.sequence == 3
        assert (lease.pixels == 3).all()
    assert (slots.published, slots.dropped) == (3, 2)
    assert slots.take(3) is None


def test_a_published_frame_cannot_be_written():
    """Readers get a view that refuses to be written."""
    slots = FrameSlots(2, SHAPE)
    publish(slots, 1)
    with take(slots) as lease, pytest.raises(ValueError, match="read-only"):
        lease.pixels[0, 0, 0] = 7


def test_a_lease_outlives_the_frames_that_follow():
    """Two readers keep one frame through many newer ones, each for itself."""
    slots = FrameSlots(3, SHAPE)
    publish(slots, 1)
    loop = take(slots)
    encoder = loop.retain()
    for sequence in range(2, 9):
        publish(slots, sequence)
    loop.release()
    publish(slots, 9)
    assert (encoder.pixels == 1).all()
    encoder.release()


def test_a_released_lease_gives_nothing_more():
    """A released lease neither shows nor shares pixels; releasing it again is harmless."""
    slots = FrameSlots(2, SHAPE)
    publish(slots, 1)
    other = take(slots)
    lease = take(slots)
    lease.release()
    lease.release()
    for use in (lambda: lease.pixels, lease.retain):
        with pytest.raises(ValueError, match="released"):
            use()
    publish(slots, 2)
    assert (other.pixels == 1).all()
    assert slots.begin() is not None  # the untaken second frame is recycled, the held one is not
    assert (other.pixels == 1).all()


def test_a_writer_without_a_free_slot_is_told_and_counted():
    """When readers hold every slot the writer gets none, and one as soon as one is released."""
    slots = FrameSlots(2, SHAPE)
    leases = []
    for sequence in (1, 2):
        publish(slots, sequence)
        leases.append(take(slots, sequence - 1))
    assert slots.begin() is None
    assert slots.starved == 1
    leases[0].release()
    assert slots.begin() is not None


def test_memory_is_allocated_once():
    """A fixed number of slots is allocated at the start and none later."""
    shapes = []

    def allocate(shape):
        shapes.append(shape)
        return np.zeros(shape, np.uint8)

    slots = FrameSlots(3, SHAPE, allocate=allocate)
    addresses = set()
    for sequence in range(1, 30):
        publish(slots, sequence)
        with take(slots) as lease:
            addresses.add(lease.pixels.ctypes.data)
    assert shapes == [SHAPE] * 3
    assert len(addresses) <= 3


@pytest.mark.parametrize(
    ("count", "allocate", "message"),
    [
        (1, np.empty, "at least 2"),
        (2, lambda _shape: np.empty((1, 1, 3), np.uint8), "expected"),
        (2, lambda shape: np.empty(shape, np.float32), "float32"),
    ],
    ids=["too few", "another shape", "another type"],
)
def test_slots_that_cannot_work_are_refused(count, allocate, message):
    """Too few slots, or memory of another shape or type, is an error at once."""
    with pytest.raises(ValueError, match=message):
        FrameSlots(count, SHAPE, allocate=allocate)


def test_a_writer_cannot_mix_up_its_slots():
    """Beginning twice, or giving back a slot that is not being written, is an error."""
    slots = FrameSlots(3, SHAPE)
    slot = slots.begin()
    with pytest.raises(ValueError, match="published or abandoned"):
        slots.begin()
    slots.abandon(slot)
    with pytest.raises(ValueError, match="begin"):
        slots.abandon(slot)
    with pytest.raises(ValueError, match="begin"):
        slots.publish(slot, stamp(1))


def test_take_waits_for_the_next_frame():
    """A waiting reader is woken by the frame it waits for."""
    slots = FrameSlots(2, SHAPE)
    publish(slots, 1)
    writer = threading.Timer(0.05, publish, (slots, 2))
    writer.start()
    lease = slots.take(1, timeout_s=10)
    writer.join()
    assert lease is not None
    assert lease.stamp.sequence == 2
    assert slots.take(2, timeout_s=0.01) is None


def test_room_is_where_nothing_would_be_dropped():
    """A writer that must not drop has room once its last frame was taken and a slot is free."""
    slots = FrameSlots(2, SHAPE)
    assert slots.wait_for_room(0)
    publish(slots, 1)
    assert not slots.wait_for_room(0)
    first = take(slots)
    assert slots.wait_for_room(0)
    publish(slots, 2)
    second = take(slots, 1)
    assert not slots.wait_for_room(0)  # both slots are held
    reader = threading.Timer(0.05, first.release)
    reader.start()
    assert slots.wait_for_room(10)
    reader.join()
    second.release()
    assert slots.dropped == 0


def test_a_frame_is_announced_without_the_lock():
    """Whoever is told of a frame may have another thread take it at once."""
    taken = []

    def announce():
        reader = threading.Thread(target=lambda: taken.append(take(slots).stamp.sequence))
        reader.start()
        reader.join(5)

    slots = FrameSlots(2, SHAPE, on_publish=announce)
    publish(slots, 1)
    assert taken == [1]


def test_threads_never_see_a_half_written_frame():
    """With a writer and three readers at full speed every frame stays whole while it is held."""
    slots = FrameSlots(6, (64, 64, 3))
    torn = []
    done = threading.Event()

    def read():
        lease = None
        while not done.is_set():
            after = lease.stamp.sequence if lease else 0
            lease = slots.take(after, timeout_s=0.05) or lease
            if lease and after != lease.stamp.sequence:
                if np.unique(lease.pixels).tolist() != [lease.stamp.sequence % 251]:
                    torn.append(lease.stamp)
                lease.release()

    readers = [threading.Thread(target=read) for _ in range(3)]
    [reader.start() for reader in readers]
    for sequence in range(1, 1500):
        slot = slots.begin()
        if slot is not None:
            slot.pixels[:] = sequence % 251
            slots.publish(slot, stamp(sequence))
    done.set()
    [reader.join(5) for reader in readers]
    assert not torn
    assert slots.published > 100


def test_slots_that_nobody_needs_are_never_touched():
    """A camera has slots for the worst case; the memory of those it never needs stays unused."""
    slots, used = FrameSlots(slots_for(8), SHAPE), set()
    for sequence in range(1, 30):
        slot = slots.begin()
        used.add(id(slot))
        slots.publish(slot, FrameStamp(sequence, 0, 0.0))
        with slots.take() as lease, lease.retain():
            pass
    assert len(used) == 2
