"""Files that are whole or absent: hashed in pieces, capped, moved into place in one step."""

import hashlib
import os
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
