"""The releases that are installed on a host, and which of them runs.

    ROOT/releases/<version>/    one environment each; the file `complete` is written last
    ROOT/current                -> releases/<version>: runs
    ROOT/previous               -> the one before, to go back to
    ROOT/updater                -> while a new one has not proven itself: the one that watches it
    ROOT/newest                 the highest version that was ever confirmed: root's word, not a link

A link is changed in one step, so after a power cut it leads to the one or the other.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loguru import logger
from packaging.version import InvalidVersion, Version

from appliance.catalog.files import put_in_place, sync
from appliance.errors import DeliveryError

CURRENT: Final = "current"
PREVIOUS: Final = "previous"
UPDATER: Final = "updater"
COMPLETE: Final = "complete"
NEWEST: Final = "newest"


@dataclass(frozen=True, slots=True)
class Releases:
    """What lies below one folder.

    Attributes:
        root: the folder.
    """

    root: Path

    def folder(self, version: str) -> Path:
        """Where a release lies, or would."""
        return self.root / "releases" / version

    def is_complete(self, version: str) -> bool:
        """Whether it is there as a whole."""
        return (self.folder(version) / COMPLETE).is_file()

    def running(self) -> str:
        """The version of the one that runs.

        Raises:
            DeliveryError: none is installed as updates expect it.
        """
        version = self.led_to(CURRENT)
        if not version:
            raise DeliveryError(
                f"{self.root / CURRENT} leads to no release",
                hint="Install the appliance there once by: make install",
            )
        return version

    def led_to(self, link: str) -> str:
        """The version behind a link; empty where there is none that is complete."""
        version = self._target(link)
        return version if version and self.is_complete(version) else ""

    def newest(self) -> str:
        """The highest version that was ever confirmed here; no older one runs without a word of it.

        Raises:
            DeliveryError: none runs.
        """
        known = (self._noted(), self.running(), self.led_to(PREVIOUS))
        return max(filter(None, known), key=Version)

    def confirm(self, *versions: str) -> None:
        """Note releases that have proven themselves here; the highest is kept for ever."""
        newest = max((*versions, self.newest()), key=Version)
        if newest != self._noted():
            made = self.root / f".{NEWEST}.new"
            made.write_text(f"{newest}\n", encoding="utf-8")
            put_in_place(made, self.root / NEWEST)

    def lead(self, link: str, version: str) -> None:
        """Have a link lead to a release, in one step."""
        made = self.root / f".{link}.new"
        made.unlink(missing_ok=True)
        made.symlink_to(Path("releases", version))
        made.replace(self.root / link)
        sync(self.root)

    def drop(self, link: str) -> None:
        """Have a link lead nowhere."""
        (self.root / link).unlink(missing_ok=True)
        sync(self.root)

    def complete(self, version: str) -> None:
        """Mark a release as whole, once everything that was written before is on the disk."""
        os.sync()  # thousands of files; one call for all of them
        mark = self.folder(version) / COMPLETE
        mark.write_text(f"{version}\n", encoding="utf-8")
        sync(mark)
        sync(mark.parent)

    def remove(self, version: str) -> None:
        """Take a release away; the mark first, so that half of one is never taken for one."""
        folder = self.folder(version)
        (folder / COMPLETE).unlink(missing_ok=True)
        if folder.is_dir():
            sync(folder)
            shutil.rmtree(folder)

    def clean(self) -> None:
        """Remove every release that no link leads to."""
        kept = {self._target(link) for link in (CURRENT, PREVIOUS, UPDATER)}
        for folder in (self.root / "releases").glob("*/"):
            if folder.name not in kept and not folder.name.startswith("."):
                self.remove(folder.name)

    def _noted(self) -> str:
        try:
            text = (self.root / NEWEST).read_text(encoding="utf-8", errors="replace").strip()
            return str(Version(text))
        except FileNotFoundError:
            return ""
        except InvalidVersion:
            logger.error("update: {} is damaged; what is installed counts", self.root / NEWEST)
            return ""

    def _target(self, link: str) -> str:
        try:
            return (self.root / link).readlink().name
        except OSError:
            return ""
