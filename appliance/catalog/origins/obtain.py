"""Brings an origin's files into a folder: all of them, proven, or none."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import httpx

from appliance.catalog.files import MAX_MODEL_BYTES, pieces, put_in_place, sha256_of, write_capped
from appliance.catalog.origins.archives import take_members
from appliance.catalog.origins.https import download_https
from appliance.catalog.origins.kinds import (
    FileOrigin,
    HttpsOrigin,
    NpmOrigin,
    Origin,
    WheelOrigin,
)
from appliance.catalog.origins.packages import Run, download_npm, download_wheel, run_client
from appliance.errors import ModelError, StoreError


def obtain(
    origin: Origin,
    destination_dir: Path,
    *,
    run: Run = run_client,
    transport: httpx.BaseTransport | None = None,
) -> dict[str, Path]:
    """Download into a temporary folder, check every file, then move them into place.

    Args:
        origin: where the files come from, each with its SHA-256.
        destination_dir: created if need be, only after every file has been proven.
        run: starts a registry client and waits for its end.
        transport: carries https requests; httpx's own where None.

    Returns:
        Each file by its name, in `destination_dir`.

    Raises:
        ModelError: a file cannot be had or is not the expected one; nothing is left behind.
        StoreError: a file or folder cannot be read or written.
    """
    try:
        destination_dir.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".obtain-", dir=destination_dir.parent) as folder:
            work_dir = Path(folder)
            arrived = work_dir / "arrived"
            arrived.mkdir()
            match origin:
                case NpmOrigin():
                    take_members(download_npm(origin, work_dir, run=run), origin.members, arrived)
                case WheelOrigin():
                    take_members(download_wheel(origin, work_dir, run=run), origin.members, arrived)
                case HttpsOrigin():
                    download_https(origin.url, arrived / origin.name, transport=transport)
                case FileOrigin():
                    _copy(origin.path, arrived / origin.name)
            expected = _digests(origin)
            for name, sha256 in expected.items():
                _check(arrived / name, sha256)
            destination_dir.mkdir(exist_ok=True)
            for name in expected:
                put_in_place(arrived / name, destination_dir / name)
    except OSError as error:
        raise StoreError(
            f"{error.filename or destination_dir}: {error.strerror}",
            hint="check the state folder's owner and its free space",
        ) from error
    return {name: destination_dir / name for name in expected}


def _digests(origin: Origin) -> Mapping[str, str]:
    if isinstance(origin, NpmOrigin | WheelOrigin):
        return {name: member.sha256 for name, member in origin.members.items()}
    return {origin.name: origin.sha256}


def _check(path: Path, sha256: str) -> None:
    actual = sha256_of(path)
    if actual != sha256:
        raise ModelError(
            f"{path.name}: expected SHA-256 {sha256}, got {actual}",
            hint="the file is damaged or not the reviewed one; pull again or check the card",
        )


def _copy(source: Path, destination: Path) -> None:
    if not source.is_file():
        raise ModelError(
            f"{source}: expected a file, got none", hint="check origin.path in the model's card"
        )
    with source.open("rb") as file:
        write_capped(pieces(file), destination, limit_bytes=MAX_MODEL_BYTES)
