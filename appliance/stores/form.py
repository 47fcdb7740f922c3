"""The database's name, and the number that says in which form a file of ours is.

Knows no more than the standard library: whoever asks does so before anything heavy is imported.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from appliance.errors import StoreError

NAME: Final = "appliance.db"
APPLICATION_ID: Final = 0x56417070  # in the file's head: it is ours
FORM: Final = 1  # in the file's head as well; the number of the last migration

# What SQLite's driver raises; the second where its message quotes a damaged file.
FAILURES: Final = (sqlite3.Error, UnicodeDecodeError)


class UnfitError(StoreError):
    """The file is damaged, or none of ours."""


def form_in(raw: sqlite3.Connection) -> int:
    """The form of an open file of ours; 0 for a new one.

    It stands in the head and among the migrations: a flipped bit makes no newer release.

    Raises:
        UnfitError: it is none of ours, or it contradicts itself.
        sqlite3.Error, UnicodeDecodeError: it cannot be read.
    """
    (owner,) = raw.execute("PRAGMA application_id").fetchone()
    (form,) = raw.execute("PRAGMA user_version").fetchone()
    (parts,) = raw.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (views,) = raw.execute("SELECT count(*) FROM sqlite_master WHERE type = 'view'").fetchone()
    if not parts and owner in {0, APPLICATION_ID}:
        return 0
    if owner != APPLICATION_ID:
        raise UnfitError("is of another program")
    if views:  # no form of ours has one, and asking one may take for ever
        raise UnfitError("is damaged")
    if raw.execute("SELECT version_num FROM alembic_version").fetchall() != [(f"{form:04d}",)]:
        raise UnfitError("is damaged")
    return int(form)


def form_of(folder: Path) -> int:
    """The form of a state folder's database; 0 where there is none that can be read."""
    uri = f"{(folder / NAME).absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as raw:
            return form_in(raw)
    except (*FAILURES, UnfitError):
        return 0  # judged, and told, when the station opens it
