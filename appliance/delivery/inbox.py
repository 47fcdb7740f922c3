"""The folder in which updates are asked for: by a bundle, or by a file named `rollback`.

Whoever may put files there is not trusted: no link is followed, nothing is read before it is a
plain file, and everything that asks for something leaves the folder once it is answered.
"""

import errno
import fcntl
import os
import shutil
import stat
from pathlib import Path
from typing import IO, Final

from appliance.errors import DeliveryError

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
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise DeliveryError(
            f"{path.name} cannot be read ({error.strerror})", hint="Copy it there as a file."
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DeliveryError(f"{path.name} is no file", hint="Copy it there as a file.")
    return os.fdopen(descriptor, "rb")


def remove(path: Path) -> None:
    """Take an order away, whatever it is; a link goes, not what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _asks(name: str) -> bool:
    return name == ROLLBACK or (name.endswith(BUNDLE) and not name.startswith("."))
