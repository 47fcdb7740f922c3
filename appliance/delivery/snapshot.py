"""The state as a release last had it, for going back to that release.

A newer release may bring the database to a form that an older one refuses. What stands in for it
then is this copy; without a new form the state goes on as it is. Everything here lies in the state
folder and is done as its owner: root never follows what somebody else may have put there.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, TypeAlias

from appliance.catalog.files import put_in_place, read_plain
from appliance.delivery.swap import SNAPSHOTS, undo_alone
from appliance.errors import ApplianceError, DeliveryError
from appliance.stores.file import told
from appliance.stores.form import FAILURES, NAME, form_of

MARK: Final = "form"  # of the state folder, beside the database's own
MARK_BYTES: Final = 100
KEPT: Final = 3  # of the releases that may run here, and one more
COPY_HINT: Final = "Make room in the state folder, and let the station write there."

ANSWER_BYTES: Final = 4096
END_S: Final = 1.0  # from its answer to the end of a process
DONE, NOT_NEEDED = b"\0done", b"\0not needed"  # no message of an error begins like this

Work: TypeAlias = Callable[[Path, str], bool | None]


class OwnersState:
    """The state of a station, kept and brought back by a process of its owner.

    Root hears from that process whether it is done, in a few bytes and within a time.

    Args:
        folder: the state folder.
        limit_s: for one of these; a database of another's may keep whoever copies it for ever.
    """

    def __init__(self, folder: Path, *, limit_s: float = 600.0) -> None:
        self._folder = folder
        self._limit_s = limit_s

    def keep(self, version: str) -> None:
        """As `keep_state`."""
        self._do(keep_state, version)

    def bring_back(self, version: str) -> bool:
        """As `bring_back`."""
        return self._do(bring_back, version)

    def _do(self, work: Work, version: str) -> bool:
        # A fork: a fresh process would load what `current` leads to, which may be the new release.
        context = get_context("fork")
        heard, says = context.Pipe(duplex=False)
        owner = context.Process(target=_as_owner, args=(self._folder, work, version, says))
        owner.start()
        says.close()
        try:
            answer = heard.recv_bytes(ANSWER_BYTES) if heard.poll(self._limit_s) else b""
        except (EOFError, OSError) as error:
            raise DeliveryError("the state cannot be reached", hint=COPY_HINT) from error
        finally:
            heard.close()
            owner.join(END_S)
            if owner.is_alive():
                owner.kill()
                owner.join()
        if answer in {DONE, NOT_NEEDED}:
            return answer == DONE
        problem = answer.decode(errors="replace") or "the state cannot be copied in time"
        raise DeliveryError(problem, hint=COPY_HINT)


def _as_owner(folder: Path, work: Work, version: str, says: Connection) -> None:
    try:
        become_owner(folder)
        answer = NOT_NEEDED if work(folder, version) is False else DONE
    except (ApplianceError, OSError) as error:
        answer = str(error).encode()[:ANSWER_BYTES]
    says.send_bytes(answer)


def become_owner(folder: Path) -> None:
    """Let root go on as a folder's owner, for good; nothing for anybody else."""
    if os.geteuid() != 0:
        return
    owner = folder.stat()
    os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)


def copy_database(source: Path, target: Path) -> None:
    """Copy a database as one moment had it, over another or anew, while others use it.

    Raises:
        DeliveryError: it is damaged, or the disk is in the way.
    """
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as origin,
            closing(sqlite3.connect(target)) as copy,
        ):
            origin.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
    except FAILURES as error:
        reason = told(error, target.parent)
        raise DeliveryError(f"{source.name}: {reason}", hint=COPY_HINT) from error


def keep_state(state: Path, version: str) -> None:
    """Keep what a release has of the forms that may change; the station must not run.

    Raises:
        DeliveryError: it cannot be copied.
        StoreError: a restore is under way.
    """
    undo_alone(state)
    place = state / SNAPSHOTS / version
    made = place.with_name(f".{version}.new")
    try:
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        for name in (NAME, MARK):
            if (state / name).is_file():
                _copy(state / name, made / name)
        shutil.rmtree(place, ignore_errors=True)
        put_in_place(made, place)
        known = sorted((state / SNAPSHOTS).iterdir(), key=lambda each: each.stat().st_mtime_ns)
        for old in known[:-KEPT]:
            shutil.rmtree(old)
    except OSError as error:
        raise DeliveryError(
            f"the state cannot be kept ({error.strerror})", hint=COPY_HINT
        ) from error


def bring_back(state: Path, version: str) -> bool:
    """Give a release the state that it had, if what is there now has a newer form.

    Returns:
        Whether that was needed.

    Raises:
        DeliveryError: it cannot be copied.
        StoreError: a restore is under way.
    """
    undo_alone(state)
    place = state / SNAPSHOTS / version
    if not place.is_dir() or not _is_newer(state, place):
        return False
    try:
        for name in (NAME, MARK):
            if (place / name).is_file():
                _copy(place / name, state / name)
            elif (state / name).is_file():  # that release had none, and shall not read this one
                (state / name).replace(place / f"{name}.newer")
    except OSError as error:
        raise DeliveryError(
            f"the state cannot be brought back ({error.strerror})", hint=COPY_HINT
        ) from error
    return True


def _is_newer(state: Path, than: Path) -> bool:
    return form_of(state) > form_of(than) or _mark_of(state) > _mark_of(than)


def _mark_of(folder: Path) -> int:
    try:
        text = read_plain(folder / MARK, limit_bytes=MARK_BYTES).decode(errors="replace").strip()
    except OSError:
        return 0
    return int(text) if text.isascii() and text.isdecimal() else 0


def _copy(source: Path, target: Path) -> None:
    if source.name == NAME:
        copy_database(source, target)
    else:
        made = target.with_name(f".{target.name}.new")
        made.write_bytes(read_plain(source, limit_bytes=MARK_BYTES))
        put_in_place(made, target)
