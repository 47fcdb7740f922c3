"""When a password may be tried: guessing gets slow, and the person at whom it is aimed gets in."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.web.access import throttle as module
from appliance.web.access.throttle import (
    BURST,
    FORGOTTEN_S,
    FREE,
    LONGEST_S,
    PERIOD_S,
    Throttle,
    network_of,
)
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


def test_whoever_was_told_to_wait_has_a_turn_whatever_others_try_at_others(throttle, clock):
    """A crowd that guesses without pause cannot keep the right person out (no lock-out)."""
    crowd = [f"10.1.{n // 250}.{n % 250}" for n in range(300)]
    fail(throttle, "ada", HERE)
    told_s = throttle.enter("ada", HERE)
    assert 0 < told_s <= LONGEST_S
    left_s = told_s
    while left_s > 0:
        step_s = min(1.0, left_s)
        clock.advance(step_s)
        left_s -= step_s
        for address in crowd:
            throttle.enter("vera", address)
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


HOUR_S = 3600
MOST_IN_AN_HOUR = BURST + HOUR_S / PERIOD_S + 1


def guessed_in_an_hour(throttle, clock, addresses, user="ada"):
    """Guesses that a crowd gets through which tries whenever one of it might."""
    tried = 0
    for _ in range(HOUR_S // 30):
        tried += sum(throttle.enter(user, address) == 0 for address in addresses)
        clock.advance(30)
    return tried


@pytest.mark.parametrize("count", [1, 10, 200])
def test_however_many_addresses_guess_at_a_user_there_is_one_ceiling(throttle, clock, count):
    """An hour of guesses from one network or from hundreds comes to the same."""
    crowd = [f"10.{n >> 8 & 255}.{n & 255}.1" for n in range(count)]
    assert guessed_in_an_hour(throttle, clock, crowd) <= MOST_IN_AN_HOUR


def test_one_address_alone_never_meets_the_ceiling(throttle, clock):
    """So the wait that its page shows holds."""
    for _ in range(200):
        wait_s = throttle.wait_s("ada", HERE)
        clock.advance(wait_s)
        assert throttle.enter("ada", HERE) == 0
        assert wait_s in {0, 1, 2, 4, 8, 16, 32, 60}


@pytest.mark.parametrize(
    ("prefix", "burst", "hourly"),
    [("2001:db8:1:2{:02x}::1", BURST, 60), ("2001:db8:1:{:04x}::1", 4 * BURST, 240)],
)
def test_a_network_of_a_customer_and_of_a_site_has_a_ceiling(
    throttle, clock, prefix, burst, hourly
):
    """A /56 and a /48 of IPv6, whatever names they try."""
    tried = 0
    for step in range(30):
        for n in range(100):
            tried += throttle.enter(f"user{step * 100 + n}", prefix.format(n)) == 0
        clock.advance(120)
    assert tried <= burst + hourly


def test_many_names_do_not_make_a_ceiling_be_forgotten(throttle, monkeypatch):
    """Nor may they tell who exists: a user's count is kept whatever else is tried."""
    monkeypatch.setattr(module, "USERS", 50)
    for n in range(1000):
        throttle.enter("ada", f"10.0.{n >> 8}.{n & 255}")
    for n in range(1000):
        throttle.enter(f"user{n}", f"10.1.{n >> 8}.{n & 255}")
    assert throttle.enter("ada", "10.2.0.1") > 0


def test_nobody_is_kept_out_of_where_they_signed_in_before(clock):
    """While a thousand addresses guess without end, and after a restart as well."""
    throttle = Throttle(clock, [("ada", HERE), ("vera", THERE)])
    crowd = [f"10.0.{n >> 8}.{n & 255}" for n in range(1000)]
    for _ in range(30):
        for address in crowd:
            throttle.enter("ada", address)
        clock.advance(7)
        assert throttle.enter("ada", HERE) == 0
        throttle.succeeded("ada", HERE)
    assert throttle.enter("ada", THERE) > 0


def test_who_signs_in_from_everywhere_makes_nobody_else_unknown(clock, monkeypatch):
    """Each user has so many known addresses; the one unused longest goes."""
    monkeypatch.setattr(module, "KNOWN", 3)
    throttle = Throttle(clock, [("ada", HERE)])
    for n in range(50):
        throttle.enter("vic", f"10.0.0.{n}")
        throttle.succeeded("vic", f"10.0.0.{n}")
    for n in range(60):
        throttle.enter("ada", f"10.1.0.{n}")
        throttle.enter("vic", f"10.1.0.{n}")
    assert throttle.enter("ada", HERE) == 0
    assert throttle.enter("vic", "10.0.0.49") == 0
    assert throttle.enter("vic", "10.0.0.3") > 0


def test_signing_in_gives_back_what_it_took_of_the_ceiling(throttle):
    """A whole shift at as many desks meets no ceiling."""
    for n in range(3 * BURST):
        assert throttle.enter("shift", f"10.0.0.{n}") == 0
        throttle.succeeded("shift", f"10.0.0.{n}")


def sizes(throttle):
    pairs = sum(len(each.pairs) for each in throttle._addresses.values())
    users = max(len(throttle._users), len(throttle._user_ceilings), len(throttle._known))
    known = max(len(networks) for networks in throttle._known.values())
    addresses = max(len(throttle._addresses), len(throttle._wide_ceilings))
    return addresses, users, pairs, known


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
        throttle.enter("w", f"2001:db8:{n % 300:x}::1")
        throttle.succeeded(f"w{n}", address)
        throttle.succeeded("w", address)
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


@settings(max_examples=200)
@given(steps=steps)
def test_every_wait_is_short_and_holds(steps):
    """In any order of guesses: at most a minute, and whoever has waited as told may try.

    Where they have signed in before, that is; elsewhere, until the ceiling is reached.
    """
    clock = Clock()
    throttle = Throttle(clock, [("ada", HERE)])
    entered = Counter()
    due: dict[tuple[str, str], float] = {}
    now_s = 0.0
    for user, address, pause_s, right in steps:
        clock.advance(pause_s)
        now_s += pause_s
        pair = (user, network_of(address))
        wait_s = throttle.enter(user, address)
        assert 0 <= wait_s <= LONGEST_S
        has_room = pair == ("ada", HERE) or max(entered[user], entered["IPv6"]) < BURST
        if pair in due and now_s >= due[pair] and has_room:
            assert wait_s == 0
        if wait_s:
            due.setdefault(pair, now_s + wait_s + 1e-6)
            continue
        due.pop(pair, None)
        entered.update([user, "IPv6" if ":" in pair[1] else "IPv4"])
        if right:
            throttle.succeeded(user, address)
        elif later_s := throttle.wait_s(user, address):
            due[pair] = now_s + later_s + 1e-6


@settings(max_examples=100)
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
