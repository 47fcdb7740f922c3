"""Which wheels make a release: those of a lock, and the appliance's own."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from appliance.catalog.files import sha256_of
from appliance.errors import DeliveryError

OWN: Final = "vision-appliance"
TIMEOUT_S: Final = 1800.0

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Release:
    """The wheels of a release, and the lock that lets exactly these be installed.

    Attributes:
        version: the appliance's.
        wheels: every one that is needed, by name.
        lock: text of a hash-locked requirements file.
        own_sha256: of the appliance's own wheel, 64 hex digits.
        unpacked_bytes: what is in the wheels.
    """

    version: str
    wheels: tuple[Path, ...]
    lock: str
    own_sha256: str
    unpacked_bytes: int

    @property
    def requirements(self) -> str:
        """The lock with the appliance itself."""
        own = f"{OWN}=={self.version} --hash=sha256:{self.own_sha256}"
        return f"{self.lock.rstrip()}\n{own}\n"


def fetch_wheels(requirements: Path, checkout: Path, into: Path) -> None:
    """Download the wheels of a lock and build the appliance's own; needs a network.

    Raises:
        DeliveryError: pip fails; its last words are told.
    """
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    _run(
        [
            *(*pip, "download", "--only-binary=:all:", "--require-hashes"),
            *(f"--dest={into}", f"--requirement={requirements}"),
        ]
    )
    _run(
        [
            *(*pip, "wheel", "--no-deps", "--no-build-isolation"),
            *(f"--wheel-dir={into}", str(checkout)),
        ]
    )


def release_of(requirements: Path, wheels: Path) -> Release:
    """The release that a lock and a folder of wheels make.

    Raises:
        DeliveryError: a wheel that the lock names is not there, or the appliance's own is not.
    """
    locked = dict(_locked(requirements))
    digests = {sha256_of(path): path for path in sorted(wheels.glob("*.whl"))}
    own = [path for path in digests.values() if _name_of(path) == OWN]
    if len(own) != 1:
        raise DeliveryError(
            f"{wheels}: expected one wheel of {OWN}, got {len(own)}",
            hint="Build it there: python -m pip wheel --no-deps --wheel-dir DIR .",
        )
    chosen = [digests[digest] for hashes in locked.values() for digest in hashes & digests.keys()]
    lacking = [text for text, hashes in locked.items() if not hashes & digests.keys()]
    if lacking:
        raise DeliveryError(
            f"{wheels}: no wheel of {', '.join(lacking[:5])}",
            hint=f"Download them: python -m pip download --require-hashes -r {requirements}",
        )
    chosen.append(own[0])
    return Release(
        version=str(parse_wheel_filename(own[0].name)[1]),
        wheels=tuple(sorted(chosen)),
        lock=requirements.read_text(encoding="utf-8"),
        own_sha256=sha256_of(own[0]),
        unpacked_bytes=sum(map(_unpacked_bytes, chosen)),
    )


def _locked(requirements: Path) -> Iterator[tuple[str, set[str]]]:
    """Each requirement of a lock that holds here, with its hashes."""
    text = requirements.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        spelled = line.partition(" --hash=")[0].strip()
        try:
            requirement = Requirement(spelled)
        except InvalidRequirement as error:
            raise DeliveryError(
                f"{requirements}: expected NAME==VERSION with hashes, got {spelled!r}",
                hint="Use a lock as requirements/*.txt are.",
            ) from error
        if requirement.marker is None or requirement.marker.evaluate():
            yield f"{requirement.name}{requirement.specifier}", set(_HASH.findall(line))


def _name_of(wheel: Path) -> str:
    try:
        return canonicalize_name(parse_wheel_filename(wheel.name)[0])
    except InvalidWheelFilename as error:
        raise DeliveryError(f"{wheel}: is no wheel", hint="Take it out of the folder.") from error


def _unpacked_bytes(wheel: Path) -> int:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except (OSError, zipfile.BadZipFile) as error:
        raise DeliveryError(f"{wheel}: is damaged", hint="Download it again.") from error


def _run(command: Sequence[str]) -> None:
    try:
        subprocess.run(  # noqa: S603 - an argument list, made above
            command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["failed without a word"])[-1]
        raise DeliveryError(f"pip: {last[:300]}", hint="Is there a network?") from error
    except subprocess.TimeoutExpired as error:
        raise DeliveryError("pip: no end in half an hour", hint="Is there a network?") from error
