"""Sessions as they are kept for the next run: the token's hash, never the token."""

from collections.abc import Collection
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from appliance.stores.database import Database
from appliance.stores.schema import sessions


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session at the moment when it was written.

    Attributes:
        key: SHA-256 of the token, hex.
        id: what it is called on the page; opens nothing.
        user: the person's name.
        role: what they may do.
        address: from where they signed in.
        agent: what their browser calls itself.
        stamp: changes with the person's role and password.
        seen_at_s: wall clock of the writing, seconds since 1970.
        age_s: since the sign-in, by the monotonic clock.
        idle_s: since the last use, the same.
    """

    key: str
    id: str
    user: str
    role: str
    address: str
    agent: str
    stamp: str
    seen_at_s: float
    age_s: float
    idle_s: float


class SessionShelf:
    """Sessions in the database; writes return at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> list[SessionRow]:
        """All that were kept.

        Raises:
            StoreError: the database cannot be had now.
        """
        rows = self._database.read(lambda connection: connection.execute(select(sessions)).all())
        return [SessionRow(**row._asdict()) for row in rows]

    def put(self, row: SessionRow) -> None:
        """Keep a session as it is now."""
        values = asdict(row)

        def write(connection: Connection) -> None:
            added = insert(sessions).values(values)
            connection.execute(added.on_conflict_do_update(index_elements=["key"], set_=values))

        self._database.submit(write)

    def drop(self, keys: Collection[str]) -> None:
        """Keep these no more."""
        gone = tuple(keys)
        if gone:
            self._database.submit(
                lambda connection: connection.execute(
                    delete(sessions).where(sessions.c.key.in_(gone))
                )
            )
