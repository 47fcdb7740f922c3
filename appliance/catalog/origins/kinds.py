"""The places that a model's files may come from, as a card writes them.

Every file is pinned by its SHA-256: what arrives is what was reviewed, or nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from appliance.tasks import Strict

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# A plain name: never a path, never hidden, so that it cannot leave its folder.
MemberName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
PackageName = Annotated[
    str, Field(pattern=r"^(@[a-z0-9][a-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9._-]*$")
]
Version = Annotated[str, Field(pattern=r"^[0-9][A-Za-z0-9.+-]*$")]


@Strict
@dataclass(frozen=True, slots=True)
class Member:
    """One file inside a package's archive.

    Attributes:
        path: inside the archive, for example "package/models/model.json".
        sha256: of the unpacked file, 64 lowercase hex digits.
    """

    path: Annotated[str, Field(min_length=1)]
    sha256: Sha256


@Strict
@dataclass(frozen=True, slots=True)
class NpmOrigin:
    """Files of an npm package, by the name that they get here."""

    kind: Literal["npm"]
    package: PackageName
    version: Version
    members: Annotated[Mapping[MemberName, Member], Field(min_length=1)]


@Strict
@dataclass(frozen=True, slots=True)
class WheelOrigin:
    """Files of a Python wheel, by the name that they get here; nothing is installed."""

    kind: Literal["wheel"]
    package: PackageName
    version: Version
    members: Annotated[Mapping[MemberName, Member], Field(min_length=1)]


@Strict
@dataclass(frozen=True, slots=True)
class HttpsOrigin:
    """One file behind an https address."""

    kind: Literal["https"]
    url: Annotated[str, Field(pattern=r"^https://[^/@\s]+/\S*$")]
    sha256: Sha256
    name: MemberName = "model.onnx"


@Strict
@dataclass(frozen=True, slots=True)
class FileOrigin:
    """One file on this machine, for example on a mounted stick."""

    kind: Literal["file"]
    path: Path
    sha256: Sha256
    name: MemberName = "model.onnx"


Origin = Annotated[NpmOrigin | WheelOrigin | HttpsOrigin | FileOrigin, Field(discriminator="kind")]
