"""Every frame that was grabbed is taken, or waits, or was dropped for exactly one reason."""

import threading
import time

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.buffers import pageable
from appliance.capture import memory as module
from appliance.capture.camera import Camera
from appliance.capture.contract import CameraSpec
from appliance.capture.memory import FrameMemory
from appliance.capture.timing import Backoff, Timing
from appliance.errors import SourceError
from appliance.values import CameraState, Drop, FrameStamp
from tests.support.fakes import Clock, wait_until
from tests.support.scripted import ScriptedCapture, scripted_source

SPEC = CameraSpec(key="dock", name="Dock", url="scripted://", read_timeout_s=0.2)
TIMING = Timing(wall_s=time.time, backoff=Backoff(first_s=0.01, cap_s=0.02), margin_s=0.1)
SIZES_WH = [(8, 6), (6, 4)]


class MemoryMachine(RuleBasedStateMachine):
    """Frames come, whole, broken, of changing size or unwanted; readers take and keep them."""

    def __init__(self):
        super().__init__()
        self.memory = FrameMemory(
            count=3, allocate=pageable, on_publish=lambda: None, clock_ns=Clock()
        )
        self.grabbed = 0
        self.taken = set()
        self.leases = []
        self.before = dict.fromkeys(Drop, 0)

    @rule(size_wh=st.sampled_from(SIZES_WH), broken=st.booleans(), in_place=st.booleans())
    def store(self, size_wh, broken, in_place):
        def retrieve(into):
            if broken:
                raise SourceError("A picture of the camera cannot be decoded")
            shape = (size_wh[1], size_wh[0], 3)
            if in_place and into is not None and into.shape == shape:
                return into
            return np.zeros(shape, np.uint8)

        self.grabbed += 1
        try:
            self.memory.store(retrieve, FrameStamp(self.grabbed, 0, 0.0))
        except SourceError:
            assert broken

    @rule()
    def skip(self):
        self.grabbed += 1
        self.memory.skip()

    @rule(age=st.integers(0, 2))
    def take(self, age):
        lease = self.memory.take(max(0, self.grabbed - age))
        if lease is not None:
            self.taken.add(lease.stamp.sequence)
            self.leases.append(lease)

    @precondition(lambda self: self.leases)
    @rule(pick=st.integers(0))
    def release(self, pick):
        self.leases.pop(pick % len(self.leases)).release()

    @invariant()
    def at_most_one_frame_waits(self):
        waiting = self.grabbed - len(self.taken) - sum(self.memory.drops.values())
        assert waiting in {0, 1}

    @invariant()
    def no_count_ever_sinks(self):
        drops = self.memory.drops
        assert set(drops) == set(Drop)
        assert all(drops[reason] >= self.before[reason] for reason in Drop)
        self.before = drops

    def teardown(self):
        self.memory.retire()
        assert self.memory.take() is None
        assert self.grabbed == len(self.taken) + sum(self.memory.drops.values())


TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(max_examples=60, stateful_step_count=40)


@pytest.fixture
def run():
    """Starts a camera on a script, and sees to it that it ends."""
    cameras = []

    def start(*captures, live=True, **options):
        camera = Camera(
            SPEC,
            scripted_source(*captures, live=live),
            timing=TIMING,
            **{"slots_count": 6, **options},
        )
        cameras.append(camera)
        camera.start()
        return camera

    yield start
    for camera in cameras:
        camera.stop()
    assert all(camera.join(10) for camera in cameras)


def ended(camera):
    """The status once the script is over."""
    wait_until(lambda: camera.status().state is CameraState.ENDED)
    return camera.status()


def only(**counts):
    """All reasons, with these counts and 0 for the others."""
    return {reason: counts.get(reason.name.lower(), 0) for reason in Drop}


def test_frames_that_nobody_takes_in_time_are_replaced(run):
    """Each but the last, which still waits to be taken."""
    status = ended(run(ScriptedCapture([(8, 6)] * 10)))
    assert (status.frames_grabbed, status.frames_dropped) == (10, 9)
    assert status.drops == only(newer=9)


def test_a_change_of_size_loses_no_count(run):
    """What waited in the memory of the older size counts as replaced."""
    status = ended(run(ScriptedCapture([(8, 6)] * 5 + [(6, 4)] * 5)))
    assert status.drops == only(newer=9)


def test_frames_that_cannot_be_decoded_are_counted_as_broken(run):
    """And as nothing else."""
    capture = ScriptedCapture([(8, 6)] * 10)

    def spoil(index):
        if index < 3:
            raise SourceError("A picture of the camera cannot be decoded")

    capture.before_retrieve = spoil
    assert ended(run(capture)).drops == only(broken=3, newer=6)


def test_frames_that_find_every_slot_held_are_counted_as_such(run):
    """Readers that keep what they took cost frames, and the count says why."""
    capture, held, begun = ScriptedCapture([(8, 6)] * 10), [], threading.Event()

    def take(index):
        begun.wait()
        if 0 < index < 3:
            held.append(camera.take(index - 1))

    capture.before_grab = take
    camera = run(capture, slots_count=2)
    begun.set()
    status = ended(camera)
    assert [lease.stamp.sequence for lease in held] == [1, 2]
    assert status.drops == only(no_slot=8)
    for lease in held:
        lease.release()


def test_frames_that_nobody_asks_for_are_not_decoded_and_counted_as_idle(run, monkeypatch):
    """As while an engine is built: the first one is kept, the others pass by."""
    monkeypatch.setattr(module, "IDLE_NS", 0)
    monkeypatch.setattr(module, "REFRESH_NS", 10**12)
    assert ended(run(ScriptedCapture([(8, 6)] * 10))).drops == only(idle=9)


def test_a_file_drops_nothing(run):
    """It waits for its reader instead (O-08)."""
    camera = run(ScriptedCapture([(8, 6)] * 10), live=False)
    taken = []
    while camera.status().state is not CameraState.ENDED:
        lease = camera.take(taken[-1] if taken else 0)
        if lease is not None:
            with lease:
                taken.append(lease.stamp.sequence)
    assert taken == list(range(1, 11))
    assert camera.status().drops == only()


def test_counts_outlive_a_connection_that_hangs(run):
    """What a connection lost before it was left behind stays counted, the waiting frame too."""
    hangs, healthy = ScriptedCapture([(8, 6)] * 99), ScriptedCapture([(8, 6)] * 95)
    over = threading.Event()
    hangs.before_grab = lambda index: index == 5 and over.wait()
    camera = run(hangs, healthy)
    status = ended(camera)
    over.set()
    assert (status.frames_grabbed, status.reconnects) == (100, 1)
    assert status.drops == only(newer=99)


def test_coming_back_is_a_reconnect_and_the_first_time_is_none(run):
    """Attempts that fail before the first frame do not count."""

    def failing_at(index):
        capture = ScriptedCapture([(8, 6)] * 99)

        def fail(at):
            if at == index:
                raise SourceError("The camera has ended the connection")

        capture.before_grab = fail
        return capture

    once = run(failing_at(0), ScriptedCapture([(8, 6)] * 90))
    assert ended(once).reconnects == 0
    ends = [failing_at(0), failing_at(90), failing_at(0), failing_at(90), failing_at(0)]
    assert ended(run(*ends, ScriptedCapture([(8, 6)] * 90))).reconnects == 2
