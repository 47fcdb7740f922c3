"""The folder in which updates are asked for: by a bundle, or by a file named `rollback`.

Whoever may put files there is not trusted: no link is followed, nothing is read before it is a
plain file, and everything that asks for something leaves the folder once it is answered.
"""

import errno
import fcntl
import os
import secrets
from pathlib import Path
from typing import IO, Final

from loguru import logger

from appliance.catalog.files import open_plain, remove_tree
from appliance.errors import DeliveryError

ASIDE: Final = ".aside-"  # begins the name of a folder that asked for something
ROLLBACK: Final = "rollback"
BUNDLE: Final = ".bundle"


def orders(inbox: Path) -> list[Path]:
    """Everything that asks for something, in the order of names; going back comes first."""
    found = [path for path in inbox.iterdir() if _asks(path.name)]
    return sorted(found, key=lambda path: (path.name != ROLLBACK, path.name))


def is_coming(path: Path) -> bool:
    """Whether somebody still writes it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # a link, or gone: judged when it is opened
    try:
        # Granted only while nobody has it open for writing, and given back at once.
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(descriptor)
    return False


def open_order(path: Path) -> IO[bytes]:
    """A file of the inbox, for reading.

    Raises:
        DeliveryError: it is no plain file, or cannot be read.
    """
    try:
        return open_plain(path)
    except OSError as error:
        raise DeliveryError(
            f"{path.name} cannot be read ({error.strerror})", hint="Copy it there as a file."
        ) from error


def take_away(path: Path) -> None:
    """Take an order out of the way in one step, whatever it is; a link goes, not its target.

    A folder asks for nothing any more once it is hidden; `empty_aside` removes it.

    Raises:
        OSError: it stays.
    """
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError:
        path.rename(path.with_name(f"{ASIDE}{secrets.token_hex(16)}"))


def empty_aside(inbox: Path) -> None:
    """Remove what was taken out of the way; what cannot be removed is left to the next time."""
    for folder in inbox.glob(f"{ASIDE}*"):
        if folder.is_symlink() or not folder.is_dir():
            continue  # somebody else's, and it asks for nothing
        try:
            remove_tree(folder)
        except OSError as error:
            logger.warning("update: {} cannot be removed: {}", folder, error.strerror or error)


def _asks(name: str) -> bool:
    return name == ROLLBACK or (name.endswith(BUNDLE) and not name.startswith("."))
