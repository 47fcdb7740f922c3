"""Who is signed in, and for how long: in this run and in the next one."""

import math
from dataclasses import replace

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from appliance.errors import StoreError
from appliance.settings import Role, User
from appliance.stores.sessions import SessionShelf
from appliance.web.access import sessions as module
from appliance.web.access.sessions import LONGEST_AGENT, Sessions
from tests.support.fakes import Clock, MemoryShelf, Wall
from tests.unit.test_database import opened

IDLE_S = 60.0
LONGEST_S = 300.0
ADA = User(name="ada", role=Role.ADMIN, hash=SecretStr("hash-of-ada"))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def shelf():
    return MemoryShelf()


@pytest.fixture
def run(clock, wall, shelf):
    """Makes the sessions of one run of the station after another."""

    def make(shelf=shelf, users=(ADA,)):
        sessions = Sessions(
            idle_s=IDLE_S,
            longest_s=LONGEST_S,
            clock_ns=clock,
            wall_s=wall,
            shelf=shelf,
            users=users,
        )
        sessions.restore()
        return sessions

    return make


@pytest.fixture
def sessions(run):
    return run()


@pytest.fixture
def rest(clock, wall):
    """Lets time pass, for both clocks."""

    def pass_by(seconds):
        clock.advance(seconds)
        wall.now_s += seconds

    return pass_by


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
    assert sessions.end_of(session) == {"ends_in_s": 60, "by": "idle", "idle_s": 60}
    clock.advance(40)
    assert sessions.end_of(session) == {"ends_in_s": 20, "by": "idle", "idle_s": 60}
    for _ in range(5):
        sessions.use(session)
        clock.advance(50)
    sessions.use(session)
    assert sessions.end_of(session) == {"ends_in_s": 10, "by": "limit", "idle_s": 60}


def test_why_a_session_is_over_can_be_told_afterwards(sessions, clock):
    """The page says it, so that nobody takes their idle time for an attack."""
    ended = {
        "left": sessions.close,
        "revoked": lambda token: sessions.revoke(sessions.find(token).id),
        "idle": lambda _token: clock.advance(IDLE_S + 1),
    }
    for why, end in ended.items():
        token = sessions.open("ada", Role.ADMIN)
        session = sessions.find(token)
        assert sessions.why_over(session) == ""
        end(token)
        assert sessions.find(token) is None
        assert sessions.why_over(session) == why


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


def test_one_person_signs_nobody_else_out(sessions, clock):
    """However often they sign in: past their share their own session unused longest goes."""
    ada = sessions.open("ada", Role.ADMIN)
    clock.advance(1)
    own = [sessions.open("vic", Role.VIEWER) for _ in range(module.CAPACITY + 4)]
    assert sessions.find(ada) is not None
    assert [sessions.find(token) is not None for token in own].count(True) == module.PER_PERSON
    assert sessions.find(own[-1]) is not None


def test_sessions_that_are_over_are_forgotten(sessions, clock):
    """A new sign-in clears away what has ended."""
    sessions.open("ada", Role.ADMIN)
    clock.advance(IDLE_S + 1)
    sessions.open("ada", Role.ADMIN)
    assert len(sessions._sessions) == 1


def test_sessions_are_listed_and_ended_one_by_one(sessions, rest):
    """By an id that opens nothing; who signed in last stands first."""
    first = sessions.open("ada", Role.ADMIN, address="192.0.2.1", agent="A browser")
    rest(10)
    second = sessions.open("vera", Role.VIEWER, address="192.0.2.2", agent="x" * 1000)
    rest(10)
    sessions.use(sessions.find(first))
    vera, ada = sessions.list()
    assert (ada.user, ada.role, ada.address, ada.agent) == (
        "ada",
        Role.ADMIN,
        "192.0.2.1",
        "A browser",
    )
    assert len(vera.agent) == LONGEST_AGENT
    assert (vera.used_at_s, vera.started_at_s) == (Wall().now_s + 10, Wall().now_s + 10)
    assert (ada.used_at_s, ada.started_at_s) == (Wall().now_s + 20, Wall().now_s)
    assert sessions.find(ada.id) is None
    sessions.revoke(ada.id)
    sessions.revoke(ada.id)
    sessions.revoke("nothing")
    assert (sessions.find(first), sessions.list()) == (None, (vera,))
    assert sessions.find(second) is not None


def test_all_sessions_of_a_person_end_together(sessions, run):
    """On every browser, in the next run as well, and nobody else's."""
    tokens = [sessions.open("ada", Role.ADMIN) for _ in range(3)]
    other = sessions.open("vera", Role.VIEWER)
    sessions.revoke_user("ada")
    assert [sessions.find(token) for token in tokens] == [None] * 3
    assert sessions.find(other) is not None
    assert [run().find(token) for token in tokens] == [None] * 3


def test_a_session_that_is_over_is_not_listed(sessions, rest):
    """The page shows who can do something now."""
    sessions.open("ada", Role.ADMIN)
    rest(IDLE_S)
    assert sessions.list() == ()


def test_people_stay_signed_in_over_a_restart(sessions, run, rest):
    """With role, id, address and browser, and without a second given back."""
    token = sessions.open("ada", Role.ADMIN, address="192.0.2.1", agent="A browser")
    (before,) = sessions.list()
    rest(20)
    sessions.keep()
    rest(30)
    again = run()
    assert again.list() == (before,)
    assert again.end_of(again.find(token)) == {"ends_in_s": 10, "by": "idle", "idle_s": 60}
    rest(10)
    assert again.find(token) is None


