"""Makes a bundle: a release with all it needs, listed, signed, in one file.

manifest.json       what it is, and every other file with its hash
manifest.sig        Ed25519 signature of that document
requirements.txt    hash-locked, the appliance's own wheel included
sbom.cdx.json       CycloneDX: what is in the wheels
wheels/...          all of them
models/NAME/...     cards and weights that come with this release
"""

import importlib.util
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from appliance.delivery.archive import write_whole
from appliance.delivery.manifest import MANIFEST, BundleManifest, File, as_bytes
from appliance.delivery.signing import SIGNATURE, sign
from appliance.delivery.wheels import OWN, Release
from appliance.errors import DeliveryError

REQUIREMENTS: Final = "requirements.txt"
SBOM: Final = "sbom.cdx.json"
WHEELS, MODELS = "wheels", "models"
COMPILED: Final = 1.5  # what is installed is this much more than what wheels hold: compiled code


def make_bundle(
    out: Path,
    release: Release,
    models: Mapping[str, Path],
    *,
    key: Path,
    may_downgrade: bool = False,
) -> BundleManifest:
    """Write a bundle for machines like this one; `out` is whole or absent.

    Args:
        out: the file to be made, or made anew.
        release: the wheels.
        models: files by "NAME/FILE".
        key: file of the private key.
        may_downgrade: whether it may replace a newer release.

    Raises:
        DeliveryError: the key, the list of parts or the disk is in the way.
    """
    contents: dict[str, Path | bytes] = {
        REQUIREMENTS: release.requirements.encode(),
        SBOM: sbom(release),
        **{f"{WHEELS}/{path.name}": path for path in release.wheels},
        **{f"{MODELS}/{name}": path for name, path in sorted(models.items())},
    }
    files = tuple(File.of(name, content) for name, content in contents.items())
    room = release.unpacked_bytes * COMPILED + sum(p.stat().st_size for p in models.values())
    manifest = BundleManifest(
        version=release.version,
        machine=platform.machine(),
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        may_downgrade=may_downgrade,
        installed_bytes=int(room),
        files=files,
    )
    document = as_bytes(manifest)
    head = {MANIFEST: document, SIGNATURE: sign(document, key)}
    write_whole(out, [*head.items(), *contents.items()])
    return manifest


def sbom(release: Release) -> bytes:
    """The parts of a release as CycloneDX in JSON; the same every time.

    Raises:
        DeliveryError: as `parts`.
    """
    document = parts(release.lock)
    itself = {"type": "application", "name": OWN, "version": release.version, "bom-ref": "itself"}
    document = {**document, "metadata": {**document.get("metadata", {}), "component": itself}}
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


def parts(lock: str) -> dict[str, Any]:
    """What a requirements file names, as a document of CycloneDX.

    Raises:
        DeliveryError: the library that makes it is not here, or fails.
    """
    if importlib.util.find_spec("cyclonedx_py") is None:
        raise DeliveryError(
            "cyclonedx-bom: not found", hint='Install the appliance with its "bundle" extra.'
        )
    command = (sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible", "-")
    done = subprocess.run(  # noqa: S603 - an argument list, made above
        command, input=lock.encode(), capture_output=True, check=False, timeout=120
    )
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no word"])[-1]
        raise DeliveryError(f"cyclonedx-bom: {last[:300]}", hint="Is the lock a whole one?")
    document: dict[str, Any] = json.loads(done.stdout)
    return document
