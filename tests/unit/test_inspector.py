"""Single pictures: read, shown to a model behind the cameras, drawn, one after the other."""

import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, Future

import cv2
import numpy as np
import pytest

from appliance.errors import EngineError, PictureError
from appliance.pictures import Limits
from appliance.pipeline import inspector as inspector_module
from appliance.pipeline.asked import Inspected
from appliance.pipeline.inspector import AT_ONCE, ONE_LIMIT, SHOWN_SIDE, Inspector
from appliance.pipeline.snapshots import Snapshots
from appliance.predictions import Instances
from tests.support.fakes import (
    CONTRACT,
    LevelEngine,
    counted_lease,
    result_of,
    served,
    wait_until,
)
from tests.support.hostile_pictures import slow_jpeg
from tests.support.people import blank_png, blurred_noise, encoded, upright

PATIENCE_S = 10


def seen(*boxes):
    """An answer with these boxes, each (left, top, right, bottom, score)."""
    array = np.array(boxes, np.float32).reshape(-1, 5)
    detections = Instances(array[:, :4], array[:, 4], np.zeros(len(array), np.int32))
    report = LevelEngine().report
    return Inspected("detection", detections, ("thing",), report, CONTRACT.input_wh, 1.0, 5.0)


def done(answer):
    future = Future()
    future.set_result(answer)
    return future


@pytest.fixture
def make():
    """Makes inspectors, and ends them."""
    made = []

    def one(inspect, limits=None):
        made.append(Inspector(inspect, limits=lambda: limits or Limits()))
        made[-1].start()
        return made[-1]

    yield one
    for each in made:
        each.stop()
        assert each.join(PATIENCE_S)


def test_what_scores_less_is_counted_and_not_shown(make):
    """The person learns that a lower confidence would show more."""
    asked = []

    def inspect(name, picture, thresholds_of):
        asked.append((name, picture.shape, thresholds_of(served("m", LevelEngine()))))
        return done(seen((0, 0, 20, 20, 0.9), (5, 5, 30, 30, 0.5), (40, 5, 60, 30, 0.2)))

    one = make(inspect)
    found = one.ask(encoded(upright(), "PNG"), "m", 0.5).answer.result(PATIENCE_S)
    assert found.seen.prediction.names(found.seen.labels) == ["thing", "thing"]
    assert found.below == 1
    assert found.size_wh == (96, 64)
    ((name, shape, thresholds),) = asked
    assert (name, shape) == ("m", (64, 96, 3))
    assert thresholds.other == pytest.approx(inspector_module.FLOOR)