def test_the_longest_time_goes_on_over_restarts(run, rest):
    """However often the station is started, and however busy the person is."""
    token = run().open("ada", Role.ADMIN)
    for _ in range(int(LONGEST_S / 50) - 1):
        rest(50)
        sessions = run()
        sessions.use(sessions.find(token))
        sessions.keep()
    rest(49)
    assert run().find(token) is not None
    rest(1)
    assert run().find(token) is None


def test_after_a_kill_the_last_minute_of_use_may_be_missing(sessions, run, rest):
    """Use is written once a minute, so a session may end so much earlier, and never later."""
    token = sessions.open("ada", Role.ADMIN)
    rest(30)
    sessions.use(sessions.find(token))
    again = run()
    assert again.end_of(again.find(token))["ends_in_s"] == IDLE_S - 30


def test_a_session_is_written_once_a_minute_at_most(sessions, shelf, rest, monkeypatch):
    """However often it is used, and not at all while nobody asks for it."""
    written = []
    monkeypatch.setattr(shelf, "put", written.append)
    token = sessions.open("ada", Role.ADMIN)
    assert len(written) == 1
    for _ in range(250):
        rest(1)
        sessions.use(sessions.find(token))
    assert len(written) == 1 + 4
    assert (written[-1].age_s, written[-1].idle_s) == (240, 1)


@pytest.mark.parametrize("set_by_s", [-1, -3600, -1e9])
def test_a_clock_that_was_set_back_ends_sessions(sessions, run, wall, set_by_s):
    """It would have given them time: how long the station was away is not known."""
    token = sessions.open("ada", Role.ADMIN)
    wall.now_s += set_by_s
    assert sessions.find(token) is not None  # in this run it decides nothing
    assert run().find(token) is None


def test_a_clock_that_is_set_right_while_the_station_runs_ends_nothing(sessions, run, rest, wall):
    """As on a box without a battery: the next writing knows the new time."""
    token = sessions.open("ada", Role.ADMIN)
    wall.now_s += 3e8
    rest(module.KEEP_EVERY_S - 1)
    sessions.use(sessions.find(token))
    rest(1)
    assert sessions.find(token) is not None
    again = run()
    assert again.end_of(again.find(token))["ends_in_s"] == IDLE_S - 1


@pytest.mark.parametrize(
    "users",
    [
        (),
        (User(name="ada", role=Role.VIEWER, hash=ADA.hash),),
        (User(name="ada", role=Role.ADMIN, hash=SecretStr("another-hash")),),
        (User(name="Ada", role=Role.ADMIN, hash=ADA.hash),),
    ],
    ids=["removed", "another role", "another password", "another name"],
)
def test_a_change_of_the_settings_ends_the_sessions_of_whom_it_concerns(sessions, run, users):
    """Who was removed, or given another role or password, signs in anew; the row is gone."""
    token = sessions.open("ada", Role.ADMIN)
    assert run(users=users).find(token) is None
    assert run().find(token) is None


def test_whom_a_proxy_vouched_for_signs_on_by_it_anew(sessions, run):
    """No setting names these people, so nothing says that they may still come in."""
    token = sessions.open("somebody", Role.ADMIN)
    assert run().find(token) is None


@pytest.mark.parametrize(
    "change",
    [
        {"role": "root"},
        {"age_s": -1e9},
        {"idle_s": -1.0},
        {"age_s": math.inf},
        {"seen_at_s": -math.inf},
        {"seen_at_s": 1e300},
    ],
)
def test_what_no_session_can_be_is_not_taken_up(sessions, run, shelf, change):
    """As after a bit that has flipped: whoever it was signs in anew."""
    token = sessions.open("ada", Role.ADMIN)
    shelf.rows = {key: replace(row, **change) for key, row in shelf.rows.items()}
    assert run().find(token) is None
    assert shelf.rows == {}


def test_the_file_tells_no_token(tmp_path, run):
    """Nor anything that opens a session: whoever has a copy of it gets in nowhere."""
    with opened(tmp_path) as database:
        sessions = run(SessionShelf(database))
        token = sessions.open("ada", Role.ADMIN)
        database.submit(lambda _: None).result(20)
        (kept,) = database.read(lambda c: c.execute(text("SELECT * FROM sessions")).all())
        assert not any(sessions.find(str(value)) for value in kept)
        assert sessions.find(token) is not None
    assert token.encode() not in (tmp_path / "appliance.db").read_bytes()


def test_the_database_keeps_what_the_sessions_say(tmp_path, run, rest):
    """Begun, used, signed out and revoked: the next run knows the same sessions."""
    with opened(tmp_path) as database:
        sessions = run(SessionShelf(database))
        stays, out, revoked = (sessions.open("ada", Role.ADMIN) for _ in range(3))
        rest(module.KEEP_EVERY_S - 1)
        sessions.use(sessions.find(stays))
        sessions.close(out)
        sessions.revoke(sessions.find(revoked).id)
        sessions.keep()
    with opened(tmp_path) as database:
        sessions = run(SessionShelf(database))
        found = [sessions.find(token) is not None for token in (stays, out, revoked)]
        assert found == [True, False, False]
        assert sessions.ends_in_s(sessions.find(stays)) == IDLE_S


def test_without_the_database_nobody_stays_signed_in(tmp_path, run):
    """The reason is told, and it is no empty list."""
    (tmp_path / "appliance.db").mkdir()
    with opened(tmp_path) as database, pytest.raises(StoreError, match="cannot be had"):
        run(SessionShelf(database))
