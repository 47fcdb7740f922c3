"""What outlives the process, opened for a run: the database, the audit log, and sessions."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from loguru import logger

from appliance.app.clock import wall_s
from appliance.errors import StoreError
from appliance.redaction import Redactor
from appliance.settings import Settings, begin_temporary
from appliance.stores.audit import AuditLog
from appliance.stores.database import Database
from appliance.stores.sessions import SessionShelf
from appliance.web.access.sessions import Sessions

JOIN_S = 3.0
SIGN_INS = 2000  # that a start looks back on


@dataclass(frozen=True, slots=True)
class Stores:
    """What is kept.

    Attributes:
        database: beneath the others.
        audit: what people did.
        sessions: who is signed in.
    """

    database: Database
    audit: AuditLog
    sessions: Sessions


@contextmanager
def storing(settings: Settings) -> Iterator[Stores]:
    """Open the database, and begin anew what is temporary; at the end write what still waits."""
    begin_temporary(settings.paths)
    database = Database(settings.paths.state, wall_s=wall_s)
    audit = AuditLog(database, redactor=Redactor(settings.secrets()), wall_s=wall_s)
    sessions = Sessions(
        idle_s=settings.auth.idle_minutes * 60,
        longest_s=settings.auth.max_hours * 3600,
        clock_ns=time.monotonic_ns,
        wall_s=wall_s,
        shelf=SessionShelf(database),
        users=settings.auth.users,
    )
    database.start()
    try:
        sessions.restore()
    except StoreError as error:
        logger.warning("nobody stays signed in: {}", error.sentence())
    try:
        yield Stores(database, audit, sessions)
    finally:
        sessions.keep()
        database.stop()
        if not database.join(JOIN_S):
            logger.error("database: did not end in time")


def signed_in_before(audit: AuditLog) -> list[tuple[str, str]]:
    """User and address of the newest sign-ins of earlier runs, the newest last."""
    try:
        events = audit.newest(SIGN_INS, what="sign_in")
    except StoreError as error:
        logger.warning("no address is known as one that has signed in: {}", error.sentence())
        return []
    return [(event.user, event.address) for event in reversed(events)]
