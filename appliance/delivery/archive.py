"""Plain tar archives of plain files, written alike every time and read with suspicion.

Python's own reader of whole archives follows what an archive says of itself: links, devices, names
of any length. Here each header is read by itself, and is a plain file or the end of all trust.
"""

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final

from appliance.catalog.files import put_in_place
from appliance.errors import DeliveryError

PIECE_BYTES: Final = 1024 * 1024
MOST_BYTES: Final = 8 * 1024**3 - 1  # the largest member that a plain header can tell

AGAIN_HINT: Final = "Copy it there again; where that does not help, make it again."


def check_name(name: str) -> str:
    """The name, if it stays within a folder and says one thing to everybody.

    Raises:
        ValueError: it does not.
    """
    parts = PurePosixPath(name).parts
    if not parts or "/".join(parts) != name or ".." in parts or not name.isprintable():
        raise ValueError("expected a plain path inside a folder")
    return name


def write_archive(stream: IO[bytes], members: Iterable[tuple[str, Path | bytes]]) -> None:
    """Write members in their order; the same contents give the same bytes, whoever writes.

    Raises:
        DeliveryError: a name or a file does not fit into a plain archive.
    """
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.mode = 0o644
            try:
                if isinstance(content, bytes):
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
                else:
                    entry.size = content.stat().st_size
                    with content.open("rb") as file:
                        tar.addfile(entry, file)
            except ValueError as error:
                raise DeliveryError(
                    f"{name}: does not fit into an archive ({error})",
                    hint="Give it a shorter name, or take it away.",
                ) from error


def write_whole(out: Path, members: Iterable[tuple[str, Path | bytes]]) -> None:
    """The same into a file, which is there when it is whole, and not before.

    Raises:
        DeliveryError: a member does not fit, or the disk does not take it.
    """
    partial = out.with_name(f".{out.name}.partial")
    try:
        with partial.open("wb") as stream:
            write_archive(stream, members)
        put_in_place(partial, out)
    except OSError as error:
        raise DeliveryError(
            f"{error.filename or out}: {error.strerror or error}",
            hint="Is there room, and may files be made there?",
        ) from error
    finally:
        partial.unlink(missing_ok=True)


class ArchiveReader:
    """Hands out the members of an archive in its order, none of them by a name of its own.

    Args:
        stream: the archive, from its beginning.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def small(self, name: str, *, limit_bytes: int) -> bytes:
        """The content of the next member, which must have this name and fit into memory.

        Raises:
            DeliveryError: it is another member, larger, or cut short.
        """
        size = self._expect(name)
        if size > limit_bytes:
            raise _unfit(f"{name} has {size} bytes, expected at most {limit_bytes}")
        return b"".join(self._pieces(name, size))

    def large(self, name: str, size_bytes: int) -> Iterator[bytes]:
        """The content of the next member, piece by piece; name and size must be these.

        Raises:
            DeliveryError: it is another member, of another size, or cut short.
        """
        size = self._expect(name)
        if size != size_bytes:
            raise _unfit(f"{name} has {size} bytes, expected {size_bytes}")
        yield from self._pieces(name, size)

    def expect_end(self) -> None:
        """Nothing may follow.

        Raises:
            DeliveryError: something does.
        """
        header = self._stream.read(tarfile.BLOCKSIZE)
        if header.strip(b"\0"):
            raise _unfit("it holds more than its manifest lists")

    def _expect(self, name: str) -> int:
        """Read a header; the size of its member."""
        header = self._stream.read(tarfile.BLOCKSIZE)
        if len(header) < tarfile.BLOCKSIZE or not header.strip(b"\0"):
            raise _cut_short(name)
        try:
            entry = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise _unfit(f"expected {name}, got no member of an archive") from error
        if entry.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} or entry.name != name:
            raise _unfit(f"expected the plain file {name}, got {entry.name!r}")
        if not 0 <= entry.size <= MOST_BYTES:
            raise _unfit(f"{name} has an impossible size")
        return entry.size

    def _pieces(self, name: str, size: int) -> Iterator[bytes]:
        left = size
        while left:
            piece = self._stream.read(min(left, PIECE_BYTES))
            if not piece:
                raise _cut_short(name)
            left -= len(piece)
            yield piece
        padding = -size % tarfile.BLOCKSIZE
        if len(self._stream.read(padding)) < padding:
            raise _cut_short(name)


def _unfit(problem: str) -> DeliveryError:
    return DeliveryError(problem, hint=AGAIN_HINT)


def _cut_short(name: str) -> DeliveryError:
    return DeliveryError(f"the file is cut short at {name}", hint=AGAIN_HINT)
