"""The state of a station in one file, made while it runs, and brought back while none does.

manifest.json       what it is, and every other file with its hash
appliance.db        the database as one moment had it
form, models/...    everything else in the state folder
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Final

from appliance import __version__
from appliance.delivery.archive import ArchiveReader, check_name, write_archive
from appliance.delivery.manifest import (
    MANIFEST,
    MANIFEST_BYTES,
    BackupManifest,
    File,
    as_bytes,
    read_manifest,
    unpack,
)
from appliance.delivery.snapshot import MARK, copy_database
from appliance.delivery.swap import UNPACKED, stays, swap_in, undo, undo_alone
from appliance.errors import DeliveryError
from appliance.stores.form import NAME

MODELS: Final = "models"
STATE_HINT: Final = "Make room in the state folder, and let the station write there."


def back_up(state: Path, out: IO[bytes], *, work: Path, now_s: float) -> BackupManifest:
    """Write a backup; the station may run.

    Args:
        state: the state folder.
        out: where the archive goes.
        work: a folder for what is of no use afterwards.
        now_s: wall clock.

    Raises:
        DeliveryError: a file cannot be read, or has changed meanwhile; or there is no room.
        StoreError: a restore is under way.
    """
    undo_alone(state)
    try:
        with tempfile.TemporaryDirectory(prefix="backup-", dir=work) as copies:
            contents: dict[str, Path] = {}
            if (state / NAME).is_file():  # first: whatever a row of it names is there by now
                contents[NAME] = Path(copies) / NAME
                copy_database(state / NAME, contents[NAME])
            contents.update(sorted(_contents(state)))
            files = tuple(_described(contents))
            made_at = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds")
            manifest = BackupManifest(version=__version__, made_at=made_at, files=files)
            members = [(file.name, contents[file.name]) for file in files]
            write_archive(out, [(MANIFEST, as_bytes(manifest)), *members])
            _refuse_changed(files, contents)
    except OSError as error:
        raise DeliveryError(
            f"{error.filename or 'the backup'}: {error.strerror or error}", hint=STATE_HINT
        ) from error
    return manifest


def bring_in(
    archive: IO[bytes], state: Path, *, judge: Callable[[Path], None], now_s: float
) -> BackupManifest:
    """Put the state of a backup in the place of what is there, which is put aside.

    Nothing is touched before the backup is proven. Where it is cut off after that, what was there
    comes back, at the next start at the latest. No station may use the folder meanwhile.

    Args:
        archive: the backup.
        state: the state folder.
        judge: refuses a state folder that this release cannot read.
        now_s: wall clock; names what is put aside.

    Raises:
        ApplianceError: it is no backup, is damaged, or is of a newer release; or no room.
    """
    try:
        undo(state)  # what an earlier restore left
        for left in state.glob(f"{UNPACKED}*"):
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(
            prefix=UNPACKED, dir=state, ignore_cleanup_errors=True
        ) as work:
            reader = ArchiveReader(archive)
            document = reader.small(MANIFEST, limit_bytes=MANIFEST_BYTES)
            manifest = read_manifest(document, BackupManifest)
            _refuse_strange(manifest.files)
            unpacked = Path(work) / "state"
            unpacked.mkdir(mode=0o700)
            unpack(reader, manifest.files, unpacked)
            judge(unpacked)
            swap_in(unpacked, state, now_s=now_s)
    except OSError as error:
        raise DeliveryError(
            f"{error.filename or state}: {error.strerror or error}", hint=STATE_HINT
        ) from error
    return manifest


def _described(contents: Mapping[str, Path]) -> Iterator[File]:
    """Each file as it is now; one that has gone meanwhile was to go."""
    for name, path in contents.items():
        try:
            yield File.of(name, path)
        except FileNotFoundError:
            continue


def _refuse_changed(files: Iterable[File], contents: Mapping[str, Path]) -> None:
    now = {file.name: file for file in _described(contents)}
    for file in files:
        if now.get(file.name, file) != file:
            raise DeliveryError(
                f"{file.name} has changed meanwhile", hint="Make the backup once more."
            )


def _contents(state: Path) -> Iterator[tuple[str, Path]]:
    """Every file of the state but the database, by its path in the folder."""
    for folder, folders, names in os.walk(state, onerror=_raise):
        if Path(folder) == state:
            folders[:] = [each for each in folders if not stays(each)]
        folders[:] = [each for each in folders if not each.startswith(".")]
        for name in names:
            path = Path(folder, name)
            inside = path.relative_to(state).as_posix()
            is_plain = path.is_file() and not path.is_symlink()
            if is_plain and inside != NAME and _may_be_in_a_backup(inside):
                yield _plain_name(inside), path


def _plain_name(name: str) -> str:
    try:
        return check_name(name)
    except ValueError as error:
        raise DeliveryError(
            f"{name!a}: no backup can hold a file with this name",
            hint="Rename it with plain letters, or take it away.",
        ) from error


def _may_be_in_a_backup(name: str) -> bool:
    """Whether a path in the state folder is one that a backup is made of, and may bring.

    Hidden files are half done. What SQLite keeps beside a database is in the copy of it.
    """
    first, *rest = PurePosixPath(name).parts
    if any(part.startswith(".") for part in (first, *rest)) or stays(first):
        return False
    if first.startswith(NAME) or first == MARK:
        return not rest and first in {NAME, MARK}
    return first != MODELS or bool(rest)


def _refuse_strange(files: Iterable[File]) -> None:
    for file in files:
        if not _may_be_in_a_backup(file.name):
            raise DeliveryError(
                f"{MANIFEST}: {file.name}: no backup of a station has such a file",
                hint="Bring back another backup, one that was made by: appliance backup.",
            )


def _raise(error: OSError) -> None:
    raise error
