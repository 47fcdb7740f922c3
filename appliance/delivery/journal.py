"""Where an update stands, so that the next start knows after a power cut."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from loguru import logger

from appliance.catalog.files import put_in_place

JOURNAL: Final = "journal.json"


class Step(StrEnum):
    """What is being done."""

    PREPARING = "preparing"  # the running release is not touched yet
    SWITCHING = "switching"  # the links may say the one or the other
    WATCHING = "watching"  # the new one runs, and has to prove itself
    RETURNING = "returning"  # it did not
    CONFIRMING = "confirming"  # it did


@dataclass(frozen=True, slots=True)
class Entry:
    """One update under way.

    Attributes:
        step: what is being done.
        order: name of the file in the inbox that asked for it.
        old: version that ran before; empty while it is prepared.
        new: version that shall run; empty while it is not known.
        was_ready: whether the old one was ready.
        tries: how often it was begun, or watched.
        is_old_state: whether the new one got the state back that it had once.
        why: what went wrong, once it is undone.
    """

    step: Step
    order: str
    old: str = ""
    new: str = ""
    was_ready: bool = True
    tries: int = 1
    is_old_state: bool = False
    why: str = ""


class Journal:
    """The entry, or none, in one file.

    Args:
        folder: where the file lies.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL

    def read(self) -> Entry | None:
        """What is under way; nothing where nothing is, or where it cannot be understood."""
        try:
            fields = json.loads(self._path.read_text(encoding="utf-8"))
            return Entry(**{**fields, "step": Step(fields["step"])})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):  # a disk that fails: no update may hang on it
            logger.error("update: {} is damaged, so what was under way is not known", self._path)
            return None

    def write(self, entry: Entry) -> None:
        """Replace it, on the disk."""
        made = self._path.with_suffix(".new")
        made.write_text(json.dumps(asdict(entry)), encoding="utf-8")
        put_in_place(made, self._path)

    def clear(self) -> None:
        """Nothing is under way any more."""
        self._path.unlink(missing_ok=True)
