"""Who is signed in. Server side: the cookie holds a random token and nothing else.

While the station runs, memory decides, and the monotonic clock. So that people stay signed in over
a restart, each session is written when it begins and, at most once a minute, while anything asks
for it. The next run adds the time since then, by the wall clock, to what the monotonic one had
counted: a clock that was set meanwhile ends a session early rather than late, and one that is
behind the last writing ends it at once.
"""

import hashlib
import math
import secrets
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from appliance.settings import Role, User
from appliance.stores.sessions import SessionRow

TOKEN_BYTES = 32
ID_BYTES = 8
CAPACITY = 500  # sessions; the one unused longest goes first
PER_PERSON = 20  # of them, so that nobody signs others out; that person's own goes first
KEEP_EVERY_S = 60.0
LONGEST_AGENT = 200  # characters


class Shelf(Protocol):
    """Where sessions outlive the process; the database's is `appliance.stores.sessions`."""

    def load(self) -> Sequence[SessionRow]:
        """All that were kept.

        Raises:
            StoreError: they cannot be had now.
        """

    def put(self, row: SessionRow) -> None:
        """Keep one as it is now; returns at once."""

    def drop(self, keys: Collection[str]) -> None:
        """Keep these no more; returns at once."""


@dataclass(slots=True, eq=False)
class Session:
    """One signed-in browser.

    Attributes:
        user: the person's name.
        role: what they may do.
        started_ns: monotonic, at sign-in.
        used_ns: monotonic, at the last request.
        id: what it is called on the page; opens nothing.
        address: from where they signed in.
        agent: what their browser calls itself.
        kept_ns: monotonic, when it was written last.
        ended: why it was ended before its time: "left", "revoked"; "" while it was not.
    """

    user: str
    role: Role
    started_ns: int
    used_ns: int
    id: str
    address: str
    agent: str
    kept_ns: int
    ended: str = ""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One session as the page shows it.

    Attributes:
        id: what it is called; opens nothing.
        user: the person's name.
        role: what they may do.
        address: from where they signed in.
        agent: what their browser calls itself.
        started_at_s: wall clock of the sign-in, seconds since 1970.
        used_at_s: wall clock of the last use.
    """

    id: str
    user: str
    role: Role
    address: str
    agent: str
    started_at_s: float
    used_at_s: float


class Sessions:
    """All sessions; may be asked from any thread.

    Args:
        idle_s: a session ends after this long without use.
        longest_s: and after this long in any case.
        clock_ns: monotonic.
        wall_s: wall clock, for the time between two runs.
        shelf: keeps them for the next run.
        users: as the settings name them. A session is taken up again only where its person, role
            and password are still the same; whom a proxy vouched for signs on by it anew.
    """

    def __init__(
        self,
        *,
        idle_s: float,
        longest_s: float,
        clock_ns: Callable[[], int],
        wall_s: Callable[[], float],
        shelf: Shelf,
        users: Sequence[User],
    ) -> None:
        self._idle_ns = int(idle_s * 1e9)
        self._longest_ns = int(longest_s * 1e9)
        self._clock_ns = clock_ns
        self._wall_s = wall_s
        self._shelf = shelf
        self._stamps = {(user.name, user.role): _stamp(user) for user in users}
        self._sessions: dict[str, Session] = {}
        self._lock = threading.RLock()

    def restore(self) -> None:
        """Take up the sessions of the run before that are not over yet.

        Raises:
            StoreError: they cannot be had now; nobody is signed in.
        """
        with self._lock:
            rows = self._shelf.load()
            revived = {row.key: self._revived(row) for row in rows}
            found = {key: session for key, session in revived.items() if session is not None}
            self._sessions.update(found)
            self._shelf.drop(revived.keys() - found.keys())
            self.keep()  # so that a clock that is set back from now on is noticed

    def keep(self) -> None:
        """Write all of them as they are now."""
        with self._lock:
            for key, session in self._sessions.items():
                self._write(key, session)

    def open(self, user: str, role: Role, *, address: str = "", agent: str = "") -> str:
        """A new session's token, for the cookie."""
        with self._lock:
            self._sweep()
            self._make_room(user)
            now = self._clock_ns()
            token = secrets.token_urlsafe(TOKEN_BYTES)
            session = Session(
                user=user,
                role=role,
                started_ns=now,
                used_ns=now,
                id=secrets.token_hex(ID_BYTES),
                address=address,
                agent=agent[:LONGEST_AGENT],
                kept_ns=now,
            )
            self._sessions[_key(token)] = session
            self._write(_key(token), session)
            return token

    def find(self, token: str) -> Session | None:
        """The session of `token` if it still runs; asking is not using."""
        key = _key(token)
        with self._lock:
            session = self._sessions.get(key)
            if session is None or self.ends_in_s(session) <= 0:
                return None
            if self._clock_ns() - session.kept_ns >= KEEP_EVERY_S * 1e9:
                self._write(key, session)
            return session

    def is_running(self, session: Session) -> bool:
        """Whether it is neither over nor ended."""
        with self._lock:
            return session in self._sessions.values() and self.ends_in_s(session) > 0

    def use(self, session: Session) -> None:
        """The person did something: the idle time starts anew, unless it is over already."""
        with self._lock:
            if self.ends_in_s(session) > 0:
                session.used_ns = self._clock_ns()

    def ends_in_s(self, session: Session) -> float:
        """Seconds until the session ends unless it is used."""
        end = min(session.used_ns + self._idle_ns, session.started_ns + self._longest_ns)
        return (end - self._clock_ns()) / 1e9

    def end_of(self, session: Session) -> dict[str, int | str]:
        """The same for the page: seconds, and whether using it would help ("idle") or not."""
        return {
            "ends_in_s": round(self.ends_in_s(session)),
            "by": self._limit_of(session),
            "idle_s": round(self._idle_ns / 1e9),
        }

    def why_over(self, session: Session) -> str:
        """Why a session is over: "idle", "limit", "left" (signed out), "revoked", or ""."""
        return session.ended or (self._limit_of(session) if self.ends_in_s(session) <= 0 else "")

    def _limit_of(self, session: Session) -> str:
        idle_end = session.used_ns + self._idle_ns
        return "idle" if idle_end < session.started_ns + self._longest_ns else "limit"

    def close(self, token: str) -> None:
        """Sign out; idempotent."""
        with self._lock:
            self._end([_key(token)], why="left")

    def list(self) -> tuple[SessionInfo, ...]:
        """Those that run, the newest first."""
        with self._lock:
            running = [one for one in self._sessions.values() if self.ends_in_s(one) > 0]
            now_s, now_ns = self._wall_s(), self._clock_ns()
            return tuple(
                SessionInfo(
                    id=one.id,
                    user=one.user,
                    role=one.role,
                    address=one.address,
                    agent=one.agent,
                    started_at_s=now_s - (now_ns - one.started_ns) / 1e9,
                    used_at_s=now_s - (now_ns - one.used_ns) / 1e9,
                )
                for one in sorted(running, key=lambda one: one.started_ns, reverse=True)
            )

    def revoke(self, session_id: str) -> None:
        """End a session by its id; idempotent."""
        self._end_where(lambda one: one.id == session_id, why="revoked")

    def revoke_user(self, user: str) -> None:
        """End every session of a person; idempotent."""
        self._end_where(lambda one: one.user == user, why="revoked")

    def _end_where(self, is_meant: Callable[[Session], bool], *, why: str = "") -> None:
        with self._lock:
            self._end([key for key, one in self._sessions.items() if is_meant(one)], why=why)

    def _make_room(self, user: str) -> None:
        """For one more of this person: at the cost of their own sessions before anybody else's."""
        own = [key for key, one in self._sessions.items() if one.user == user]
        if len(own) >= PER_PERSON:
            self._end([self._unused_longest(own)])
        elif len(self._sessions) >= CAPACITY:
            self._end([self._unused_longest(self._sessions)])

    def _unused_longest(self, keys: Iterable[str]) -> str:
        return min(keys, key=lambda key: self._sessions[key].used_ns)

    def _sweep(self) -> None:
        self._end_where(lambda one: self.ends_in_s(one) <= 0)

    def _end(self, keys: Collection[str], *, why: str = "") -> None:
        for key in keys:
            session = self._sessions.pop(key, None)
            if session is not None:
                session.ended = why
        self._shelf.drop(keys)

    def _write(self, key: str, session: Session) -> None:
        now_ns = session.kept_ns = self._clock_ns()
        row = SessionRow(
            key=key,
            id=session.id,
            user=session.user,
            role=session.role.value,
            address=session.address,
            agent=session.agent,
            stamp=self._stamps.get((session.user, session.role), ""),
            seen_at_s=self._wall_s(),
            age_s=(now_ns - session.started_ns) / 1e9,
            idle_s=(now_ns - session.used_ns) / 1e9,
        )
        self._shelf.put(row)

    def _revived(self, row: SessionRow) -> Session | None:
        """A session of the run before, or nothing where it is over, or says what cannot be."""
        gone_s = self._wall_s() - row.seen_at_s
        times_s = (gone_s, row.age_s, row.idle_s)
        is_sound = all(math.isfinite(time_s) and time_s >= 0 for time_s in times_s)
        role = next((role for role in Role if role == row.role), None)
        if not is_sound or role is None or row.stamp != self._stamps.get((row.user, role)):
            return None
        now_ns = self._clock_ns()
        session = Session(
            user=row.user,
            role=role,
            started_ns=now_ns - int((row.age_s + gone_s) * 1e9),
            used_ns=now_ns - int((row.idle_s + gone_s) * 1e9),
            id=row.id,
            address=row.address,
            agent=row.agent,
            kept_ns=now_ns,
        )
        return session if self.ends_in_s(session) > 0 else None


def _stamp(user: User) -> str:
    """What changes with a person's password, and does not tell it."""
    return hashlib.sha256(user.hash.get_secret_value().encode()).hexdigest()


def _key(token: str) -> str:
    """Tokens are not kept: a copy of the memory's keys opens nothing."""
    return hashlib.sha256(token.encode()).hexdigest()
