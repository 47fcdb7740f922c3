"""The live encoder: sleeps unless watched, keeps the newest, encodes once, gives all back."""

import threading

import cv2
import numpy as np
import pytest
from loguru import logger

from appliance.pipeline.encoder import LiveEncoder
from appliance.readings import PictureReading
from appliance.values import Skip
from tests.support.fakes import Clock, counted_lease, result_of, wait_until

FAST_FPS = 1000


class Bench:
    """An encoder on a clock of the test's, and what it published."""

    def __init__(self, fps):
        self.pictures, self.held = [], []
        self.clock = Clock()
        self.in_publish = lambda: None
        self.encoder = LiveEncoder(self.publish, fps=fps, quality=90, clock_ns=self.clock)

    def publish(self, picture):
        self.pictures.append(picture)
        self.in_publish()

    def offer(self, camera="door", *, level=0, after_s=1.0):
        """One picture of a gray level; the loop's own lease ends, as it does in the loop."""
        self.clock.advance(after_s)
        lease, held = counted_lease(np.full((48, 64, 3), level, np.uint8), sequence=level + 1)
        self.held.append(held)
        self.encoder.offer(result_of(camera, lease), lease)
        lease.release()

    def leases(self):
        """How many leases are held on all pictures that were ever offered."""
        return sum(held() for held in self.held)

    def levels(self):
        """Camera and gray level of what was published, read back from the JPEG."""
        decoded = [cv2.imdecode(np.frombuffer(p.jpeg, np.uint8), 1) for p in self.pictures]
        return [
            (p.result.camera, round(float(d.mean())))
            for p, d in zip(self.pictures, decoded, strict=True)
        ]


@pytest.fixture
def bench():
    """Makes running benches, and ends them."""
    made = []

    def make(fps=FAST_FPS):
        made.append(Bench(fps))
        made[-1].encoder.start()
        return made[-1]

    yield make
    for each in made:
        each.encoder.stop()
        assert each.encoder.join(10)


@pytest.fixture
def busy(bench):
    """A bench whose encoder is at work on one picture until the gate opens."""
    one, gate, at_work = bench(), threading.Event(), threading.Event()

    def hold():
        at_work.set()
        assert gate.wait(10)

    one.in_publish, one.gate = hold, gate
    for camera in ("door", "yard"):
        one.encoder.watch(camera)
    one.offer(level=1)
    assert at_work.wait(10)
    yield one
    gate.set()


def test_nothing_is_kept_while_nobody_watches(bench):
    """Without viewers a picture is neither kept nor encoded."""
    one = bench()
    one.offer(level=1)
    assert one.leases() == 0
    one.encoder.watch("yard")
    one.offer("door", level=2)
    assert one.leases() == 0
    one.offer("yard", level=3)
    wait_until(lambda: one.pictures)
    assert one.levels() == [("yard", 3)]


def test_a_picture_comes_with_its_own_result(bench):
    """The JPEG is the inferred frame in full size, without boxes."""
    one = bench()
    one.encoder.watch("door")
    one.offer(level=120)
    wait_until(lambda: one.pictures)
    picture = one.pictures[0]
    assert picture.result.stamp.sequence == 121
    assert cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), 1).shape == (48, 64, 3)
    assert one.levels() == [("door", 120)]


def test_many_viewers_cost_one_encoding(bench):
    """Each picture is encoded once, however many look; the last one to leave ends it."""
    one = bench()
    for _ in range(3):
        one.encoder.watch("door")
    one.encoder.unwatch("door")
    one.encoder.unwatch("door")
    one.offer(level=1)
    wait_until(lambda: one.pictures)
    one.encoder.unwatch("door")
    one.offer(level=2)
    assert one.leases() == 0
    assert one.levels() == [("door", 1)]


