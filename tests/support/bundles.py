"""Bundles with next to nothing in them, made by the real maker, and hosts that take them."""

import base64
import functools
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from appliance import __version__
from appliance.delivery import bundle
from appliance.delivery.bundle import make_bundle
from appliance.delivery.wheels import release_of
from tests.support import debian
from tests.support.machine import made_once

ROOT = Path(__file__).parents[2]
PARTS = functools.cache(bundle.parts)


@dataclass(frozen=True, slots=True)
class Keys:
    """A pair of keys, made by openssl.

    Attributes:
        private: the maker's file.
        trusted: folder with the public one, as it lies on a box.
    """

    private: Path
    trusted: Path

    @classmethod
    def make(cls, folder: Path) -> "Keys":
        """Into a new folder."""
        keys = cls(folder / "key.pem", folder / "trusted")
        keys.trusted.mkdir(parents=True)
        openssl("genpkey", "-algorithm", "ed25519", "-out", str(keys.private))
        public = str(keys.trusted / "maker.pem")
        openssl("pkey", "-in", str(keys.private), "-pubout", "-out", public)
        return keys


def openssl(*words: str) -> str:
    """What the real program says."""
    done = subprocess.run(["openssl", *words], check=True, capture_output=True, text=True)
    return done.stdout


def write_wheel(folder: Path, name: str, version: str, code: str = "") -> Path:
    """A real wheel of one module; `main` in its code becomes a command of that name."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    package = "appliance" if module == "vision_appliance" else module
    files = {
        f"{package}/__init__.py": textwrap.dedent(code),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{package} = {package}:main\n",
    }
    lines = [f"{path},{_digest(text)},{len(text.encode())}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""])
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return wheel


def write_parts(folder: Path, version: str, code: str = "") -> tuple[Path, Path]:
    """A lock of one package, and a folder with its wheel and the appliance's own."""
    wheels, lock = folder / "wheels", folder / "lock.txt"
    part = write_wheel(wheels, "small-part", "1.0")
    write_wheel(wheels, "vision-appliance", version, code)
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    lock.write_text(f"small-part==1.0 \\\n    --hash=sha256:{digest}\n")
    return lock, wheels


def write_bundle(folder: Path, keys: Keys, version: str, *, code: str = "", **options) -> Path:
    """A bundle of these parts."""
    lock, wheels = write_parts(folder / version, version, code)
    out = folder / f"{version}.bundle"
    models = options.pop("models", {})
    with patch("appliance.delivery.bundle.parts", PARTS):  # the same lock each time
        make_bundle(out, release_of(lock, wheels), models, key=keys.private, **options)
    return out


def real_parts(folder: Path, version: str) -> tuple[Path, Path]:
    """The lock of this checkout, and a folder with all its wheels and that of the checkout.

    Wheels are downloaded once and kept; the checkout is taken as if it were `version`.
    """
    (folder / "checkout").mkdir(parents=True)
    lock = ROOT / "requirements" / "cpu.txt"
    wheels, checkout = folder / "wheels", folder / "checkout"
    shutil.copytree(kept_wheels("cpu"), wheels, copy_function=os.link)
    for name in ("appliance", "models", "pyproject.toml", "README.md", "LICENSE"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(ROOT / name, checkout / name)
    about = checkout / "appliance" / "__init__.py"
    text = about.read_text().replace(f'"{__version__}"', f'"{version}"')
    about.write_text(text)
    options = ("--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={wheels}")
    _pip("wheel", *options, str(checkout))
    return lock, wheels


def kept_wheels(name: str) -> Path:
    """A folder with the wheels of requirements/<name>.txt: downloaded once, and kept."""
    lock = ROOT / "requirements" / f"{name}.txt"
    kept = debian.kept_dir() / f"wheels-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    with made_once(kept):
        if not kept.is_dir():
            partial = kept.with_suffix(f".{os.getpid()}")
            options = ("--quiet", "--only-binary=:all:", "--require-hashes")
            _pip("download", *options, f"--requirement={lock}", f"--dest={partial}")
            partial.rename(kept)
    return kept


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    subprocess.run(command, check=True, timeout=600)


def members_of(archive: Path) -> dict[str, bytes]:
    """The contents of an archive, in its order."""
    with tarfile.open(archive) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}


def archive_of(*entries: tuple[tarfile.TarInfo | str, bytes]) -> io.BytesIO:
    """An archive of any entries at all, to be read from its beginning."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for entry, content in entries:
            member = tarfile.TarInfo(entry) if isinstance(entry, str) else entry
            member.size = member.size or len(content)
            tar.addfile(member, io.BytesIO(content.ljust(member.size, b"\0")))
    stream.seek(0)
    return stream


def _digest(text: str) -> str:
    raw = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
