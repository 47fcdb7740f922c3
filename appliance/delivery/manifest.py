"""What a bundle and a backup say of themselves, and of each file in them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from appliance.catalog.files import sha256_of
from appliance.delivery.archive import MOST_BYTES, ArchiveReader, check_name
from appliance.errors import DeliveryError

MANIFEST: Final = "manifest.json"
MANIFEST_BYTES: Final = 16 * 1024 * 1024  # one line for each file

Text = Annotated[str, Field(min_length=1, max_length=100)]


def _check_version(text: str) -> str:
    try:
        if str(Version(text)) == text:
            return text
    except InvalidVersion as error:
        raise ValueError("expected a version") from error
    raise ValueError("expected a version in its plain form")


VersionText = Annotated[Text, AfterValidator(_check_version)]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class File(_Document):
    """One file of an archive.

    Attributes:
        name: path inside it.
        size_bytes: of its content.
        sha256: of its content, 64 hex digits.
    """

    name: Annotated[str, AfterValidator(check_name)]
    size_bytes: Annotated[int, Field(ge=0, le=MOST_BYTES)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @classmethod
    def of(cls, name: str, content: Path | bytes) -> "File":
        """As it is now."""
        if isinstance(content, bytes):
            digest = hashlib.sha256(content).hexdigest()
            return cls(name=name, size_bytes=len(content), sha256=digest)
        return cls(name=name, size_bytes=content.stat().st_size, sha256=sha256_of(content))


class BundleManifest(_Document):
    """What is in a bundle, and for which boxes.

    Attributes:
        format: of the bundle.
        product: whose bundle it is.
        version: of the release in it.
        machine: the processor's architecture, as `uname -m` says it.
        python: its version, two numbers.
        may_downgrade: whether it may replace a newer release.
        installed_bytes: room that the release takes once installed, nearly.
        files: in the order of the archive.
    """

    format: Literal[1] = 1
    product: Literal["vision-appliance"] = "vision-appliance"
    version: VersionText
    machine: Text
    python: Annotated[str, Field(pattern=r"^3\.[0-9]{1,2}$")]
    may_downgrade: bool
    installed_bytes: Annotated[int, Field(ge=0)]
    files: tuple[File, ...]


class BackupManifest(_Document):
    """What is in a backup.

    Attributes:
        format: of the backup.
        product: whose backup it is.
        version: of the release that made it.
        made_at: when, UTC.
        files: in the order of the archive; paths inside the state folder.
    """

    format: Literal[1] = 1
    product: Literal["vision-appliance backup"] = "vision-appliance backup"
    version: VersionText
    made_at: Text
    files: tuple[File, ...]


Manifest = TypeVar("Manifest", BundleManifest, BackupManifest)


def as_bytes(manifest: _Document) -> bytes:
    """The document as it stands in the archive."""
    return manifest.model_dump_json(indent=1).encode() + b"\n"


def read_manifest(text: bytes, kind: type[Manifest]) -> Manifest:
    """The document, checked.

    Raises:
        DeliveryError: it is none, or one that this release does not know.
    """
    try:
        manifest = kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        raise DeliveryError(
            f"{MANIFEST}: {place}: {first['msg']}",
            hint="It is of a release that this one does not know, or is damaged.",
        ) from error
    names = [file.name for file in manifest.files]
    if len(set(names)) < len(names):
        raise DeliveryError(f"{MANIFEST}: lists a file twice", hint="Make it again.")
    return manifest


def unpack(reader: ArchiveReader, files: Iterable[File], into: Path) -> None:
    """Write the listed files below an empty folder, each proven as it comes; nothing else.

    Raises:
        DeliveryError: the archive holds something else, or a file that is not the listed one.
        OSError: the disk does not take it.
    """
    for file in files:
        path = into / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with path.open("xb") as target:
            for piece in reader.large(file.name, file.size_bytes):
                digest.update(piece)
                target.write(piece)
        if digest.hexdigest() != file.sha256:
            raise DeliveryError(
                f"{file.name} is not the file that the manifest lists",
                hint="It was changed or damaged on its way: copy it there again.",
            )
    reader.expect_end()
