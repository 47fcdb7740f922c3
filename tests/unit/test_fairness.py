"""Who has how much of an engine: simulated, with fixed durations and a clock set by hand."""

from collections import Counter
from contextlib import suppress

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from appliance.errors import EngineError
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.lanes import Lane
from appliance.pipeline.loop import Loop
from appliance.pipeline.shares import Shares
from appliance.pipeline.waiting import WAITING_LIMIT
from appliance.pipeline.work import OTHERS, Urgency
from tests.support.fakes import Clock, served
from tests.support.timed import EndlessCamera, TimedEngine, TimedWork

LIVE, PEOPLE, BACKGROUND = Urgency
DURATIONS = st.integers(4, 60)  # milliseconds
SHARES = st.sampled_from([0.05, 0.2, 0.4])
SECONDS = 8
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)  # minutes for nothing: it is small already


class Wake:
    """The loop's event, on the simulated clock: nothing else goes on while it waits."""

    def __init__(self, clock):
        self._clock = clock

    def clear(self):
        """Nobody sets it."""

    def set(self):
        """Nobody waits for it."""

    def wait(self, timeout_s):
        self._clock.advance(timeout_s)


class Simulation:
    """A loop whose turns take no time but that of its engines.

    Args:
        models: for each model, how many cameras look at it, and milliseconds of each urgency.
        slots: of each engine.
        shares: of people and the background.
    """

    def __init__(self, models, *, slots=1, shares=(0.2, 0.2)):
        self.clock = Clock()
        self.seen, self.others = Counter(), {}
        lanes = [
            Lane(f"{name}{number}", EndlessCamera(durations[LIVE]), name)
            for name, (cameras, durations) in models.items()
            for number in range(cameras)
        ]
        self.loop = Loop(
            lanes,
            on_result=lambda result, _: self.seen.update([result.camera]),
            on_failure=lambda _, error: self._fail(error),
            heartbeat=Heartbeat(self.clock),
            clock_ns=self.clock,
            shares=Shares(*shares),
        )
        self.loop._wake = Wake(self.clock)
        for name in models:
            engine = TimedEngine(slots=slots, clock_ns=self.clock, sleep=self.clock.advance)
            self.loop.install(served(name, engine))
        self.loop._admit()
        for name, (_, durations) in models.items():
            for urgency in OTHERS:
                if urgency in durations:
                    self._flood(name, urgency, durations[urgency])

    def _fail(self, error):
        raise AssertionError(error)

    def _flood(self, name, urgency, level):
        """As much work as may wait, and more as soon as there is room."""
        ended = self.others[name, urgency] = Counter()

        def more():
            with suppress(EngineError):
                while True:
                    self.loop.put(TimedWork(name, urgency, level, ended, more))

        more()

    def run(self, seconds=SECONDS):
        """Let so much time pass."""
        until_ns = self.clock() + seconds * 10**9
        while self.clock() < until_ns:
            self.loop._turn()
        return self

    def account(self, name):
        return self.loop.engines.get(name).account

    def shares(self, name):
        """Of the engine's time, by urgency."""
        spent_s = self.account(name).spent_s
        total_s = sum(spent_s.values())
        return {urgency: spent_s[urgency] / total_s for urgency in Urgency}

    def end(self):
        self.loop._drain()


def slack_of(durations, slots):
    """What some pieces of work are of all the time."""
    return 4 * max(durations) / (1000 * SECONDS * slots)


@given(st.tuples(DURATIONS, DURATIONS, DURATIONS), st.integers(1, 2), st.tuples(SHARES, SHARES))
@settings(deadline=None, max_examples=20, phases=UNSHRUNK)
def test_while_cameras_wait_others_have_their_share_and_no_more(durations, slots, shares):
    """Of any stretch of time, up to some pieces of work, which may come one slot too late."""
    own = dict(zip(Urgency, durations, strict=True))
    one = Simulation({"m": (3, own)}, slots=slots, shares=shares).run()
    found, slack = one.shares("m"), slack_of(durations, slots)
    for urgency, share in zip(OTHERS, shares, strict=True):
        least = own[urgency] / (own[urgency] / share + slots * sum(durations))
        assert least - slack <= found[urgency] <= share + slack
        assert one.others["m", urgency]["finished"] > 0
    turns = [one.seen[f"m{number}"] for number in range(3)]
    assert max(turns) - min(turns) <= 1
    one.end()


