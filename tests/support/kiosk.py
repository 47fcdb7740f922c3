"""The host's own screen: how its browser gets in."""

import os
import subprocess
from pathlib import Path
from typing import Any

import httpx

from tests.support.process import KIOSK_KEY

SCRIPT = Path(__file__).parents[2] / "systemd" / "kiosk-page.sh"


def cookie_of(kiosk: str) -> str:
    """The Cookie header of a browser that has brought the key."""
    answer = httpx.post(f"{kiosk}/enter", data={"key": KIOSK_KEY}, timeout=10)
    assert answer.status_code == 303, answer.text
    return answer.headers["set-cookie"].partition(";")[0]


def let_in(page: Any, kiosk: str) -> None:
    """Bring the key for a browser's window, and leave its page as it is."""
    assert page.request.post(f"{kiosk}/enter", form={"key": KIOSK_KEY}).ok


def write_entry_page(folder: Path, kiosk: str, key: str = KIOSK_KEY, *, end: str = "\n") -> Path:
    """The page with which the unit lets its browser begin, written by the unit's own script."""
    (folder / "kiosk__key").write_text(f"{key}{end}")
    variables = {"CREDENTIALS_DIRECTORY": str(folder), "RUNTIME_DIRECTORY": str(folder)}
    environ = {"PATH": os.defpath, "KIOSK_URL": f"{kiosk}/", **variables}
    subprocess.run(["sh", str(SCRIPT)], env=environ, check=True)
    return folder / "kiosk.html"
