"""Waiting between attempts, playing in real time, measuring rates, and decoding on demand."""

import numpy as np
import pytest

from appliance.buffers import nobody, pageable
from appliance.capture.memory import FrameMemory
from appliance.capture.timing import Backoff, FrameMeter, Pacer
from appliance.errors import SourceError
from appliance.values import Drop, FrameStamp

SECOND_NS = 1_000_000_000


class Clock:
    """A monotonic clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> int:
        return round(self.now_s * SECOND_NS)


def test_waits_double_up_to_the_cap():
    """Each failure doubles the wait, the cap bounds it, and even months of failures are fine."""
    backoff = Backoff(first_s=1, cap_s=30, jitter=0)
    waits = [backoff.delay_s(failures) for failures in (1, 2, 3, 4, 5, 6, 7, 10**7)]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize(("chance", "wait_s"), [(0.0, 8.0), (0.5, 6.8), (1.0, 5.6)])
def test_chance_shortens_a_wait(chance, wait_s):
    """Jitter takes its share off the wait, so that no wait exceeds the cap."""
    backoff = Backoff(first_s=8, cap_s=30, jitter=0.3, chance=lambda: chance)
    assert backoff.delay_s(1) == pytest.approx(wait_s)


def waits_of(media_times_s, *, busy_s=0.0):
    """The waits for frames with these media times, with so much work after each."""
    pacer, clock, waits = Pacer(), Clock(), []
    for media_s in media_times_s:
        waits.append(pacer.wait_s(media_s, clock()))
        clock.now_s += waits[-1] + busy_s
    return waits


def test_frames_are_as_far_apart_as_they_were_recorded():
    """The work on a frame counts toward the wait for the next one (O-05)."""
    assert waits_of([5.0, 5.04, 6.04], busy_s=0.01) == pytest.approx([0, 0.03, 0.99])


def test_a_file_that_starts_over_keeps_its_pace():
    """From the last frame to the first one of the next round it is one frame's time."""
    assert waits_of([0.0, 0.1, 0.2, 0.0, 0.1]) == pytest.approx([0, 0.1, 0.1, 0.1, 0.1])


def test_a_reader_that_falls_behind_is_not_rushed():
    """After a long delay the file goes on from there instead of racing to catch up."""
    waits = waits_of([0.0, 0.1, 0.2, 0.3], busy_s=5.0)
    assert waits == [0, 0, 0, 0]
    pacer = Pacer()
    pacer.wait_s(0.0, 0)
    pacer.wait_s(0.1, 60 * SECOND_NS)
    assert pacer.wait_s(0.2, 60 * SECOND_NS) == pytest.approx(0.1)


def test_a_hole_in_a_file_does_not_stop_the_station():
    """A jump of hours between two timestamps is waited for ten seconds, no longer."""
    assert waits_of([0.0, 7200.0, 7200.1]) == pytest.approx([0, 10, 0.1])


def test_the_rate_is_that_of_the_last_seconds():
    """Only recent frames count; without at least two of them there is no rate."""
    meter = FrameMeter()
    assert meter.fps(0) is None
    numbers = [meter.count(index * SECOND_NS // 10) for index in range(100)]
    assert numbers == list(range(1, 101))
    now_ns = 99 * SECOND_NS // 10
    assert meter.fps(now_ns) == pytest.approx(10)
    assert meter.fps(now_ns + 5 * SECOND_NS) is None
    assert meter.frames == 100


def memory_with(clock: Clock) -> FrameMemory:
    return FrameMemory(count=3, allocate=pageable, on_publish=nobody, clock_ns=clock)


def store(memory: FrameMemory, clock: Clock, sequence: int = 1) -> None:
    memory.store(
        lambda into: np.zeros((4, 6, 3), np.uint8) if into is None else into,
        FrameStamp(sequence, clock(), 0.0),
    )


def test_without_a_reader_few_frames_are_decoded():
    """While nobody asks, half a second passes between decoded frames; who asks gets them all."""
    clock = Clock()
    memory = memory_with(clock)
    store(memory, clock)
    assert memory.wanted(clock())
    clock.now_s += 2.5
    assert memory.wanted(clock())
    store(memory, clock, 2)
    clock.now_s += 0.3
    assert not memory.wanted(clock())
    clock.now_s += 0.3
    assert memory.wanted(clock())
    store(memory, clock, 3)
    assert not memory.wanted(clock())
    memory.take(2).release()
    assert memory.wanted(clock())


def test_a_frame_that_cannot_be_decoded_costs_no_slot():
    """However often decoding fails, the slot goes back and the failure is counted."""
    clock = Clock()
    memory = memory_with(clock)
    store(memory, clock)

    def spoiled(_into):
        raise SourceError("spoiled")

    for _ in range(10):
        with pytest.raises(SourceError):
            memory.store(spoiled, FrameStamp(2, clock(), 0.0))
    assert memory.drops[Drop.BROKEN] == sum(memory.drops.values()) == 10
    store(memory, clock, 3)
    assert memory.take(2).stamp.sequence == 3


def test_a_source_that_cannot_decode_in_place_is_copied():
    """Pixels that come in other memory of the right shape end up in the slot."""
    clock = Clock()
    memory = memory_with(clock)
    store(memory, clock)
    elsewhere = np.full((4, 6, 3), 7, np.uint8)
    memory.store(lambda _into: elsewhere, FrameStamp(2, clock(), 0.0))
    elsewhere[:] = 9
    with memory.take(1) as lease:
        assert (lease.pixels == 7).all()
    assert memory.size_wh == (6, 4)
