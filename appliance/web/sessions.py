"""Who is signed in. Server side: the cookie holds a random token and nothing else."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from appliance.settings import Role

TOKEN_BYTES = 32
CAPACITY = 500  # sessions; the one unused longest goes first


@dataclass(slots=True)
class Session:
    """One signed-in browser.

    Attributes:
        user: the person's name.
        role: what they may do.
        started_ns: monotonic, at sign-in.
        used_ns: monotonic, at the last request.
    """

    user: str
    role: Role
    started_ns: int
    used_ns: int


class Sessions:
    """All sessions of this process; used from the event loop only.

    Args:
        idle_s: a session ends after this long without use.
        longest_s: and after this long in any case.
        clock_ns: monotonic.
    """

    def __init__(self, *, idle_s: float, longest_s: float, clock_ns: Callable[[], int]) -> None:
        self._idle_ns = int(idle_s * 1e9)
        self._longest_ns = int(longest_s * 1e9)
        self._clock_ns = clock_ns
        self._sessions: dict[str, Session] = {}

    def open(self, user: str, role: Role) -> str:
        """A new session's token, for the cookie."""
        self._sweep()
        if len(self._sessions) >= CAPACITY:
            oldest = min(self._sessions, key=lambda key: self._sessions[key].used_ns)
            del self._sessions[oldest]
        now = self._clock_ns()
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._sessions[_key(token)] = Session(user, role, now, now)
        return token

    def find(self, token: str) -> Session | None:
        """The session of `token` if it still runs; asking is not using."""
        session = self._sessions.get(_key(token))
        if session is None or self.ends_in_s(session) <= 0:
            return None
        return session

    def use(self, session: Session) -> None:
        """The person did something: the idle time starts anew, unless it is over already."""
        if self.ends_in_s(session) > 0:
            session.used_ns = self._clock_ns()

    def ends_in_s(self, session: Session) -> float:
        """Seconds until the session ends unless it is used."""
        end = min(session.used_ns + self._idle_ns, session.started_ns + self._longest_ns)
        return (end - self._clock_ns()) / 1e9

    def end_of(self, session: Session) -> dict[str, int | str]:
        """The same for the page: seconds, and whether using it would help ("idle") or not."""
        idle_end = session.used_ns + self._idle_ns
        by = "idle" if idle_end < session.started_ns + self._longest_ns else "limit"
        return {"ends_in_s": round(self.ends_in_s(session)), "by": by}

    def close(self, token: str) -> None:
        """Sign out; idempotent."""
        self._sessions.pop(_key(token), None)

    def _sweep(self) -> None:
        over = [key for key, session in self._sessions.items() if self.ends_in_s(session) <= 0]
        for key in over:
            del self._sessions[key]


def _key(token: str) -> str:
    """Tokens are not kept: a copy of the memory's keys opens nothing."""
    return hashlib.sha256(token.encode()).hexdigest()
