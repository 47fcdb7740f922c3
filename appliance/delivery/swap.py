"""Puts one state folder's contents in the place of another's, never half.

The folder itself may be a mount, so its entries are moved. The name of the hidden folder that the
new ones come from says how far it is; whoever opens the state next goes on from there.
"""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from appliance.catalog.files import sync
from appliance.errors import StoreError
from appliance.stores.lock import LOCK, alone_in

ASIDE: Final = "before-restore-"  # begins the name of what was put aside
_COMING: Final = ".coming-"  # proven and whole; the old entries leave
_ENTERING: Final = ".entering-"  # they have left; the new ones enter
SNAPSHOTS: Final = ".releases"  # what releases before had
UNPACKED: Final = ".unpacked-"  # not proven yet
_STAY: Final = (LOCK, "health.sock", ASIDE, _COMING, _ENTERING, UNPACKED, SNAPSHOTS)


def swap_in(new: Path, state: Path, *, now_s: float) -> None:
    """Replace the contents of `state` by those of `new`, which lies in the same file system.

    What was there stays in a folder `before-restore-<time>`; an older one of these goes.

    Raises:
        OSError: the disk is in the way; `finish` goes on once it is not.
    """
    stamp = f"{datetime.fromtimestamp(now_s, UTC):%Y%m%dT%H%M%S%f}Z"
    os.sync()
    new.rename(state / f"{_COMING}{stamp}")
    sync(state)
    finish(state)
    for old in sorted(state.glob(f"{ASIDE}*"))[:-1]:
        shutil.rmtree(old)


def finish(state: Path) -> None:
    """Finish what a power cut interrupted; nothing where nothing was.

    Raises:
        OSError: the disk is in the way.
    """
    for coming in state.glob(f"{_COMING}*"):
        stamp = coming.name.removeprefix(_COMING)
        aside = state / f"{ASIDE}{stamp}"
        aside.mkdir(exist_ok=True, mode=0o700)
        for entry in [each for each in state.iterdir() if not each.name.startswith(_STAY)]:
            entry.rename(aside / entry.name)
        sync(state)
        coming.rename(state / f"{_ENTERING}{stamp}")
        sync(state)
    for entering in state.glob(f"{_ENTERING}*"):
        for entry in list(entering.iterdir()):
            entry.rename(state / entry.name)
        sync(state)
        entering.rmdir()


def finish_alone(state: Path) -> None:
    """The same, if there is anything to finish and nobody else is at it.

    Raises:
        StoreError: a station runs, or the disk is in the way.
    """
    if not any(state.glob(f"{_COMING}*")) and not any(state.glob(f"{_ENTERING}*")):
        return
    try:
        with alone_in(state):
            finish(state)
    except OSError as error:
        raise StoreError(
            f"{error.filename or state}: {error.strerror or error}",
            hint="Make room in the state folder, and let the station write there.",
        ) from error
