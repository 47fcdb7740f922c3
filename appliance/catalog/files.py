"""Files that are whole or absent: hashed in pieces, capped, moved into place in one step.

And whatever others may have put in their place: read with suspicion, removed however deep.
"""

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Final

from appliance.errors import ModelError

PIECE_BYTES: Final = 1024 * 1024
MAX_MODEL_BYTES: Final = 8 * 1024**3


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as 64 hex digits, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pieces(stream: IO[bytes]) -> Iterator[bytes]:
    """A binary stream's content, piece by piece."""
    return iter(partial(stream.read, PIECE_BYTES), b"")


def open_plain(path: Path, *, follow_links: bool = False) -> IO[bytes]:
    """A plain file, for reading; anything else is refused, and nothing is waited for.

    Raises:
        OSError: it is none, or cannot be read.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags if follow_links else flags | os.O_NOFOLLOW)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.EINVAL, "is no file", str(path))
    return os.fdopen(descriptor, "rb")


def read_plain(path: Path, *, limit_bytes: int, follow_links: bool = False) -> bytes:
    """The content of a plain file that is no larger than it may be.

    Raises:
        OSError: it is none, is larger, or cannot be read.
    """
    with open_plain(path, follow_links=follow_links) as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise OSError(errno.EFBIG, f"has more than {limit_bytes} bytes", str(path))
    return content


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, however deep; no link is followed.

    Folders inside are moved to the top before they are emptied, so neither a path nor the stack
    gets longer with the depth.

    Raises:
        OSError: something cannot be removed.
    """
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        waiting = _empty(top, top)
        while waiting:
            name = waiting.pop()
            inner = os.open(
                name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top
            )
            try:
                waiting += _empty(inner, top)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    folder.rmdir()


def _empty(folder: int, top: int) -> list[str]:
    """Remove what is no folder, and move folders to the top; their names there."""
    moved = []
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=folder)
            continue
        moved.append(secrets.token_hex(16))  # nobody can have taken the name
        os.rename(entry.name, moved[-1], src_dir_fd=folder, dst_dir_fd=top)
    return moved


def write_capped(content: Iterable[bytes], destination: Path, *, limit_bytes: int) -> None:
    """Write `content` into a new file.

    Raises:
        ModelError: there is more than `limit_bytes` of it.
    """
    written = 0
    with destination.open("xb") as file:
        for piece in content:
            written += len(piece)
            if written > limit_bytes:
                raise ModelError(
                    f"{destination.name}: expected at most {limit_bytes} bytes, got more",
                    hint="check the origin in the model's card",
                )
            file.write(piece)


def put_in_place(source: Path, destination: Path) -> None:
    """Move a finished file over `destination`; after a power cut it is the old or the new one.

    Both lie on one file system.
    """
    sync(source)
    source.replace(destination)
    sync(destination.parent)


def sync(path: Path) -> None:
    """Have a file or a folder on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