def test_the_newest_picture_wins(busy):
    """Of the pictures that come while the encoder is busy, only the last of each camera stays."""
    busy.offer(level=2)
    busy.offer("yard", level=7)
    busy.offer(level=3)
    busy.offer(level=4)
    assert busy.leases() == 2
    busy.gate.set()
    wait_until(lambda: len(busy.pictures) == 3)
    assert sorted(busy.levels()) == [("door", 1), ("door", 4), ("yard", 7)]
    assert busy.leases() == 0


def test_pictures_that_give_way_are_counted_and_those_that_nobody_was_to_see_are_not(busy):
    """Skipped is what a newer picture replaced: not what came too fast, nor what nobody watched."""
    for level in (2, 3, 4):
        busy.offer(level=level)
    busy.offer("attic", level=5)
    assert busy.encoder.pictures() == {"door": PictureReading(0, {Skip.ENCODER: 2})}
    busy.gate.set()
    wait_until(lambda: len(busy.pictures) == 2)
    busy.offer(level=6, after_s=0)
    busy.encoder.sent("door")
    busy.encoder.skipped("yard")
    assert busy.encoder.pictures() == {
        "door": PictureReading(1, {Skip.ENCODER: 2}),
        "yard": PictureReading(0, {Skip.VIEWER: 1}),
    }


def test_a_viewer_who_leaves_lets_the_waiting_picture_go(busy):
    """With its last viewer a camera's waiting picture gives its frame back at once."""
    busy.offer(level=2)
    assert busy.leases() == 1
    busy.encoder.unwatch("door")
    assert busy.leases() == 0
    busy.gate.set()


def test_a_frame_is_given_back_before_it_is_published(busy):
    """A slow receiver does not keep a camera's memory."""
    assert busy.leases() == 0


def test_stopping_gives_everything_back(busy):
    """At the end waiting pictures are dropped, later ones not taken, and the thread ends."""
    busy.offer(level=2)
    busy.encoder.stop()
    busy.encoder.stop()
    busy.gate.set()
    assert busy.encoder.join(10)
    busy.offer(level=3)
    assert busy.leases() == 0
    assert busy.levels() == [("door", 1)]


@pytest.mark.parametrize(("camera_fps", "asked_fps"), [(25, 15), (30, 10), (25, 24), (10, 15)])
def test_the_rate_is_kept_on_average(bench, camera_fps, asked_fps):
    """Over ten seconds the asked number of pictures is encoded, whatever the camera's beat."""
    one = bench(asked_fps)
    one.encoder.watch("door")
    for _ in range(10 * camera_fps):
        one.offer(level=1, after_s=1 / camera_fps)
        wait_until(lambda: not one.encoder._waiting)
    expected = 10 * min(camera_fps, asked_fps)
    wait_until(lambda: one.leases() == 0)
    assert len(one.pictures) == pytest.approx(expected, rel=0.02, abs=1)


def test_a_pause_is_not_made_up_for(bench):
    """After minutes without a picture there is no burst above the asked rate."""
    one = bench(10)
    one.encoder.watch("door")
    one.offer(level=1)
    wait_until(lambda: one.pictures)
    one.clock.advance(600)
    for _ in range(50):
        one.offer(level=2, after_s=0.01)
        wait_until(lambda: not one.encoder._waiting)
    assert 5 <= len(one.pictures) - 1 <= 7


def test_a_failing_receiver_is_told_and_got_over(bench):
    """An error behind a picture is logged with its camera, and the next picture comes."""
    lines = []
    sink = logger.add(lines.append, format="{level} {extra} {message}", level="ERROR")
    one = bench()
    one.encoder.watch("door")
    planted = [RuntimeError("planted")]

    def fail_once():
        if planted:
            raise planted.pop()

    one.in_publish = fail_once
    one.offer(level=1)
    wait_until(lambda: lines)
    one.offer(level=2)
    wait_until(lambda: len(one.pictures) == 2)
    logger.remove(sink)
    assert "door" in lines[0]
    assert one.leases() == 0
