"""Guessing passwords is slow: each wrong one makes the next wait longer, and nobody is locked out.

Failures are counted for each network address and for each user, before the password is checked,
so guesses that come all at once are counted as well. Whoever must wait is told for how long, and
has a turn when that time is over, whatever others have tried meanwhile: guessing at somebody
never keeps that person out. From an address that has signed in as somebody, what others guess at
that user does not count.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar

FREE = 5  # people mistype
LONGEST_S = 60.0
FORGOTTEN_S = 15 * 60.0  # without another failure
NAME_LETTERS = 64  # no user's name is longer

ADDRESSES = 4096  # those not heard of for longest go first, here and below
USERS = 4096
PAIRS = 32  # users that one address is remembered to have tried
KNOWN = 1024  # pairs of address and user that have signed in

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class _Failures:
    """Failures of one address, or at one user."""

    count: int = 0
    last_s: float = 0.0

    def add(self, now_s: float) -> None:
        self.count = self.recent(now_s) + 1
        self.last_s = now_s

    def recent(self, now_s: float) -> int:
        return 0 if now_s - self.last_s > FORGOTTEN_S else self.count

    def take_back(self, count: int) -> None:
        self.count = max(0, self.count - count)


@dataclass(slots=True)
class _Pair:
    """One user tried from one address: when it may be tried again, and how often it failed."""

    turn_s: float
    failures: _Failures = field(default_factory=_Failures)


@dataclass(slots=True)
class _Address:
    failures: _Failures = field(default_factory=_Failures)
    pairs: OrderedDict[str, _Pair] = field(default_factory=OrderedDict)


class Throttle:
    """Decides when a password may be tried; used from the event loop only, bounded in memory.

    Args:
        clock_ns: monotonic.
    """

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._addresses: OrderedDict[str, _Address] = OrderedDict()
        self._users: OrderedDict[str, _Failures] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def enter(self, user: str, address: str) -> float:
        """Ask to try a password: 0 counts it as failed already, until `succeeded` says otherwise.

        Returns:
            Seconds to wait first; then there is a turn.
        """
        user, network = user[:NAME_LETTERS], network_of(address)
        now_s = self._clock_ns() / 1e9
        at = _kept(self._addresses, network, _Address, ADDRESSES)
        pair = at.pairs.get(user)
        if pair is None:
            pair = _kept(at.pairs, user, lambda: _Pair(now_s), PAIRS)
            pair.turn_s = now_s + self._delay_s(at, user, network, now_s)
        if now_s < pair.turn_s:
            return pair.turn_s - now_s
        at.pairs.move_to_end(user)
        pair.failures.add(now_s)
        at.failures.add(now_s)
        _kept(self._users, user, _Failures, USERS).add(now_s)
        pair.turn_s = now_s + self._delay_s(at, user, network, now_s)
        return 0.0

    def wait_s(self, user: str, address: str) -> float:
        """Seconds until this user may be tried again from this address."""
        at = self._addresses.get(network_of(address))
        pair = at.pairs.get(user[:NAME_LETTERS]) if at is not None else None
        return max(0.0, pair.turn_s - self._clock_ns() / 1e9) if pair is not None else 0.0

    def succeeded(self, user: str, address: str) -> None:
        """The password was right: this address's failures at this user count no more.

        Those at other users do: an account of one's own is no way around the wait.
        """
        user, network = user[:NAME_LETTERS], network_of(address)
        _kept(self._known, (network, user), lambda: None, KNOWN)
        at = self._addresses.get(network)
        pair = at.pairs.pop(user, None) if at is not None else None
        if at is not None and pair is not None:
            own = pair.failures.recent(self._clock_ns() / 1e9)
            at.failures.take_back(own)
            if user in self._users:
                self._users[user].take_back(own)

    def _delay_s(self, at: _Address, user: str, network: str, now_s: float) -> float:
        count = at.failures.recent(now_s)
        if (network, user) not in self._known and user in self._users:
            count = max(count, self._users[user].recent(now_s))
        return 0.0 if count < FREE else min(LONGEST_S, 2.0 ** min(count - FREE, 30))


def network_of(address: str) -> str:
    """What counts as one address: an IPv6 network of 64 bits, which is one customer's."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def _kept(table: OrderedDict[K, V], key: K, make: Callable[[], V], capacity: int) -> V:
    """The entry of `key`, made where there is none, as the one that was asked for last."""
    if key not in table:
        table[key] = make()
        if len(table) > capacity:
            table.popitem(last=False)
    table.move_to_end(key)
    return table[key]
