"""Puts one state folder's contents in the place of another's: as a whole, or not at all.

The folder itself may be a mount, so its entries are moved one by one. A hidden folder that the new
ones come from is there until the last of them is in its place. As long as it is there, whoever
opens the state next moves everything back: what was there before is the state.

    .coming-<time>      proven and whole; the old entries leave
    .entering-<time>    they have left; the new ones enter
"""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from loguru import logger

from appliance.catalog.files import sync
from appliance.errors import StoreError
from appliance.stores.lock import LOCK, alone_in

ASIDE: Final = "before-restore-"  # begins the name of what was put aside
UNPACKED: Final = ".unpacked-"  # not proven yet, or of no use any more
SNAPSHOTS: Final = ".releases"  # what releases before had
HEALTH: Final = "health.sock"
LOST_AND_FOUND: Final = "lost+found"  # root's, where the state folder is a disk of its own
_COMING: Final = ".coming-"
_ENTERING: Final = ".entering-"
_OF_THE_FOLDER: Final = {LOCK, HEALTH, SNAPSHOTS, LOST_AND_FOUND}


def stays(name: str) -> bool:
    """Whether an entry belongs to the folder itself, and is no part of the state."""
    return name in _OF_THE_FOLDER or name.startswith((ASIDE, UNPACKED, _COMING, _ENTERING))


def swap_in(new: Path, state: Path, *, now_s: float) -> None:
    """Replace the contents of `state` by those of `new`, which lies in the same file system.

    What was there stays in a folder `before-restore-<time>`; an older one of these goes.

    Raises:
        OSError: the disk is in the way. The old contents are back, or `undo` brings them back.
    """
    stamp = f"{datetime.fromtimestamp(now_s, UTC):%Y%m%dT%H%M%S%f}Z"
    os.sync()
    new.rename(state / f"{_COMING}{stamp}")
    try:
        _exchange(state, stamp)
    except OSError:
        undo(state)
        raise
    try:  # the new state is in its place: whatever fails now is no reason to say otherwise
        sync(state)
        for old in sorted(state.glob(f"{ASIDE}*"))[:-1]:
            shutil.rmtree(old)
    except OSError as error:
        logger.warning("restore: done, but what was before cannot be tidied: {}", error)


def undo(state: Path) -> None:
    """Bring back what was there before an exchange that was cut off; nothing where none was.

    It may be cut off itself, and goes on when it is called again.

    Raises:
        OSError: the disk is in the way.
    """
    for entering in state.glob(f"{_ENTERING}*"):
        _move_contents(state, entering)
        entering.rename(state / entering.name.replace(_ENTERING, _COMING))
        sync(state)
    for coming in state.glob(f"{_COMING}*"):
        stamp = coming.name.removeprefix(_COMING)
        aside = state / f"{ASIDE}{stamp}"
        if aside.is_dir():
            _move_contents(aside, state)
            aside.rmdir()
        useless = state / f"{UNPACKED}{stamp}"
        coming.rename(useless)
        sync(state)
        shutil.rmtree(useless, ignore_errors=True)  # else the next restore removes it


def undo_alone(state: Path) -> None:
    """The same, if there is anything to undo and nobody else is at it.

    Raises:
        StoreError: a restore is under way, or the disk is in the way.
    """
    if not any(state.glob(f"{_COMING}*")) and not any(state.glob(f"{_ENTERING}*")):
        return
    try:
        with alone_in(state):
            undo(state)
    except OSError as error:
        raise StoreError(
            f"{error.filename or state}: {error.strerror or error}",
            hint="Make room in the state folder, and let the station write there.",
        ) from error
    logger.warning("{}: a restore was cut off; what was there before is back", state)


def _exchange(state: Path, stamp: str) -> None:
    coming, entering = state / f"{_COMING}{stamp}", state / f"{_ENTERING}{stamp}"
    aside = state / f"{ASIDE}{stamp}"
    sync(state)
    aside.mkdir(mode=0o700)
    _move_contents(state, aside)
    coming.rename(entering)
    sync(state)
    _move_contents(entering, state)
    entering.rmdir()  # with this the new state is the state


def _move_contents(source: Path, target: Path) -> None:
    """Move every entry that is part of the state."""
    for entry in [each for each in source.iterdir() if not stays(each.name)]:
        entry.rename(target / entry.name)
    sync(target)
    sync(source)
