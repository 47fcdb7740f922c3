"""Installs an unpacked bundle as a release of its own, beside the one that runs; no network."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from appliance.delivery.bundle import MODELS, REQUIREMENTS, WHEELS
from appliance.errors import DeliveryError

TIMEOUT_S: Final = 3600.0
PATH: Final = "/usr/local/bin:/usr/bin:/bin"

Install: TypeAlias = Callable[[Path, Path], None]
"""From the folder of an unpacked bundle into a folder that does not exist yet."""


def install(unpacked: Path, folder: Path) -> None:
    """Make an environment at `folder`, which it can never leave, and fill it from the bundle.

    Raises:
        DeliveryError: it cannot be made; half of it may be there.
    """
    _run([sys.executable, "-m", "venv", *_as_here(), str(folder)])
    _run(
        [
            *(str(folder / "bin" / "python"), "-m", "pip", "--isolated", "--quiet", "install"),
            *("--no-index", "--require-hashes", "--no-cache-dir", "--disable-pip-version-check"),
            f"--find-links={unpacked / WHEELS}",
            f"--requirement={unpacked / REQUIREMENTS}",
        ]
    )
    models = unpacked / MODELS
    if models.is_dir():
        (place,) = folder.glob("lib/python3*/site-packages/appliance")
        shutil.copytree(models, place / MODELS, dirs_exist_ok=True)


def _as_here() -> list[str]:
    """A box whose packages come with its system goes on to use them."""
    own = Path(sys.prefix, "pyvenv.cfg")
    is_shared = own.is_file() and "include-system-site-packages = true" in own.read_text()
    return ["--system-site-packages"] if is_shared else []


def _run(command: Sequence[str]) -> None:
    # Nothing that somebody configured for pip on this box may have a say.
    environ = {"PATH": PATH, "PIP_CONFIG_FILE": os.devnull, "LANG": "C.UTF-8"}
    try:
        subprocess.run(  # noqa: S603 - an argument list, made above
            command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S, env=environ
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr + error.stdout).strip().splitlines()
        reason = next((line for line in said if "ERROR" in line), (said or ["no word"])[-1])
        raise DeliveryError(
            f"it cannot be installed here: {reason.removeprefix('ERROR: ')[:300]}",
            hint="Is there room on the disk? Then tell its maker.",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise DeliveryError("installing it took too long", hint="Is the disk healthy?") from error
