"""Results go to every sink; one that fails harms no other, and the camera keeps a slot to write."""

import threading

import numpy as np
import pytest
from loguru import logger

from appliance.buffers import FrameSlots, slots_for
from appliance.pipeline import collector as collector_module
from appliance.pipeline import encoder as encoder_module
from appliance.pipeline.collector import Collector, Keeping
from appliance.pipeline.encoder import LiveEncoder, burn
from appliance.pipeline.sinks import QUIET_S, REMIND_S, CallbackSink, FanOut
from appliance.pipeline.snapshots import Snapshots
from appliance.readings import SinkReading
from appliance.values import FrameStamp
from tests.support.fakes import Clock, counted_lease, result_of, wait_until

PATIENCE_S = 10
SHAPE = (24, 32, 3)


class Failing:
    """A sink that raises what it is told to.

    Attributes:
        error: raised by each offer; None: it works.
        frames_held: as of any sink.
    """

    def __init__(self, name="bad", error=None):
        self.name = name
        self.error = error
        self.frames_held = 3

    def offer(self, _result, _lease):
        if self.error is not None:
            raise self.error


class Bench:
    """A sink that may fail, between two that count."""

    def __init__(self):
        self.clock, self.bad, self.got = Clock(), Failing(), {"first": 0, "last": 0}
        counting = [CallbackSink(name, lambda _, name=name: self.count(name)) for name in self.got]
        self.fan = FanOut([counting[0], self.bad, counting[1]], clock_ns=self.clock)

    def count(self, name):
        self.got[name] += 1

    def offer(self, error=None, *, after_s=0.1):
        self.clock.advance(after_s)
        self.bad.error = error
        lease, held = counted_lease(np.zeros(SHAPE, np.uint8))
        self.fan.offer(result_of("door", lease), lease)
        assert held() == 1

    def reading(self):
        return self.fan.readings()["bad"]


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def lines():
    """What is logged, as level, sink and message."""
    found = []

    def note(message):
        record = message.record
        found.append((record["level"].name, record["extra"].get("sink"), record["message"]))

    sink = logger.add(note, level="INFO")
    yield found
    logger.remove(sink)


def test_a_sink_that_raises_harms_no_other(bench):
    """Those before it and those behind it get each result."""
    for _ in range(5):
        bench.offer(ValueError("broken"))
    assert bench.got == {"first": 5, "last": 5}


def test_failures_are_counted_by_sink(bench):
    """From the start, and each sink has its own count."""
    bench.offer()
    assert bench.fan.readings() == dict.fromkeys(("first", "bad", "last"), SinkReading())
    for _ in range(3):
        bench.offer(TypeError("broken"))
    assert [each.failures for each in bench.fan.readings().values()] == [0, 3, 0]


def test_a_failure_is_told_once_and_its_repeats_are_counted(bench, lines):
    """However often it comes; what is of another kind is told as well."""
    for _ in range(50):
        bench.offer(ValueError("broken"))
    bench.offer(KeyError("other"))
    bench.offer(ValueError("broken"))
    assert lines == [
        ("ERROR", "bad", "results: one was not taken"),
        ("ERROR", "bad", "results: one was not taken, after 49 more failures"),
    ]
    bench.offer(after_s=QUIET_S + 1)
    assert lines[2:] == [("INFO", "bad", "results: are taken again, after 1 more failures")]


def test_a_failure_that_goes_on_for_ever_is_told_each_hour(bench, lines):
    """Once is easily overlooked, and the log forgets old lines."""
    for _ in range(3):
        bench.offer(ValueError("broken"), after_s=REMIND_S / 2)
    assert [line[2] for line in lines] == [
        "results: one was not taken",
        "results: one was not taken, after 1 more failures",
    ]


def test_a_sink_that_fails_now_and_then_fills_no_log(bench, lines):
    """It counts as failing until it has taken results for a minute."""
    for _ in range(100):
        bench.offer(ValueError("broken"))
        bench.offer()
    assert len(lines) == 1
    assert bench.reading().failures == 100


def test_the_trouble_is_a_sentence_until_the_sink_has_worked_for_a_while(bench):
    """It names the sink and the kind of error, never the text, which may hold anything."""
    bench.offer(ValueError("rtsp://u:hunter2@door/1"))
    assert bench.reading().trouble == "Some results do not reach bad (ValueError)"
    bench.offer(after_s=QUIET_S - 1)
    assert bench.reading().trouble
    bench.clock.advance(2)  # also where no result comes any more
    assert bench.reading() == SinkReading(1, "")


