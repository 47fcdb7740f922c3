"""The station as a service that can be stopped and started, and tried beforehand."""

import re
import subprocess
from pathlib import Path
from typing import Final, Protocol

from appliance.catalog.files import read_plain
from appliance.errors import DeliveryError

UNIT: Final = "appliance.service"
SAID: Final = Path("/run/appliance-trial.txt")  # where that unit says what it says
SAID_BYTES: Final = 64 * 1024
PATIENCE_S: Final = 300.0


class Service(Protocol):
    """Whoever runs the station."""

    def stop(self) -> None:
        """End it, and wait until it has ended."""

    def start(self) -> None:
        """Begin to start it as the link `current` says; does not wait."""

    def try_out(self, version: str) -> None:
        """Have an installed release look at this box's settings, as the service's own user.

        Raises:
            DeliveryError: it does not like them.
        """


class Systemd:
    """The service manager of a host."""

    def stop(self) -> None:
        """As promised."""
        _systemctl("stop", UNIT)

    def start(self) -> None:
        """As promised."""
        _systemctl("reset-failed", UNIT, check=False)  # knows no unit that is not loaded
        _systemctl("start", "--no-block", UNIT)

    def try_out(self, version: str) -> None:
        """As promised."""
        done = _systemctl("start", unit_name(version), check=False)
        if done.returncode == 0:
            return
        try:
            said = read_plain(SAID, limit_bytes=SAID_BYTES).decode(errors="replace").splitlines()
        except OSError:
            said = []
        reason = next((line for line in said if line.startswith("error: ")), "it does not start")
        raise DeliveryError(
            f"release {version} does not take this box's settings: "
            f"{reason.removeprefix('error: ')[:300]}",
            hint="Set right what it names, then bring the bundle again.",
        )


def unit_name(version: str) -> str:
    """The unit that tries a release out; in names of units not every character may stand."""
    escaped = re.sub(r"[^\w.]", lambda found: f"\\x{ord(found[0]):02x}", version, flags=re.ASCII)
    return f"appliance-trial@{escaped}.service"


def _systemctl(*words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    command = ("/usr/bin/systemctl", *words)
    try:
        return subprocess.run(  # noqa: S603 - a fixed program, fixed words
            command, check=check, capture_output=True, text=True, timeout=PATIENCE_S
        )
    except subprocess.CalledProcessError as error:
        raise DeliveryError(
            f"systemctl: {error.stderr.strip()}", hint="See the journal."
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeliveryError(f"systemctl: {error}", hint="See the journal.") from error
