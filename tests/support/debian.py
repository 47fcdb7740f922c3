"""Fresh Debian trees, made once by mmdebstrap and kept between runs, outside the checkout."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import platformdirs
import pytest

SUITE = "bookworm"


def archive(*packages: str) -> Path:
    """A tar archive of Debian's smallest system with `packages`; skips where it cannot be made."""
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        pytest.skip("mmdebstrap as root is needed to make a Debian tree")
    named = ",".join(sorted(packages))
    key = hashlib.sha256(f"{SUITE} {named}".encode()).hexdigest()[:16]
    path = kept_dir() / f"{SUITE}-{key}.tar"
    if not path.exists():
        partial = path.with_suffix(f".{os.getpid()}")
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={named}"]
        subprocess.run([*command, "--format=tar", SUITE, str(partial)], check=True, timeout=600)
        partial.rename(path)
    return path


def tree(folder: Path, *packages: str) -> Path:
    """The same, as a folder that can be booted or entered; `folder` is made."""
    folder.mkdir(parents=True)
    command = ["tar", "--extract", "--numeric-owner", "--file", str(archive(*packages))]
    subprocess.run([*command, "--directory", str(folder)], check=True, timeout=300)
    return folder


def kept_dir() -> Path:
    """Where trees, layers and downloads of tests are kept from one run to the next."""
    return platformdirs.user_cache_path("vision-appliance-tests", ensure_exists=True)
