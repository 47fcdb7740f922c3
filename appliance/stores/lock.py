"""One process has a state folder, and no other."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from appliance.errors import StoreError

LOCK: Final = "lock"


@contextmanager
def alone_in(state: Path) -> Iterator[None]:
    """Hold the state folder for this process.

    Raises:
        StoreError: another one holds it.
    """
    with (state / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(
                f"another station runs on {state}",
                hint="Stop it first, or give this one its own APPLIANCE_PATHS__STATE.",
            ) from error
        yield
