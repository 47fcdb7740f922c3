"""When a password may be tried: guessing gets slow, and the person at whom it is aimed gets in."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.web import throttle as module
from appliance.web.throttle import FORGOTTEN_S, FREE, LONGEST_S, Throttle, network_of
from tests.support.fakes import Clock

HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throttle(clock):
    return Throttle(clock)


def fail(throttle, user, address, times=FREE):
    for _ in range(times):
        assert throttle.enter(user, address) == 0


def test_people_may_mistype(throttle):
    """The first few tries wait for nothing."""
    fail(throttle, "ada", HERE)
    assert throttle.enter("ada", HERE) > 0


def test_each_failure_makes_the_next_wait_longer_up_to_a_minute(throttle, clock):
    """1, 2, 4 seconds, and so on; never more than the longest."""
    fail(throttle, "ada", HERE)
    waits = []
    for _ in range(9):
        waits.append(throttle.wait_s("ada", HERE))
        clock.advance(waits[-1])
        assert throttle.enter("ada", HERE) == 0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert max(waits) == LONGEST_S


def test_guesses_that_come_all_at_once_are_counted_before_they_are_checked(throttle):
    """Two hundred at a time are no way around: no more than the free ones are let through."""
    assert [throttle.enter("ada", HERE) for _ in range(200)].count(0) == FREE


def test_trying_too_early_does_not_make_it_later(throttle, clock):
    """The wait that was told is the wait that holds."""
    fail(throttle, "ada", HERE, FREE)
    clock.advance(0.5)
    for _ in range(50):
        assert throttle.enter("ada", HERE) == 0.5
    clock.advance(0.5)
    assert throttle.enter("ada", HERE) == 0


def test_one_address_is_slowed_whatever_names_it_tries(throttle):
    """A list of names is no way around."""
    assert [throttle.enter(f"user{n}", HERE) for n in range(100)].count(0) == FREE


def test_many_addresses_are_slowed_at_one_user(throttle):
    """Each must wait first, once the user has been guessed at."""
    assert [throttle.enter("ada", f"10.0.0.{n}") for n in range(200)].count(0) == FREE


def test_whoever_was_told_to_wait_has_a_turn_whatever_others_try_meanwhile(throttle, clock):
    """A crowd that guesses without pause cannot keep the right person out (no lock-out)."""
    crowd = [f"10.1.{n // 250}.{n % 250}" for n in range(300)]
    for address in crowd:
        throttle.enter("ada", address)
    told_s = throttle.enter("ada", HERE)
    assert 0 < told_s <= LONGEST_S
    left_s = told_s
    while left_s > 0:
        step_s = min(1.0, left_s)
        clock.advance(step_s)
        left_s -= step_s
        for address in crowd:
            throttle.enter("ada", address)
    assert throttle.enter("ada", HERE) == 0


def test_from_an_address_that_has_signed_in_others_guesses_do_not_count(throttle):
    """Somebody else's guesses slow neither the person nor that address."""
    throttle.enter("ada", HERE)
    throttle.succeeded("ada", HERE)
    for n in range(100):
        throttle.enter("ada", f"10.0.0.{n}")
    assert throttle.enter("ada", THERE) > 0
    assert throttle.enter("ada", HERE) == 0


def test_a_known_address_is_slowed_by_its_own_guesses(throttle):
    """Having signed in once is no licence to guess."""
    throttle.enter("ada", HERE)
    throttle.succeeded("ada", HERE)
    fail(throttle, "ada", HERE)
    assert throttle.enter("ada", HERE) > 0


def test_a_right_password_takes_back_what_was_mistyped(throttle, clock):
    """Signing out and in again waits for nothing."""
    fail(throttle, "ada", HERE, FREE)
    clock.advance(1)
    assert throttle.enter("ada", HERE) == 0
    throttle.succeeded("ada", HERE)
    fail(throttle, "ada", HERE, FREE)


