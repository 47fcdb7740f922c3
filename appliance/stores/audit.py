"""The audit log: what people did, appended and never changed.

The database itself refuses to change an event, or to remove one that is to be kept: the newest
100,000, as long as they are younger than 400 days before the newest of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from loguru import logger
from sqlalchemy import Connection, and_, delete, func, insert, or_, select
from typing_extensions import override

from appliance.redaction import Redactor
from appliance.stores import Audit
from appliance.stores.database import Database
from appliance.stores.schema import audit

KEPT: Final = 100_000
KEPT_S: Final = 400 * 86400.0
TIDY_EVERY: Final = 100  # events
LONGEST: Final = 300  # characters of each text; whatever somebody types


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One event.

    Attributes:
        id: grows by one with each event.
        at_s: wall clock, seconds since 1970.
        what: as "sign_in".
        user: who did it; empty where nobody is known.
        address: from where.
        detail: what else is to be known.
    """

    id: int
    at_s: float
    what: str
    user: str
    address: str
    detail: str


class AuditLog(Audit):
    """Events in the database, and a line in the log for each.

    Args:
        database: may be away for a while; what it does not take is in the log.
        redactor: takes secrets out.
        wall_s: wall clock.
    """

    def __init__(
        self, database: Database, *, redactor: Redactor, wall_s: Callable[[], float]
    ) -> None:
        self._database = database
        self._redactor = redactor
        self._wall_s = wall_s

    @override
    def note(self, what: str, *, user: str = "", address: str = "", detail: str = "") -> None:
        at_s = self._wall_s()
        texts = {"what": what, "user": user, "address": address, "detail": detail}
        told = {name: self._redactor.redact(text)[:LONGEST] for name, text in texts.items()}
        context = {name: text for name, text in told.items() if text and name != "what"}
        logger.bind(**context).info("audit: {}", told["what"])

        def write(connection: Connection) -> None:
            added = connection.execute(insert(audit).values(at_s=at_s, **told))
            (newest,) = added.inserted_primary_key or (0,)
            if newest % TIDY_EVERY == 0:
                _tidy(connection, newest)

        self._database.submit(write)

    def newest(
        self, count: int, *, what: str = "", user: str = "", before: int | None = None
    ) -> list[AuditEvent]:
        """The newest events, the newest first.

        Args:
            count: at most so many.
            what: only these; empty takes all.
            user: only of this person; empty takes all.
            before: only events with a smaller id, for the next page.

        Raises:
            StoreError: the database cannot be had now.
        """
        query = select(audit).order_by(audit.c.id.desc()).limit(count)
        if what:
            query = query.where(audit.c.what == what)
        if user:
            query = query.where(audit.c.user == user)
        if before is not None:
            query = query.where(audit.c.id < before)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [AuditEvent(**row._asdict()) for row in rows]


def _tidy(connection: Connection, newest: int) -> None:
    """Remove what need not be kept; a trigger holds the rule itself.

    By age a tenth at a time: a clock that jumped years ahead does not take all that is known.
    """
    at_s = select(audit.c.at_s).where(audit.c.id == newest).scalar_subquery()
    oldest = connection.execute(select(func.min(audit.c.id))).scalar_one()
    is_old = and_(audit.c.at_s <= at_s - KEPT_S, audit.c.id <= oldest + (newest - oldest) // 10)
    connection.execute(delete(audit).where(or_(audit.c.id <= newest - KEPT, is_old)))
