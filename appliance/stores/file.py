"""The database's file: judged, brought to this release's form, or set aside.

A file that is damaged, or is none of ours, is put aside with what SQLite keeps beside it, and a new
one is begun. What the disk or another program is to blame for changes nothing: it is tried again.
"""

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from loguru import logger
from sqlalchemy import URL, Connection, Engine, create_engine, event, select, text
from sqlalchemy.exc import DBAPIError

from appliance.errors import StoreError
from appliance.stores.form import APPLICATION_ID, FAILURES, FORM, NAME, UnfitError, form_in
from appliance.stores.schema import TRIGGERS, metadata

BUSY_S: Final = 1.0  # how long another program's lock is waited for
WAL_BYTES: Final = 4 * 1024 * 1024  # what the file beside is cut back to
KEPT_ASIDE: Final = 3  # damaged files
PROBED: Final = 1000  # rows of each table that are read when the file is opened
BESIDE: Final = ("-wal", "-shm")
HINT: Final = "Make room in the folder of APPLIANCE_PATHS__STATE, and let the station write there."

# SQLite's result codes that tell of the file itself. All others tell of the disk, or of a lock.
_DAMAGE = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_MISMATCH,
}
_TROUBLES = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the folder cannot be written",
    sqlite3.SQLITE_CANTOPEN: "the folder cannot be written",
    sqlite3.SQLITE_PERM: "the folder cannot be written",
    sqlite3.SQLITE_BUSY: "another program holds it",
    sqlite3.SQLITE_LOCKED: "another program holds it",
    sqlite3.SQLITE_IOERR: "the disk fails",
}


def open_file(folder: Path, now_s: float) -> tuple[Engine, str]:
    """The database of a state folder, ready for use.

    Args:
        folder: the state folder.
        now_s: wall clock; names what is set aside.

    Returns:
        The engine, and what happened to the file that was there; empty where nothing did.

    Raises:
        StoreError: not now; the file stays as it is.
    """
    path = folder / NAME
    try:
        return _opened(path), ""
    except UnfitError as error:
        aside = _set_aside(path, now_s)
        engine = _opened(path)
        return engine, f"The database {error}: it was set aside as {aside}, and a new one was begun"


def code_of(error: Exception) -> int:
    """SQLite's primary result code."""
    return _extended_code_of(error) & 0xFF


def told(error: Exception, folder: Path) -> StoreError:
    """What SQLite says, for a person: an UnfitError where the file is to blame."""
    code = code_of(error)
    # A file that may be written, and says that it may not, has a damaged head.
    is_forbidden = not os.access(folder / NAME, os.W_OK) or not os.access(folder, os.W_OK)
    is_only_said = _extended_code_of(error) == sqlite3.SQLITE_READONLY and not is_forbidden
    if code in _DAMAGE or is_only_said:
        return UnfitError("is damaged")
    raw = error.orig if isinstance(error, DBAPIError) else error
    return StoreError(_TROUBLES.get(code, str(raw)), hint=HINT)


def _extended_code_of(error: Exception) -> int:
    raw = error.orig if isinstance(error, DBAPIError) else error
    return int(getattr(raw, "sqlite_errorcode", sqlite3.SQLITE_ERROR))


def _opened(path: Path) -> Engine:
    engine = _engine(path)
    try:
        _judge(path)
        with engine.begin() as connection:
            _bring_up_to_date(connection)
    except (*FAILURES, DBAPIError) as error:
        engine.dispose()
        raise told(error, path.parent) from error
    except StoreError:
        engine.dispose()
        raise
    else:
        return engine


def _engine(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_S}
    )

    @event.listens_for(engine, "connect")
    def prepare(raw: sqlite3.Connection, _: object) -> None:
        raw.isolation_level = None  # else the driver begins, or does not, by its own rules
        raw.execute("PRAGMA foreign_keys = ON")
        raw.execute("PRAGMA synchronous = FULL")
        raw.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _judge(path: Path) -> None:
    """Refuse what is no sound database of ours, before anything is changed in it."""
    with closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as raw:
        form = form_in(raw)
        if form > FORM:
            raise StoreError(f"form {form} is of a newer release", hint="Run that one again.")
        found = raw.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise UnfitError("is damaged")
        raw.execute("PRAGMA journal_mode = WAL")


def _bring_up_to_date(connection: Connection) -> None:
    """All in one transaction; it writes in any case, so that what forbids it is known at once."""
    form = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if form < FORM:
        from appliance.stores.migrations import migrate  # noqa: PLC0415 - seldom needed

        migrate(connection)
        logger.info("database: brought from form {} to form {}", form, FORM)  # 0: it was empty
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version = {FORM}")
    for table in metadata.sorted_tables:
        connection.execute(select(table).limit(PROBED)).all()
    triggers = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
    if not set(triggers.scalars()) >= TRIGGERS:
        raise UnfitError("is damaged")


def _set_aside(path: Path, now_s: float) -> str:
    """Rename the file and what lies beside it; only the newest ones are kept.

    Raises:
        StoreError: the folder cannot be written.
    """
    at = datetime.fromtimestamp(now_s, UTC)
    aside = path.with_name(f"{path.name}.damaged-{at:%Y%m%dT%H%M%S%f}Z")
    try:
        for end in (*BESIDE, ""):  # the file itself last: until then it is judged again
            source = Path(f"{path}{end}")
            if source.exists():
                source.rename(f"{aside}{end}")
        known = sorted(path.parent.glob(f"{path.name}.damaged-*Z"))
        for old in known[:-KEPT_ASIDE]:
            for end in (*BESIDE, ""):
                Path(f"{old}{end}").unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"it is damaged and cannot be set aside ({error.strerror})", hint=HINT
        ) from error
    return aside.name
