"""Room on a disk: what may wait leaves the last of it to what may not.

Pictures can be kept later; what people did, and who is signed in, is written now. So the station
stops keeping pictures while some room is left, and goes on by itself when there is more again.
"""

import shutil
from pathlib import Path
from typing import Final

from appliance.errors import StoreError

RESERVE_SHARE: Final = 0.05  # of the disk,
RESERVE_MOST_BYTES: Final = 200_000_000  # and no more than this
HINT: Final = "Make room in the folder of APPLIANCE_PATHS__STATE; live views go on meanwhile."


def ask_for_room(folder: Path, size_bytes: int) -> None:
    """Make sure that a file of this size may be written below `folder`, which is there.

    Raises:
        StoreError: it would take of the disk's last room.
        OSError: the disk cannot be asked.
    """
    disk = shutil.disk_usage(folder)
    reserve_bytes = min(RESERVE_MOST_BYTES, int(RESERVE_SHARE * disk.total))
    if disk.free - size_bytes < reserve_bytes:
        raise StoreError(f"the disk is full but for {disk.free / 1e6:.1f} MB", hint=HINT)
