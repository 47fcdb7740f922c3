"""Names of classes: from the operator, the card or the model file, in this order."""

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from appliance.catalog.files import open_plain
from appliance.errors import ModelError
from appliance.redaction import one_line

MAX_TEXT_BYTES: Final = 256 * 1024
MAX_LABELS: Final = 65_536
FILE_HINT: Final = "add a labels.txt beside the model"


class LabelSource(StrEnum):
    """Where the names in use come from, as the page says it."""

    OPERATOR = "the operator's labels.txt"
    CARD = "the model's card"
    FILE = "the model file"
    NONE = "nowhere"


@dataclass(frozen=True, slots=True)
class Labels:
    """The names in use, by class id.

    Attributes:
        names: one per class id from 0; an empty name means that the class has none.
        source: who gave them.
    """

    names: tuple[str, ...]
    source: LabelSource

    def mismatch(self, class_count: int) -> str:
        """One warning to show where names and the model's classes differ in number, else "".

        Args:
            class_count: of the model; 0 where it is unknown.
        """
        if not self.names or not class_count or len(self.names) == class_count:
            return ""
        return (
            f"labels: expected {class_count} names for the model's classes, "
            f"got {len(self.names)} from {self.source}"
        )


def choose_labels(
    *, operator: Sequence[str], card: Sequence[str], embedded: Sequence[str]
) -> Labels:
    """The first that names anything: a person on site knows best, a file's metadata least.

    Letters that cannot be shown are escaped: names go into lines of settings and of the log.
    """
    for names, source in (
        (operator, LabelSource.OPERATOR),
        (card, LabelSource.CARD),
        (embedded, LabelSource.FILE),
    ):
        if names:
            return Labels(tuple(map(one_line, names)), source)
    return Labels((), LabelSource.NONE)


def read_label_file(path: Path) -> tuple[str, ...]:
    """One name a line, the first line for class 0; a blank line leaves its class unnamed.

    Raises:
        ModelError: the file cannot be read, is not UTF-8 text or is too large.
    """
    hint = "give a plain UTF-8 text file with one name a line"
    try:
        with open_plain(path, follow_links=True) as file:
            data = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}", hint=hint) from error
    if len(data) > MAX_TEXT_BYTES:
        raise ModelError(f"{path}: expected at most {MAX_TEXT_BYTES} bytes, got more", hint=hint)
    try:
        lines = data.decode("utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: expected UTF-8 text, got other bytes", hint=hint) from error
    return tuple(line.strip() for line in lines)


def parse_names(text: str) -> tuple[str, ...]:
    """Class names out of a model's metadata: a list or a mapping by id, as Python or JSON.

    The text comes from a stranger: it is read as a literal, never evaluated, and capped.

    Raises:
        ModelError: the text is neither, or too long.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise ModelError(
            f"names in the model file: expected at most {MAX_TEXT_BYTES} characters, "
            f"got {len(text)}",
            hint=FILE_HINT,
        )
    names = _by_id(_literal(text))
    if names is None:
        raise ModelError(
            "names in the model file: expected a list or a mapping by class id, got other text",
            hint=FILE_HINT,
        )
    return names


def _literal(text: str) -> object:
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError):  # Python's own notation, as most exporters write it
        try:
            parsed = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return None
    return parsed


def _by_id(parsed: object) -> tuple[str, ...] | None:
    if isinstance(parsed, list | tuple):
        parsed = dict(enumerate(parsed))
    if not isinstance(parsed, Mapping):
        return None
    names: dict[int, str] = {}
    for key, name in parsed.items():
        if not isinstance(name, str) or not str(key).isdecimal() or len(str(key)) > 5:
            return None
        names[int(key)] = name.strip()
    size = max(names, default=-1) + 1
    return None if size > MAX_LABELS else tuple(names.get(i, "") for i in range(size))
