"""Guessing passwords is slow: each wrong one makes the next wait longer.

Failures are counted for each network address and for each user, before the password is checked,
so guesses that come all at once are counted as well. Whoever must wait is told for how long, and
what others try at other users does not make it longer.

An address that has signed in as somebody is known for that user. What others guess at the user does
not count there: nobody is ever kept out of where they signed in before. All other addresses
together have so many guesses at a user, and no more, however many they are.
"""

import hashlib
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

FREE = 5  # people mistype
LONGEST_S = 60.0
FORGOTTEN_S = 15 * 60.0  # without another failure
NAME_LETTERS = 64  # no user's name is longer

BURST = 20  # guesses at a user from addresses that are not known, more than one address can make;
PERIOD_S = 60.0  # then one in so many seconds
# And at all users together from networks of IPv6: that of a customer, and that of a site.
WIDE = {56: (BURST, PERIOD_S), 48: (4 * BURST, PERIOD_S / 4)}

ADDRESSES = 4096  # those not heard of for longest go first, here and below
USERS = 16384  # counts, one of which names share by chance: none can be driven out by many names
PAIRS = 32  # users that one address is remembered to have tried
KNOWN = 64  # addresses of a user that have signed in

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
class _Ceiling:
    """Guesses that are left: a burst, which comes back at a steady rate."""

    burst: int
    period_s: float
    left: float
    at_s: float

    def wait_s(self, now_s: float) -> float:
        """Until there is one."""
        self.left = min(self.burst, self.left + (now_s - self.at_s) / self.period_s)
        self.at_s = now_s
        return max(0.0, round((1 - self.left) * self.period_s, 3))


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
        signed_in: user and address of who signed in before, the newest last.
    """

    def __init__(
        self, clock_ns: Callable[[], int], signed_in: Iterable[tuple[str, str]] = ()
    ) -> None:
        self._clock_ns = clock_ns
        self._key = secrets.token_bytes(16)
        self._addresses: OrderedDict[str, _Address] = OrderedDict()
        self._users: OrderedDict[int, _Failures] = OrderedDict()
        self._user_ceilings: OrderedDict[int, _Ceiling] = OrderedDict()
        self._wide_ceilings: OrderedDict[str, _Ceiling] = OrderedDict()
        self._known: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()
        for user, address in signed_in:
            self._note_known(user[:NAME_LETTERS], network_of(address))

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
        ceilings = self._ceilings_of(user, address, now_s)
        wait_s = max([pair.turn_s - now_s, *(ceiling.wait_s(now_s) for ceiling in ceilings)])
        if wait_s > 0:
            return wait_s
        for ceiling in ceilings:
            ceiling.left -= 1
        at.pairs.move_to_end(user)
        pair.failures.add(now_s)
        at.failures.add(now_s)
        _kept(self._users, self._slot(user), _Failures, USERS).add(now_s)
        pair.turn_s = now_s + self._delay_s(at, user, network, now_s)
        return 0.0

    def wait_s(self, user: str, address: str) -> float:
        """Seconds until this user may be tried again from this address."""
        user, now_s = user[:NAME_LETTERS], self._clock_ns() / 1e9
        at = self._addresses.get(network_of(address))
        pair = at.pairs.get(user) if at is not None else None
        turn_s = pair.turn_s if pair is not None else now_s
        ceilings = self._ceilings_of(user, address, now_s)
        return max([0.0, turn_s - now_s, *(ceiling.wait_s(now_s) for ceiling in ceilings)])

    def knows(self, user: str, address: str) -> bool:
        """Whether this user has signed in from there."""
        return self._is_known(user[:NAME_LETTERS], network_of(address))

    def succeeded(self, user: str, address: str) -> None:
        """The password was right: this address's failures at this user count no more.

        Those at other users do: an account of one's own is no way around the wait.
        """
        user, network = user[:NAME_LETTERS], network_of(address)
        now_s = self._clock_ns() / 1e9
        at = self._addresses.get(network)
        pair = at.pairs.pop(user, None) if at is not None else None
        if at is not None and pair is not None:
            own = pair.failures.recent(now_s)
            at.failures.take_back(own)
            if self._slot(user) in self._users:
                self._users[self._slot(user)].take_back(own)
            for ceiling in self._ceilings_of(user, address, now_s):
                ceiling.left += own
        self._note_known(user, network)

    def _delay_s(self, at: _Address, user: str, network: str, now_s: float) -> float:
        count = at.failures.recent(now_s)
        if not self._is_known(user, network) and self._slot(user) in self._users:
            count = max(count, self._users[self._slot(user)].recent(now_s))
        return 0.0 if count < FREE else min(LONGEST_S, 2.0 ** min(count - FREE, 30))

    def _ceilings_of(self, user: str, address: str, now_s: float) -> list[_Ceiling]:
        """Those under which a guess falls: none from an address that is known for the user."""
        if self._is_known(user, network_of(address)):
            return []
        full = partial(_Ceiling, BURST, PERIOD_S, BURST, now_s)
        found = [_kept(self._user_ceilings, self._slot(user), full, USERS)]
        for network, burst, period_s in _wide_networks(address):
            full = partial(_Ceiling, burst, period_s, burst, now_s)
            found.append(_kept(self._wide_ceilings, network, full, ADDRESSES))
        return found

    def _is_known(self, user: str, network: str) -> bool:
        return network in self._known.get(user, ())

    def _note_known(self, user: str, network: str) -> None:
        networks = _kept(self._known, user, OrderedDict[str, None], USERS)
        _kept(networks, network, lambda: None, KNOWN)

    def _slot(self, user: str) -> int:
        """Where a user is counted; which names share a count is a secret of this process."""
        name = user.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(name, key=self._key, digest_size=8).digest()) % USERS


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


def _wide_networks(address: str) -> list[tuple[str, int, float]]:
    """The larger networks of IPv6 that hold an address, each with its burst and period."""
    network = network_of(address)
    if ":" not in network:
        return []
    own = ipaddress.ip_network(network)
    return [(str(own.supernet(new_prefix=bits)), *rate) for bits, rate in WIDE.items()]


def _kept(table: OrderedDict[K, V], key: K, make: Callable[[], V], capacity: int) -> V:
    """The entry of `key`, made where there is none, as the one that was asked for last."""
    if key not in table:
        table[key] = make()
        if len(table) > capacity:
            table.popitem(last=False)
    table.move_to_end(key)
    return table[key]
