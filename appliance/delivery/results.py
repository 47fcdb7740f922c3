"""What became of updates: the newest last, for the page, the log and whoever brought the file."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from appliance.catalog.files import put_in_place, read_plain
from appliance.redaction import one_line

FOLDER: Final = Path("/var/lib/vision-appliance-update")
RESULTS: Final = "results.jsonl"
KEPT: Final = 100
LONGEST: Final = 1000  # characters of one text: a name and a reason come from whoever brought it
MOST_BYTES: Final = 4 * 1024 * 1024


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
    """Add a result, with its texts as they can be shown; all may read it."""
    lines = [json.dumps(asdict(each)) for each in (*_results(folder), _shown(result))]
    made = folder / f"{RESULTS}.new"
    made.write_text("".join(f"{line}\n" for line in lines[-KEPT:]), encoding="utf-8")
    made.chmod(0o644)
    put_in_place(made, folder / RESULTS)


def _results(folder: Path) -> Iterator[UpdateResult]:
    """Those that can be read; a damaged line hides no other."""
    try:
        lines = read_plain(folder / RESULTS, limit_bytes=MOST_BYTES).splitlines()
    except OSError:
        return
    for line in lines:
        try:
            result = UpdateResult(**json.loads(line))
        except (ValueError, TypeError, RecursionError):
            continue
        if _is_whole(result):
            yield _shown(result)


def _is_whole(result: UpdateResult) -> bool:
    """Whether each value is of its kind, and the time is one."""
    values = asdict(result)
    is_done = values.pop("is_done")
    if not isinstance(is_done, bool) or not all(isinstance(text, str) for text in values.values()):
        return False
    try:
        at = datetime.fromisoformat(result.at)
    except ValueError:
        return False
    return at.tzinfo is not None and 2000 <= at.year < 9999


def _shown(result: UpdateResult) -> UpdateResult:
    """With every letter escaped that cannot be shown, as in a name that is no UTF-8."""
    values: dict[str, Any] = {
        name: one_line(value[:LONGEST]) if isinstance(value, str) else value
        for name, value in asdict(result).items()
    }
    return UpdateResult(**values)