def test_the_picture_that_comes_back_shows_the_boxes(make):
    """Drawn where the model saw something, in the picture as the person sees it."""
    one = make(lambda *_: done(seen((10, 10, 50, 40, 0.9))))
    found = one.ask(encoded(upright(), "PNG"), "m", 0.5).answer.result(PATIENCE_S)
    drawn = cv2.imdecode(np.frombuffer(found.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == (64, 96, 3)
    assert drawn[25, 10].min() > 180  # white on red
    assert drawn[5, 5].min() < 60


def test_a_large_picture_comes_back_as_large_as_a_page_shows(make):
    """Boxes stay in the picture's own pixels, and are drawn where they belong."""
    one = make(lambda *_: done(seen((0, 0, 3000, 1000, 0.9))))
    large = encoded(blurred_noise(4000, 1000), "JPEG")
    found = one.ask(large, "m", 0.5).answer.result(PATIENCE_S)
    drawn = cv2.imdecode(np.frombuffer(found.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == (480, SHOWN_SIDE, 3)
    assert found.size_wh == (4000, 1000)
    assert found.seen.prediction.boxes_xyxy_px.tolist() == [[0, 0, 3000, 1000]]
    assert drawn[240, 1440].min() > 180


def test_a_strip_of_one_pixel_is_a_picture_too(make):
    """Scaling down never ends in a side of no pixels."""
    one = make(lambda *_: done(seen()))
    strip = encoded(blurred_noise(20_000, 1), "PNG")
    assert one.ask(strip, "m", 0.5).answer.result(PATIENCE_S).size_wh == (20_000, 1)


def test_a_broken_picture_ends_alone(make):
    """It reaches no engine, says why, and the next one is looked at (O-02)."""
    asked = []

    def inspect(name, *_):
        asked.append(name)
        return done(seen())

    one = make(inspect)
    whole = encoded(blurred_noise(), "JPEG")
    broken = one.ask(whole[: len(whole) // 2], "m", 0.5)
    sound = one.ask(whole, "m", 0.5)
    with pytest.raises(PictureError, match="incomplete"):
        broken.answer.result(PATIENCE_S)
    assert sound.answer.result(PATIENCE_S).below == 0
    assert asked == ["m"]


def test_what_nobody_foresaw_ends_alone_and_in_words(make):
    """An error of the code itself becomes a sentence, and the thread lives on."""
    answers = [ZeroDivisionError("oops"), None]

    def inspect(*_):
        error = answers.pop(0)
        if error:
            raise error
        return done(seen())

    one = make(inspect)
    data = encoded(upright(), "PNG")
    with pytest.raises(PictureError, match="ZeroDivisionError") as caught:
        one.ask(data, "m", 0.5).answer.result(PATIENCE_S)
    assert caught.value.hint
    assert one.ask(data, "m", 0.5).answer.result(PATIENCE_S)


def test_too_many_at_once_are_refused(make):
    """A full queue says so at once, instead of growing."""
    gate, at_work = threading.Event(), threading.Event()

    def inspect(*_):
        at_work.set()
        assert gate.wait(PATIENCE_S)
        return done(seen())

    one = make(inspect)
    data = encoded(upright(), "PNG")
    inquiries = [one.ask(data, "m", 0.5)]
    assert at_work.wait(PATIENCE_S)
    inquiries += [one.ask(data, "m", 0.5) for _ in range(ONE_LIMIT - 1)]
    with pytest.raises(EngineError, match="too many pictures") as caught:
        one.ask(data, "m", 0.5)
    assert caught.value.hint
    gate.set()
    for each in inquiries:
        assert each.answer.result(PATIENCE_S)


def test_an_engine_that_does_not_answer_is_not_waited_for_for_ever(make, monkeypatch):
    """After the time limit the person is told, and the picture leaves the loop's queue."""
    monkeypatch.setattr(inspector_module, "TIME_LIMIT_S", 0.05)
    never = Future()
    one = make(lambda *_: never)
    with pytest.raises(EngineError, match="no answer within") as caught:
        one.ask(encoded(upright(), "PNG"), "m", 0.5).answer.result(PATIENCE_S)
    assert caught.value.hint
    assert never.cancelled()


def test_who_goes_away_is_not_waited_for(make):
    """The picture leaves the loop's queue, and the next person's turn comes."""
    engines = [Future(), done(seen())]
    handed_out = threading.Semaphore(0)

    def inspect(*_):
        handed_out.release()
        return engines.pop(0)

    one = make(inspect)
    waiting = engines[0]
    data = encoded(upright(), "PNG")
    gone = one.ask(data, "m", 0.5)
    assert handed_out.acquire(timeout=PATIENCE_S)
    wait_until(lambda: gone.engines is waiting)
    early = one.ask(data, "m", 0.5)
    early.cancel()
    gone.cancel()
    assert waiting.cancelled()
    assert one.ask(data, "m", 0.5).answer.result(PATIENCE_S)
    assert early.answer.cancelled()
    assert engines == []


def test_stopping_ends_what_waits(make):
    """Whoever waits at the end is told at once."""
    gate, at_work = threading.Event(), threading.Event()

    def inspect(*_):
        at_work.set()
        assert gate.wait(PATIENCE_S)
        return done(seen())

    one = make(inspect)
    first = one.ask(encoded(upright(), "PNG"), "m", 0.5)
    assert at_work.wait(PATIENCE_S)
    second = one.ask(encoded(upright(), "PNG"), "m", 0.5)
    one.stop()
    with pytest.raises(CancelledError):
        second.answer.result(PATIENCE_S)
    gate.set()
    assert first.answer.result(PATIENCE_S)
    with pytest.raises(EngineError, match="the station ends"):
        one.ask(b"", "m", 0.5)


PEAK = """
import resource, sys
from concurrent.futures import Future
from appliance.pictures import Limits
from appliance.pipeline.inspector import Inspector
from tests.unit.test_inspector import done, encoded, seen
from PIL import Image

one = Inspector(lambda *_: done(seen()), limits=Limits)
one.start()
data = encoded(Image.new("RGB", (5000, 4000), "teal"), "JPEG")
for inquiry in [one.ask(data, "m", 0.5) for _ in range(int(sys.argv[1]))]:
    inquiry.answer.result(60)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_kib(count):
    command = [sys.executable, "-c", PEAK, str(count)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    return int(ran.stdout)


@pytest.mark.slow
def test_many_at_once_need_no_more_memory_than_one():
    """Four large pictures at once take the memory of one (O-03)."""
    picture_kib = 5000 * 4000 * 3 // 1024
    assert peak_kib(ONE_LIMIT - 1) - peak_kib(1) < picture_kib


def test_bombs_in_parallel_are_refused_at_once(make):
    """Nobody waits for what is not unpacked (O-03)."""
    one = make(lambda *_: done(seen()))
    bombs = [blank_png(12_000), blank_png(30_000)] * 2
    started = time.process_time()
    for inquiry in [one.ask(bomb, "m", 0.5) for bomb in bombs]:
        with pytest.raises(PictureError, match=r"pixels|unpacked"):
            inquiry.answer.result(PATIENCE_S)
    assert time.process_time() - started < 1


def test_a_snapshot_is_the_next_frame_for_all_who_wait():
    """One copy for two who asked; who has gone gets none, and nobody waits for another camera."""
    snapshots = Snapshots(frozenset({"gate", "dock"}))
    first, gone, second = (snapshots.ask("gate") for _ in range(3))
    gone.cancel()
    other = snapshots.ask("dock")
    pixels = np.full((4, 6, 3), 7, np.uint8)
    lease, held = counted_lease(pixels)
    snapshots.offer(result_of("gate", lease), lease)
    assert first.result(0) is second.result(0)
    pixels[:] = 9
    assert first.result(0).max() == 7
    assert held() == 1
    assert not other.done()
    assert snapshots.ask("cellar") is None


def test_who_gives_up_waiting_for_a_camera_leaves_nothing_behind():
    """A camera that is away for days collects no list of people who asked once."""
    snapshots = Snapshots(frozenset({"gate"}))
    for _ in range(100):
        snapshots.ask("gate").cancel()
    assert len(snapshots._waiting["gate"]) == 1


def test_nobody_waits_for_another_persons_picture_that_takes_long(make):
    """A small picture is answered while somebody else's is still read."""
    one = make(lambda *_: done(seen()))
    slow = [one.ask(slow_jpeg(), "m", 0.5, "otto") for _ in range(3)]
    small = one.ask(encoded(upright(), "PNG"), "m", 0.5, "olga")
    assert small.answer.result(PATIENCE_S)
    assert not any(each.answer.done() for each in slow)
    for each in slow:
        each.cancel()


def test_who_goes_away_while_a_picture_is_read_ends_the_reading(make):
    """Nothing works on for somebody who has left, and their next picture is read at once."""
    one = make(lambda *_: done(seen()))
    slow = one.ask(slow_jpeg(), "m", 0.5)
    wait_until(lambda: slow._reader is not None and slow._reader._process is not None)
    slow.cancel()
    assert one.ask(encoded(upright(), "PNG"), "m", 0.5).answer.result(PATIENCE_S)
    with pytest.raises(EngineError, match="nobody waits"):
        slow.answer.result(PATIENCE_S)


def test_a_model_that_does_not_answer_keeps_nobody_from_another(make):
    """However many people ask it."""
    never = Future()
    one = make(lambda name, *_: never if name == "stuck" else done(seen()))
    data = encoded(upright(), "PNG")
    stuck = [one.ask(data, "stuck", 0.5, person) for person in "abcd"]
    wait_until(lambda: sum(each.engines is never for each in stuck) == AT_ONCE - 1)
    assert one.ask(data, "m", 0.5, "e").answer.result(PATIENCE_S)
    never.set_exception(EngineError("at last"))


def test_one_person_leaves_room_for_others(make):
    """The queue is not full for everybody because one person fills it."""
    gate = threading.Event()

    def inspect(*_):
        assert gate.wait(PATIENCE_S)
        return done(seen())

    one = make(inspect)
    data = encoded(upright(), "PNG")
    many = [one.ask(data, "m", 0.5, "otto") for _ in range(ONE_LIMIT)]
    with pytest.raises(EngineError, match="too many pictures"):
        one.ask(data, "m", 0.5, "otto")
    other = one.ask(data, "m", 0.5, "olga")
    gate.set()
    assert all(each.answer.result(PATIENCE_S) for each in [*many, other])


def test_without_pictures_the_process_that_reads_gives_its_memory_back(make, monkeypatch):
    """The next picture starts it again."""
    monkeypatch.setattr(inspector_module, "IDLE_S", 0.2)
    one = make(lambda *_: done(seen()))
    data = encoded(upright(), "PNG")
    for _ in range(2):
        assert one.ask(data, "m", 0.5).answer.result(PATIENCE_S)
        wait_until(lambda: not any(each._reader._process for each in one._lookers))
