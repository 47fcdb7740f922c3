"""Who is signed in, and for how long."""

import pytest

from appliance.settings import Role
from appliance.web import sessions as module
from appliance.web.sessions import Sessions
from tests.support.fakes import Clock

IDLE_S = 60.0
LONGEST_S = 300.0


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sessions(clock):
    return Sessions(idle_s=IDLE_S, longest_s=LONGEST_S, clock_ns=clock)


def test_a_token_leads_to_the_person_who_signed_in(sessions):
    """A session knows who signed in, and in which role."""
    found = sessions.find(sessions.open("ada", Role.ADMIN))
    assert (found.user, found.role) == ("ada", Role.ADMIN)


@pytest.mark.parametrize("token", ["", "x", "ä" * 40])
def test_a_token_that_was_never_given_out_leads_nowhere(sessions, token):
    """Whatever a cookie holds, only a token of ours opens anything."""
    sessions.open("ada", Role.ADMIN)
    assert sessions.find(token) is None


def test_a_session_nobody_uses_ends(sessions, clock):
    """After the idle time the session is over, to the second."""
    token = sessions.open("ada", Role.ADMIN)
    clock.advance(IDLE_S - 1)
    assert sessions.find(token) is not None
    clock.advance(1)
    assert sessions.find(token) is None


def test_asking_is_not_using(sessions, clock):
    """A page that only looks whether the session still runs does not keep it alive."""
    token = sessions.open("ada", Role.ADMIN)
    for _ in range(int(IDLE_S)):
        sessions.find(token)
        clock.advance(1)
    assert sessions.find(token) is None


def test_use_starts_the_idle_time_anew(sessions, clock):
    """Whoever does something now and then stays signed in."""
    token = sessions.open("ada", Role.ADMIN)
    for _ in range(4):
        clock.advance(IDLE_S - 1)
        sessions.use(sessions.find(token))
    assert sessions.find(token) is not None


def test_no_use_outlives_the_longest_time(sessions, clock):
    """A session ends at its limit however busy the person is."""
    token = sessions.open("ada", Role.ADMIN)
    for _ in range(int(LONGEST_S)):
        sessions.use(sessions.find(token))
        clock.advance(1)
    assert sessions.find(token) is None


def test_the_page_is_told_when_and_by_what_a_session_ends(sessions, clock):
    """Seconds left, and whether doing something would help."""
    session = sessions.find(sessions.open("ada", Role.ADMIN))
    assert sessions.end_of(session) == {"ends_in_s": 60, "by": "idle"}
    clock.advance(40)
    assert sessions.end_of(session) == {"ends_in_s": 20, "by": "idle"}
    for _ in range(5):
        sessions.use(session)
        clock.advance(50)
    sessions.use(session)
    assert sessions.end_of(session) == {"ends_in_s": 10, "by": "limit"}


def test_signing_out_ends_one_session_only(sessions):
    """The other browser of the same person stays signed in; signing out twice is fine."""
    here, there = sessions.open("ada", Role.ADMIN), sessions.open("ada", Role.ADMIN)
    sessions.close(here)
    sessions.close(here)
    assert sessions.find(here) is None
    assert sessions.find(there) is not None


def test_every_sign_in_gives_another_long_token(sessions):
    """Tokens are random and never repeat."""
    tokens = {sessions.open("ada", Role.ADMIN) for _ in range(50)}
    assert len(tokens) == 50
    assert min(len(token) for token in tokens) >= 43


def test_tokens_are_not_kept(sessions):
    """Whoever reads the memory's keys cannot sign in with them."""
    token = sessions.open("ada", Role.ADMIN)
    assert token not in sessions._sessions
    (kept,) = sessions._sessions
    assert sessions.find(kept) is None


def test_past_capacity_the_session_unused_longest_goes(sessions, clock, monkeypatch):
    """Memory stays bounded, and whoever is at work is not thrown out."""
    monkeypatch.setattr(module, "CAPACITY", 3)
    first, second, third = (sessions.open(name, Role.VIEWER) for name in "abc")
    clock.advance(1)
    sessions.use(sessions.find(first))
    sessions.use(sessions.find(third))
    sessions.open("d", Role.VIEWER)
    assert [sessions.find(token) is not None for token in (first, second, third)] == [1, 0, 1]


def test_sessions_that_are_over_are_forgotten(sessions, clock):
    """A new sign-in clears away what has ended."""
    sessions.open("ada", Role.ADMIN)
    clock.advance(IDLE_S + 1)
    sessions.open("ada", Role.ADMIN)
    assert len(sessions._sessions) == 1
