"""The state folder's mark: which form its contents have."""

import tempfile
from pathlib import Path
from typing import Final

from appliance.catalog.files import put_in_place, read_plain
from appliance.delivery.swap import undo_alone
from appliance.errors import StoreError
from appliance.stores import form as database

FORM: Final = 1  # one more whenever an older release would misread what this one writes
MARK_FILE: Final = "form"
MARK_BYTES: Final = 100

ANOTHER_HINT: Final = "or name another folder in APPLIANCE_PATHS__STATE."


def claim_state(folder: Path) -> None:
    """Mark a folder that has no mark; leave one alone that this release can read.

    Where a restore was cut off, what was there before it is brought back first.

    Raises:
        StoreError: a newer release has written there, or the mark is damaged or cannot be written.
    """
    undo_alone(folder)
    mark = folder / MARK_FILE
    try:
        content = read_plain(mark, limit_bytes=MARK_BYTES, follow_links=True)
        text = content.decode(errors="replace").strip()
    except FileNotFoundError:
        _write(mark)
        text = str(FORM)
    except OSError as error:
        raise StoreError(
            f"{mark}: cannot be read ({error.strerror})",
            hint=f"Give the folder to the user of the station, {ANOTHER_HINT}",
        ) from error
    if not text.isdecimal() or not text.isascii():
        raise StoreError(
            f"{mark}: expected a whole number, got something else",
            hint=f"Bring the folder back from a copy, {ANOTHER_HINT}",
        )
    _refuse_newer(folder, int(text), FORM)
    _refuse_newer(folder / database.NAME, database.form_of(folder), database.FORM)


def _refuse_newer(place: Path, found: int, known: int) -> None:
    if found > known:
        raise StoreError(
            f"{place}: expected what this release can read (form {known} or older), "
            f"got form {found} of a newer one",
            hint=f"Run the newer release again, {ANOTHER_HINT}",
        )


def _write(mark: Path) -> None:
    try:
        with tempfile.TemporaryDirectory(prefix=".form-", dir=mark.parent) as work:
            made = Path(work) / MARK_FILE
            made.write_text(f"{FORM}\n", encoding="utf-8")
            put_in_place(made, mark)
    except OSError as error:
        raise StoreError(
            f"{mark.parent}: cannot be written ({error.strerror})",
            hint=f"Free space there and make it writable, {ANOTHER_HINT}",
        ) from error
