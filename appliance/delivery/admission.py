"""Which bundle is let in: signed by somebody trusted, for this box, whole, and no step back."""

import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self

from packaging.version import Version

from appliance.delivery.archive import ArchiveReader
from appliance.delivery.manifest import (
    MANIFEST,
    MANIFEST_BYTES,
    BundleManifest,
    read_manifest,
    unpack,
)
from appliance.delivery.signing import SIGNATURE, SIGNATURE_BYTES, verify
from appliance.errors import DeliveryError

SPARE_BYTES: Final = 200 * 1024 * 1024  # what an update leaves free
DISK_HINT: Final = "Make room on the box's disk, then bring the bundle again."


@dataclass(frozen=True, slots=True)
class Box:
    """What a bundle must fit.

    Attributes:
        version: of the release that runs.
        machine: the processor's architecture.
        python: its version, two numbers.
        newest: the highest version that was ever confirmed here.
    """

    version: str
    machine: str
    python: str
    newest: str

    @classmethod
    def here(cls, version: str, newest: str) -> Self:
        """This one, where `version` runs, and `newest` is the highest that ever did."""
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        return cls(version, platform.machine(), python, newest)


def admit(stream: IO[bytes], box: Box, *, keys: Path, into: Path) -> BundleManifest:
    """Judge a bundle and unpack it, in one pass: nothing is read twice, so nothing can change.

    Args:
        stream: the bundle.
        box: what it must fit.
        keys: folder of the trusted public keys.
        into: an empty folder, on the disk that releases are installed on.

    Raises:
        DeliveryError: it is not let in; what was unpacked is of no use.
    """
    reader = ArchiveReader(stream)
    document = reader.small(MANIFEST, limit_bytes=MANIFEST_BYTES)
    verify(document, reader.small(SIGNATURE, limit_bytes=SIGNATURE_BYTES), keys)
    manifest = read_manifest(document, BundleManifest)
    _check_fit(manifest, box)
    _check_room(manifest, into)
    unpack(reader, manifest.files, into)
    return manifest


def _check_fit(manifest: BundleManifest, box: Box) -> None:
    if (manifest.machine, manifest.python) != (box.machine, box.python):
        raise DeliveryError(
            f"it is for {manifest.machine} with Python {manifest.python}, "
            f"and this box is {box.machine} with Python {box.python}",
            hint="Ask its maker for the bundle for this box.",
        )
    if manifest.version == box.version:
        raise DeliveryError(f"release {box.version} runs already", hint="There is nothing to do.")
    if Version(manifest.version) < Version(box.newest) and not manifest.may_downgrade:
        raise DeliveryError(
            f"release {manifest.version} is older than {box.newest}, the newest that has run here",
            hint="To go back to the release before, bring a file named rollback instead.",
        )


def _check_room(manifest: BundleManifest, into: Path) -> None:
    needed = sum(file.size_bytes for file in manifest.files) + manifest.installed_bytes
    free = shutil.disk_usage(into).free
    if free < needed + SPARE_BYTES:
        raise DeliveryError(
            f"the disk has {free / 1e6:.0f} MB free, "
            f"and {(needed + SPARE_BYTES) / 1e6:.0f} MB are needed",
            hint=DISK_HINT,
        )
