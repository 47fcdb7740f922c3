"""The station's one database: read from any thread, written by one.

A write is a function of a connection. Writes go through a bounded queue; those that wait are
committed together, with one sync of the disk. While the disk is full, or the folder is read-only or
held by another program, they wait, and the station goes on; the file is tried again every few
seconds. What no longer fits into the queue is dropped: the newest, so that what came first is
known, and it is counted.
"""

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from loguru import logger
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from typing_extensions import override

from appliance.errors import StoreError
from appliance.readings import StoreReading
from appliance.stores.file import HINT, code_of, open_file, told
from appliance.stores.form import FAILURES
from appliance.threads import Full, Mailbox, Worker

CAPACITY: Final = 10_000  # writes that wait
TOGETHER: Final = 500  # writes of one transaction
RETRY_S: Final = 3.0

Write: TypeAlias = Callable[[Connection], object]
Value = TypeVar("Value")

# SQLite's result codes for which the write itself is to blame, and no file or disk.
_OWN_FAULT = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_MISUSE,
}


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    write: Write
    done: Future[None] = field(default_factory=Future)


class _WrongWriteError(Exception):
    """One write of a batch is wrong in itself."""

    def __init__(self, job: _Job) -> None:
        super().__init__()
        self.job = job


class Database(Worker):
    """One file, and the thread that writes it.

    Args:
        folder: the state folder; this process alone uses it.
        wall_s: wall clock, for names.
    """

    def __init__(self, folder: Path, *, wall_s: Callable[[], float]) -> None:
        super().__init__("database")
        self._folder = folder
        self._wall_s = wall_s
        self._engine: Engine | None = None
        self._waiting: Mailbox[_Job] = Mailbox(CAPACITY, Full.NEWEST, on_drop=_lose)
        self._changed = self._waiting.changed
        self._trouble = ""
        self._set_aside = ""
        self._committed = self._failed = self._lost = 0

    @override
    def start(self) -> None:
        """Open the file, or say why not, and begin to write; once."""
        self._is_open()
        super().start()

    @override
    def stop(self) -> None:
        """Write what waits, if that can be done now, and end; idempotent."""
        self._waiting.close()  # first: whoever writes to the end must find no more
        super().stop()

    def submit(self, write: Write) -> "Future[None]":
        """Queue one write; from any thread, never waits.

        It is done once, or twice where the disk fails just while it is made sure of.

        Returns:
            Done when it is committed and synced. Its exception is a StoreError where the write
            was dropped, or whatever `write` raised: then nothing of it was done.
        """
        job = _Job(write)
        job.done.set_running_or_notify_cancel()  # what is queued is not taken back
        self._waiting.put(job)
        return job.done

    def read(self, query: Callable[[Connection], Value]) -> Value:
        """What `query` makes of what is committed; in the caller's thread.

        Raises:
            StoreError: the database cannot be had now.
        """
        engine = self._engine
        if engine is None:
            raise StoreError(f"the database cannot be had now: {self._trouble}", hint=HINT)
        try:
            with engine.begin() as connection:
                return query(connection)
        except (*FAILURES, DBAPIError) as error:
            raise told(error, self._folder) from error

    def reading(self) -> StoreReading:
        """How it is now."""
        with self._changed:
            waiting = len(self._waiting)
            stuck = (
                f"The database cannot be written, and {waiting} entries wait: {self._trouble}"
                if self._trouble
                else ""
            )
            return StoreReading(
                troubles=tuple(filter(None, (stuck, self._set_aside))),
                waiting=waiting,
                committed=self._committed,
                failed=self._failed,
                dropped=self._waiting.dropped + self._lost,
            )

    @override
    def _run(self) -> None:
        while (batch := self._next()) is not None:
            try:
                is_done = self._is_open() and self._is_written(batch)
            except Exception:  # noqa: BLE001 - top of the thread: told, not swallowed
                logger.exception("database: unexpected error")
                is_done = False
            if not is_done:
                if self._stop.is_set():
                    break
                self._stop.wait(RETRY_S)  # then once more, at the end too
        self._end()

    def _next(self) -> list[_Job] | None:
        """What is written next, and stays queued until it is; nothing, to have the file opened."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting or self._waiting.is_closed or self._engine is None
            )
            if self._waiting.is_closed and not self._waiting:
                return None
            return self._waiting.first(TOGETHER)

    def _is_open(self) -> bool:
        if self._engine is not None:
            return True
        try:
            engine, happened = open_file(self._folder, self._wall_s())
        except StoreError as error:
            self._shut(error)
            return False
        with self._changed:
            self._engine = engine
            self._set_aside = happened or self._set_aside
        if happened:
            logger.error("database: {}", happened)
        return True

    def _is_written(self, batch: list[_Job]) -> bool:
        """Commit a batch as a whole, without those that are wrong in themselves."""
        assert self._engine is not None  # noqa: S101 - _is_open says so
        try:
            with self._engine.begin() as connection:
                for job in batch:
                    _do(job, connection)
        except _WrongWriteError as error:
            self._give_up(error.job)
            return True  # the others come again at once
        except (*FAILURES, DBAPIError) as error:
            self._shut(told(error, self._folder))
            return False
        with self._changed:
            for job in batch:
                self._waiting.remove(job)
            self._committed += len(batch)
            was_stuck, self._trouble = bool(self._trouble), ""
        for job in batch:
            job.done.set_result(None)
        if was_stuck:
            logger.info("database: is written again")
        return True

    def _give_up(self, job: _Job) -> None:
        with self._changed:
            self._waiting.remove(job)
            self._failed += 1
        logger.opt(exception=job.done.exception()).error("database: one entry cannot be written")

    def _shut(self, error: StoreError) -> None:
        """Leave the file alone until it is opened, and judged, anew."""
        trouble = error.sentence().removesuffix(".")
        with self._changed:
            engine, self._engine = self._engine, None
            is_new, self._trouble = trouble != self._trouble, trouble
        if engine is not None:
            engine.dispose()
        if is_new:
            logger.error("database: cannot be written: {}", trouble)

    def _end(self) -> None:
        with self._changed:
            lost, engine = self._waiting.clear(), self._engine
            self._lost += len(lost)
            self._engine = None
        for job in lost:
            _lose(job)
        if lost:
            logger.error("database: {} entries are lost", len(lost))
        if engine is not None:
            engine.dispose()


def _do(job: _Job, connection: Connection) -> None:
    try:
        job.write(connection)
    except Exception as error:
        if isinstance(error, DBAPIError) and code_of(error) not in _OWN_FAULT:
            raise
        job.done.set_exception(error)
        raise _WrongWriteError(job) from error


def _lose(job: _Job) -> None:
    job.done.set_exception(StoreError("the database takes no more entries", hint=HINT))
