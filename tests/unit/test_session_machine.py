"""Sessions against a model, under any order of sign-ins, use, waiting and sign-outs."""

import time
from dataclasses import dataclass
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.settings import Role
from appliance.web import sessions as module
from appliance.web.sessions import Session, Sessions
from tests.support.fakes import Clock

IDLE_S, LONGEST_S, CAPACITY = 60, 80, 2
WAITS_S = [0, 1, 20, 30, IDLE_S - 1, IDLE_S, IDLE_S + 1, LONGEST_S]
DAYS_S = 86_400.0


@dataclass
class Expected:
    """What the model knows of one session.

    Attributes:
        held: what somebody who found it once, such as a live view, still holds.
        over: it has ended, and nothing brings it back.
    """

    user: str
    role: Role
    started_s: int
    used_s: int
    held: Session
    over: bool = False

    def ends_s(self):
        return min(self.used_s + IDLE_S, self.started_s + LONGEST_S)


class SessionMachine(RuleBasedStateMachine):
    """People sign in, in changing roles, work, pause and sign out; clocks are set meanwhile."""

    def __init__(self):
        super().__init__()
        self.now_s = 0
        self.wall_s = time.time()
        self.clock = Clock(0)
        self.expected: dict[str, Expected] = {}
        self.patches = [
            mock.patch.object(module, "CAPACITY", CAPACITY),
            mock.patch("time.time", self.read_wall_clock),
        ]
        for patch in self.patches:
            patch.start()
        self.sessions = Sessions(idle_s=IDLE_S, longest_s=LONGEST_S, clock_ns=self.clock)

    def teardown(self):
        for patch in self.patches:
            patch.stop()

    def read_wall_clock(self):
        return self.wall_s

    def running(self):
        return {token: one for token, one in self.expected.items() if not one.over}

    @rule(user=st.sampled_from("abc"), role=st.sampled_from(Role))
    def sign_in(self, user, role):
        """The same person may come back in another role, as after a change of the settings."""
        before = self.running()
        token = self.sessions.open(user, role)
        assert token not in self.expected
        held = self.sessions.find(token)
        self.expected[token] = Expected(user, role, self.now_s, self.now_s, held)
        gone = [one for key, one in before.items() if self.sessions.find(key) is None]
        if len(before) < CAPACITY:
            assert gone == []
        else:
            (victim,) = gone
            assert victim.used_s == min(one.used_s for one in before.values())
            victim.over = True

    @precondition(lambda self: self.expected)
    @rule(pick=st.integers(0))
    def work(self, pick):
        """A request by hand: the gate finds the session, and uses it."""
        token = list(self.expected)[pick % len(self.expected)]
        session = self.sessions.find(token)
        if session is not None:
            self.sessions.use(session)
            self.expected[token].used_s = self.now_s

    @precondition(lambda self: self.expected)
    @rule(pick=st.integers(0))
    def work_on_a_live_view(self, pick):
        """It holds the session from its beginning and uses it without finding it again."""
        one = list(self.expected.values())[pick % len(self.expected)]
        self.sessions.use(one.held)
        if not one.over:
            one.used_s = self.now_s

    @rule(wait_s=st.sampled_from(WAITS_S))
    def wait(self, wait_s):
        self.now_s += wait_s
        self.clock.advance(wait_s)
        for one in self.expected.values():
            one.over |= self.now_s >= one.ends_s()

    @rule(jump_s=st.floats(-365 * DAYS_S, 365 * DAYS_S))
    def set_the_wall_clock(self, jump_s):
        """Forward or back: it decides nothing."""
        self.wall_s += jump_s

    @precondition(lambda self: self.expected)
    @rule(pick=st.integers(0), times=st.integers(1, 2))
    def sign_out(self, pick, times):
        token = list(self.expected)[pick % len(self.expected)]
        for _ in range(times):
            self.sessions.close(token)
        self.expected[token].over = True

    @invariant()
    def exactly_the_running_sessions_are_found(self):
        for token, one in self.expected.items():
            found = self.sessions.find(token)
            assert (found is None) == one.over
            if found is not None:
                assert (found.user, found.role) == (one.user, one.role)

    @invariant()
    def the_page_is_told_the_truth_about_the_end(self):
        for one in self.running().values():
            end = self.sessions.end_of(one.held)
            assert end["ends_in_s"] == one.ends_s() - self.now_s > 0
            is_idle = one.used_s + IDLE_S < one.started_s + LONGEST_S
            assert end["by"] == ("idle" if is_idle else "limit")

    @invariant()
    def there_are_never_more_than_the_cap(self):
        assert len(self.running()) <= CAPACITY
        assert len(self.sessions._sessions) <= CAPACITY


TestSessions = SessionMachine.TestCase
TestSessions.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_a_session_at_its_end_takes_nobodys_place():
    """One that is over to the second counts no more, however lately it was used."""
    clock = Clock(0)
    sessions = Sessions(idle_s=60, longest_s=80, clock_ns=clock)
    with mock.patch.object(module, "CAPACITY", 2):
        over = sessions.open("a", Role.VIEWER)
        clock.advance(30)
        running = sessions.open("b", Role.VIEWER)
        clock.advance(20)
        sessions.use(sessions.find(over))
        clock.advance(30)
        assert sessions.find(over) is None
        sessions.open("c", Role.VIEWER)
        assert sessions.find(running) is not None