def test_ones_own_account_is_no_way_to_guess_at_others(throttle):
    """Signing in between two guesses does not start them anew."""
    fail(throttle, "ada", HERE, FREE - 1)
    for _ in range(3):
        throttle.enter("vera", HERE)
        throttle.succeeded("vera", HERE)
    fail(throttle, "ada", HERE, 1)
    assert throttle.enter("ada", HERE) > 0


def test_failures_are_forgotten_after_a_while(throttle, clock):
    """Yesterday's guesses slow nobody today."""
    fail(throttle, "ada", HERE)
    assert throttle.enter("ada", HERE) > 0
    clock.advance(FORGOTTEN_S + 1)
    fail(throttle, "ada", HERE)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("unix:", "", True),
    ],
)
def test_an_ipv6_network_counts_as_one_address(one, other, same):
    """A customer has 2**64 addresses of the kind; an address of IPv4 stands for itself."""
    assert (network_of(one) == network_of(other)) == same


def sizes(throttle):
    pairs = sum(len(each.pairs) for each in throttle._addresses.values())
    return len(throttle._addresses), len(throttle._users), pairs, len(throttle._known)


def test_memory_is_bounded(throttle, monkeypatch):
    """However many names and addresses are tried, and however long they are."""
    monkeypatch.setattr(module, "ADDRESSES", 20)
    monkeypatch.setattr(module, "USERS", 30)
    monkeypatch.setattr(module, "PAIRS", 5)
    monkeypatch.setattr(module, "KNOWN", 10)
    for n in range(3000):
        user, address = f"u{n * 7 % 400}" + "x" * 4000, f"10.0.0.{n % 250}"
        throttle.enter(user, address)
        throttle.enter(f"v{n * 11 % 400}", address)
        throttle.succeeded(f"w{n}", address)
    addresses, users, pairs, known = sizes(throttle)
    assert addresses <= 20
    assert users <= 30
    assert pairs <= 100
    assert known <= 10
    assert max(len(user) for each in throttle._addresses.values() for user in each.pairs) == 64


steps = st.lists(
    st.tuples(
        st.sampled_from(["ada", "vera", "nobody"]),
        st.sampled_from([HERE, THERE, "2001:db8::1", "2001:db8::2"]),
        st.sampled_from([0.0, 0.3, 1.0, 5.0, 70.0, FORGOTTEN_S + 1]),
        st.booleans(),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(steps=steps)
def test_every_wait_is_short_and_holds(steps):
    """In any order of guesses: at most a minute, and whoever has waited as told may try."""
    clock = Clock()
    throttle = Throttle(clock)
    due: dict[tuple[str, str], float] = {}
    now_s = 0.0
    for user, address, pause_s, right in steps:
        clock.advance(pause_s)
        now_s += pause_s
        pair = (user, network_of(address))
        wait_s = throttle.enter(user, address)
        assert 0 <= wait_s <= LONGEST_S
        if pair in due and now_s >= due[pair]:
            assert wait_s == 0
        if wait_s:
            due.setdefault(pair, now_s + wait_s + 1e-6)
            continue
        due.pop(pair, None)
        if right:
            throttle.succeeded(user, address)
        elif later_s := throttle.wait_s(user, address):
            due[pair] = now_s + later_s + 1e-6


@settings(max_examples=100, deadline=None)
@given(
    addresses=st.lists(st.sampled_from([HERE, THERE, "10.0.0.3"]), max_size=400),
    pause_s=st.sampled_from([0.0, 0.01, 0.1, 0.5]),
)
def test_guesses_in_a_span_are_few(addresses, pause_s):
    """Each address gets its free tries, and then no more than one for each step of the wait."""
    clock = Clock()
    throttle = Throttle(clock)
    tried = 0
    for address in addresses:
        clock.advance(pause_s)
        tried += throttle.enter("ada", address) == 0
    span_s = pause_s * len(addresses)
    steps = next(n for n in range(20) if 2**n - 1 >= span_s)
    assert tried <= FREE + 3 * (steps + 1)
