"""What became of updates: the newest last, for the page, the log and whoever brought the file."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from appliance.catalog.files import put_in_place

FOLDER: Final = Path("/var/lib/vision-appliance-update")
RESULTS: Final = "results.jsonl"
KEPT: Final = 100


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """One thing that was asked for by a file in the inbox.

    Attributes:
        at: when it was decided, UTC, as "2026-11-28T17:00:00+00:00".
        order: the file's name.
        is_done: whether what was asked for was done.
        version: of the release that runs now.
        message: what became of it, in one sentence.
        hint: what a person can do next; may be empty.
    """

    at: str
    order: str
    is_done: bool
    version: str
    message: str
    hint: str = ""


def last_update(folder: Path = FOLDER) -> UpdateResult | None:
    """The newest result on this host; nothing where updates are not done here, or never were."""
    return next(reversed([*_results(folder)]), None)


def record(result: UpdateResult, folder: Path) -> None:
    """Add a result; all may read it."""
    lines = [json.dumps(asdict(each)) for each in (*_results(folder), result)]
    made = folder / f"{RESULTS}.new"
    made.write_text("".join(f"{line}\n" for line in lines[-KEPT:]), encoding="utf-8")
    made.chmod(0o644)
    put_in_place(made, folder / RESULTS)


def _results(folder: Path) -> Iterator[UpdateResult]:
    """Those that can be read; a damaged line hides no other."""
    try:
        lines = (folder / RESULTS).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            yield UpdateResult(**json.loads(line))
        except (ValueError, TypeError):
            continue
