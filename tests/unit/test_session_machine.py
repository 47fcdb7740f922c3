"""Sessions against a model, under any order of sign-ins, use, waiting, sign-outs and restarts."""

from dataclasses import dataclass
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pydantic import SecretStr

from appliance.settings import Role, User
from appliance.web.access import sessions as module
from appliance.web.access.sessions import Session, Sessions
from tests.support.fakes import Clock, MemoryShelf, Wall

IDLE_S, LONGEST_S, CAPACITY, KEEP_EVERY_S = 60, 80, 2, 10
WAITS_S = [0, 1, 9, 20, 30, IDLE_S - 1, IDLE_S, IDLE_S + 1, LONGEST_S]
DAYS_S = 86_400
PEOPLE = tuple(
    User(name=name, role=role, hash=SecretStr(f"hash of {name}")) for name in "abc" for role in Role
)


@dataclass
class Expected:
    """What the model knows of one session; times are of the machine's own clock.

    Attributes:
        held: what somebody who found it once, such as a live view, still holds.
        written: machine's time, wall clock, start and last use, when it was written last.
        over: it has ended, and nothing brings it back.
    """

    user: str
    role: Role
    started_s: int
    used_s: int
    held: Session
    written: tuple[int, int, int, int]
    over: bool = False

    def ends_s(self):
        return min(self.used_s + IDLE_S, self.started_s + LONGEST_S)


class SessionMachine(RuleBasedStateMachine):
    """People sign in, in changing roles, work, pause and sign out; clocks are set meanwhile.

    Now and then the station starts anew, in order or killed.
    """

    def __init__(self):
        super().__init__()
        self.now_s = 0
        self.clock = Clock(0)
        self.wall = Wall(1_800_000_000)
        self.shelf = MemoryShelf()
        self.expected: dict[str, Expected] = {}
        self.patches = [
            mock.patch.object(module, "CAPACITY", CAPACITY),
            mock.patch.object(module, "KEEP_EVERY_S", KEEP_EVERY_S),
        ]
        for patch in self.patches:
            patch.start()
        self.sessions = self.begin()

    def begin(self):
        return Sessions(
            idle_s=IDLE_S,
            longest_s=LONGEST_S,
            clock_ns=self.clock,
            wall_s=self.wall,
            shelf=self.shelf,
            users=PEOPLE,
        )

    def teardown(self):
        for patch in self.patches:
            patch.stop()

    def running(self):
        return {token: one for token, one in self.expected.items() if not one.over}

    def write(self, one):
        one.written = self.now_s, self.wall.now_s, one.started_s, one.used_s

    def look(self, token):
        """Find it; that writes it, where it was not written for long."""
        one, found = self.expected.get(token), self.sessions.find(token)
        if found is not None and self.now_s - one.written[0] >= KEEP_EVERY_S:
            self.write(one)
        return found

    @rule(user=st.sampled_from("abc"), role=st.sampled_from(Role))
    def sign_in(self, user, role):
        """The same person may come back in another role, as after a change of the settings."""
        before = self.running()
        token = self.sessions.open(user, role)
        assert token not in self.expected
        one = Expected(user, role, self.now_s, self.now_s, self.sessions.find(token), (0, 0, 0, 0))
        self.write(one)
        self.expected[token] = one
        gone = [one for key, one in before.items() if self.look(key) is None]
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
        session = self.look(token)
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
        self.wall.now_s += wait_s
        self.clock.advance(wait_s)
        for one in self.expected.values():
            one.over |= self.now_s >= one.ends_s()

    @rule(jump_s=st.integers(-365 * DAYS_S, 365 * DAYS_S) | st.integers(-100, 100))
    def set_the_wall_clock(self, jump_s):
        """Forward or back: in this run it decides nothing."""
        self.wall.now_s += jump_s

    @rule(in_order=st.booleans())
    def restart(self, in_order):
        """What was written last counts, and the wall clock's time since then, if it can be true."""
        if in_order:
            self.sessions.keep()
            for one in self.running().values():
                self.write(one)
        self.sessions = self.begin()
        self.sessions.restore()
        for token, one in self.running().items():
            written_s, wall_s, started_s, used_s = one.written
            gone_s = self.wall.now_s - wall_s
            forward_s = gone_s - (self.now_s - written_s)  # what the clock was set by, since then
            one.started_s, one.used_s = started_s - forward_s, used_s - forward_s
            one.over = gone_s < 0 or self.now_s >= one.ends_s()
            if not one.over:
                one.held = self.sessions.find(token)
                self.write(one)

    @precondition(lambda self: self.expected)
    @rule(pick=st.integers(0), times=st.integers(1, 2))
    def sign_out(self, pick, times):
        token = list(self.expected)[pick % len(self.expected)]
        for _ in range(times):
            self.sessions.close(token)
        self.expected[token].over = True

    @precondition(lambda self: self.running())
    @rule(pick=st.integers(0))
    def end_one(self, pick):
        """As an admin does it, by the id that the page shows."""
        token = list(self.running())[pick % len(self.running())]
        self.sessions.revoke(self.look(token).id)
        self.expected[token].over = True

    @rule(user=st.sampled_from("abc"))
    def end_all_of(self, user):
        self.sessions.revoke_user(user)
        for one in self.expected.values():
            one.over |= one.user == user

    @invariant()
    def exactly_the_running_sessions_are_found(self):
        for token, one in self.expected.items():
            found = self.look(token)
            assert (found is None) == one.over
            if found is not None:
                assert (found.user, found.role) == (one.user, one.role)

    @invariant()
    def exactly_the_running_sessions_are_listed(self):
        listed = {info.id: info for info in self.sessions.list()}
        running = self.running().values()
        assert listed.keys() == {one.held.id for one in running}
        for one in running:
            info = listed[one.held.id]
            assert round(info.used_at_s) == self.wall.now_s - (self.now_s - one.used_s)
            assert round(info.started_at_s) == self.wall.now_s - (self.now_s - one.started_s)

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
        assert len(self.shelf.rows) <= CAPACITY


TestSessions = SessionMachine.TestCase
TestSessions.settings = settings(max_examples=150, stateful_step_count=30)


def test_a_session_at_its_end_takes_nobodys_place():
    """One that is over to the second counts no more, however lately it was used."""
    machine = SessionMachine()
    clock, sessions = machine.clock, machine.sessions
    over = sessions.open("a", Role.VIEWER)
    clock.advance(30)
    running = sessions.open("b", Role.VIEWER)
    clock.advance(20)
    sessions.use(sessions.find(over))
    clock.advance(30)
    assert sessions.find(over) is None
    sessions.open("c", Role.VIEWER)
    assert sessions.find(running) is not None
    machine.teardown()
