"""Reads secrets from files: where a variable points, and in the two well-known folders."""

import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SECRETS_DIR = Path("/run/secrets")
"""Where Docker, Podman and Compose put secrets."""

_LARGEST_BYTES = 64 * 1024


class UnreadableError(Exception):
    """A secret's file is there but is of no use; the message never names or quotes it.

    What stands in a variable for a file's name may be the secret itself, put there by mistake.
    """


@dataclass(frozen=True, slots=True)
class Found:
    """A secret and the file it was in."""

    text: str
    path: Path


def read(path: Path) -> str:
    """The text of a secret's file.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableError: it cannot be read, is no file, too large, or no text.
    """
    try:
        # Asked first: opening a pipe or a device could wait for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableError("is not a file")
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError from None
    except PermissionError:
        raise UnreadableError("may not be read by this process") from None
    except (OSError, ValueError):
        raise UnreadableError("cannot be read") from None
    if len(content) > _LARGEST_BYTES:
        raise UnreadableError("is larger than 64 KiB")
    try:
        return content.decode("utf-8-sig")  # some editors begin a file with a mark
    except UnicodeDecodeError:
        raise UnreadableError("is not text in UTF-8") from None


def first_of(names: Sequence[str], folders: Iterable[Path]) -> Found | None:
    """The secret of one of these file names in the first of the folders that has it.

    Raises:
        UnreadableError: it is there but is of no use.
    """
    for path in (folder / name for folder in folders for name in names):
        try:
            return Found(read(path), path)
        except FileNotFoundError:
            continue
    return None