def test_two_sinks_of_one_name_are_refused():
    """Their failures could not be told apart."""
    with pytest.raises(ValueError, match="names that differ"):
        FanOut([Failing(), Failing()], clock_ns=Clock())


def test_frames_held_are_those_of_all_sinks():
    """What a camera must have slots for."""
    fan = FanOut([Failing("a"), CallbackSink("b", print), Failing("c")], clock_ns=Clock())
    assert fan.frames_held == 6


class Held:
    """A camera with as many slots as its readers need, and real sinks that hang in their work."""

    def __init__(self, folder, monkeypatch, in_flight):
        self.go_on, self.sequence, self.clock = threading.Event(), 0, Clock()
        self.at_work = []  # names of threads that hold a frame in their hands
        monkeypatch.setattr(encoder_module, "_jpeg", self.hang)
        monkeypatch.setattr(LiveEncoder, "_canvas", self.hang)
        monkeypatch.setattr(collector_module, "_keep", self.hang)
        options = {"fps": 60, "quality": 80, "clock_ns": self.clock}
        encoder = LiveEncoder(lambda _: None, **options)
        burner = LiveEncoder(lambda _: None, **options, paint=burn, name="burner")
        collector = Collector(
            {"m": folder},
            {"door": "m"},
            Keeping(wanted=100),
            on_enough=lambda _: None,
            clock_ns=self.clock,
            watch=None,
        )
        encoder.watch("door")
        burner.watch("door")
        self.workers = [encoder, burner, collector]
        self.fan = FanOut([*self.workers, Snapshots(frozenset({"door"}))], clock_ns=self.clock)
        self.slots = FrameSlots(slots_for(in_flight + self.fan.frames_held), SHAPE)

    def hang(self, *_):
        self.at_work.append(threading.current_thread().name)
        self.go_on.wait(PATIENCE_S)
        raise ValueError("the test is over")

    def frame(self):
        """A new one, leased. While it is written the one before can be taken."""
        slot = self.slots.begin()
        assert slot is not None
        if self.sequence:
            newest = self.slots.take()
            assert newest is not None
            newest.release()
        self.sequence += 1
        self.slots.publish(slot, FrameStamp(self.sequence, 0, 0.0))
        return self.slots.take()

    def offer(self, sink, lease):
        self.clock.advance(collector_module.PERIOD_S)  # whoever wants pictures wants this one
        with lease:
            sink.offer(result_of("door", lease), lease)


@pytest.fixture
def held(tmp_path, monkeypatch):
    """Makes a camera with hanging sinks, and ends them."""
    made = []

    def make(in_flight=1):
        made.append(Held(tmp_path, monkeypatch, in_flight))
        for worker in made[-1].workers:
            worker.start()
        return made[-1]

    yield make
    for one in made:
        one.go_on.set()
        for worker in one.workers:
            worker.stop()
            assert worker.join(PATIENCE_S)


@pytest.mark.parametrize("in_flight", [1, 2, 4])
def test_a_camera_has_a_slot_to_write_while_every_reader_holds_all_it_may(held, in_flight):
    """Each sink hangs with one frame in hand and another waiting, the engine has its slots full.

    The frames all differ, which is the worst case. However many come, none finds no slot.
    """
    one = held(in_flight)
    for count, worker in enumerate(one.workers, start=1):
        one.offer(worker, one.frame())
        wait_until(lambda count=count: len(one.at_work) == count)
        one.offer(worker, one.frame())
    under_way = [one.frame() for _ in range(in_flight)]
    for _ in range(2):
        one.frame().release()
    for _ in range(10):
        one.offer(one.fan, under_way.pop(0))  # a result comes, and the next frame takes its place
        under_way.append(one.frame())
    one.frame().release()
    assert sorted(one.at_work) == ["burner", "collector", "encoder"]
    assert one.slots.starved == 0
    for lease in under_way:
        lease.release()


def test_each_sink_holds_as_many_frames_as_it_says(held):
    """One more would take the slot of the writer, one less would be memory for nothing."""
    one = held()
    for count, worker in enumerate(one.workers, start=1):
        counts = []
        for sequence in range(6):
            lease, count_of = counted_lease(np.zeros(SHAPE, np.uint8), sequence=sequence + 1)
            counts.append(count_of)
            one.offer(worker, lease)
            wait_until(lambda count=count: len(one.at_work) == count)
        assert sum(each() for each in counts) == worker.frames_held == 2


def test_a_collector_that_wants_no_pictures_needs_no_slots():
    """As it is by default: nobody pays memory for it."""
    keeping = Keeping(wanted=0)
    made = Collector({}, {}, keeping, on_enough=print, clock_ns=Clock(), watch=None)
    assert made.frames_held == 0