@given(st.tuples(DURATIONS, DURATIONS), st.integers(1, 2))
@settings(deadline=None, max_examples=10, phases=UNSHRUNK)
def test_with_no_camera_others_take_it_all_and_none_of_them_starves(durations, slots):
    """People go before the background, which has its share of what they have."""
    people, background = durations
    one = Simulation({"m": (0, {LIVE: 1, PEOPLE: people, BACKGROUND: background})}, slots=slots)
    one.run()
    spent_s = one.account("m").spent_s
    assert sum(spent_s.values()) > 0.97 * slots * SECONDS
    least = background / (background / 0.2 + slots * people)
    slack = slack_of(durations, slots)
    assert least - slack <= one.shares("m")[BACKGROUND] <= 0.2 + slack
    one.end()


@given(st.tuples(DURATIONS, DURATIONS), st.integers(1, 3), st.booleans())
@settings(deadline=None, max_examples=10, phases=UNSHRUNK)
def test_one_models_queue_delays_no_other(durations, cameras, is_flooded):
    """The healthy rate of one is what it is alone, whatever waits for the other."""
    own, others = durations
    mine = (2, {LIVE: own})
    flood = {PEOPLE: others, BACKGROUND: others} if is_flooded else {}
    alone = Simulation({"mine": mine}).run(5)
    beside = Simulation({"theirs": (cameras, {LIVE: others, **flood}), "mine": mine}).run(5)
    rates = [sum(each.seen[f"mine{number}"] for number in range(2)) for each in (alone, beside)]
    # A result may be noticed a poll late, and no more.
    assert rates[1] >= rates[0] * own / (own + 1.5) - 1
    assert abs(beside.seen["mine0"] - beside.seen["mine1"]) <= 1
    assert all(beside.seen[f"theirs{number}"] > 0 for number in range(cameras))
    for each in (alone, beside):
        each.end()


def test_a_picture_goes_at_once_and_is_paid_for_afterwards():
    """Whoever has had nothing lately waits for the engine alone; the next one waits longer."""
    one = Simulation({"m": (1, {LIVE: 10})})
    one.run(1)
    engine = one.loop.engines.get("m").serving.engine
    ended = Counter()
    for _ in range(2):
        one.loop.put(TimedWork("m", PEOPLE, 30, ended))
    one.run(1)
    first = engine.submitted.index(30)
    second = engine.submitted.index(30, first + 1)
    assert second - first - 1 == 12  # 120 ms for 30: a fifth of 150
    one.end()


def test_work_that_waits_is_bounded_for_each_urgency_and_tells_who_comes_too_late():
    """A flood of the background keeps no person out."""
    one = Simulation({"m": (1, {LIVE: 10})})
    ended = Counter()

    def fill(urgency):
        taken = 0
        with suppress(EngineError):
            while True:
                one.loop.put(TimedWork("m", urgency, 10, ended))
                taken += 1
        return taken

    assert [fill(urgency) for urgency in OTHERS] == [WAITING_LIMIT] * 2
    one.end()
    assert ended == {"the station ends": 2 * WAITING_LIMIT}


def test_where_no_frame_waits_a_picture_costs_its_urgency_nothing():
    """A camera that leaves gaps gets all its frames, and people get all the gaps."""
    one = Simulation({"m": (0, {LIVE: 1, PEOPLE: 10})})
    one.run(2)
    assert one.shares("m") == {LIVE: 0, PEOPLE: 1, BACKGROUND: 0}
    assert one.others["m", PEOPLE]["finished"] >= 195
    one.end()
