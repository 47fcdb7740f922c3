"""A model's card: what is known of a foreign model, written beside it as model.toml.

The foreign file says little of itself; the card says how its input is prepared, which head
decodes its output and where it comes from.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, TypeVar, get_args, get_type_hints

from pydantic import Field, SkipValidation, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, to_json

from appliance.catalog.files import read_plain
from appliance.catalog.labels import MAX_TEXT_BYTES, read_label_file
from appliance.catalog.origins.kinds import Origin
from appliance.errors import ModelError
from appliance.geometry import FitMode
from appliance.tasks import Strict, Table, known

CARD_FILE: Final = "model.toml"
NAME_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9-]*")
ORIGIN_KINDS: Final = ("npm", "wheel", "https", "file")  # pydantic puts them into error paths
PYDANTIC_WORDS: Final = re.compile(r"^\w+ should (be |have )?(a valid )?| after validation.*")
PLANNED_TASKS: Final = (
    "oriented_detection",
    "pose",
    "instance_segmentation",
    "semantic_segmentation",
    "anomaly",
)
T = TypeVar("T", bound=Table)
K = TypeVar("K")


class Layout(StrEnum):
    """Axis order of the foreign model's image input."""

    NHWC = "nhwc"
    NCHW = "nchw"


class Channels(StrEnum):
    """Channel order of the foreign model's image input."""

    RGB = "rgb"
    BGR = "bgr"


class Interpolation(StrEnum):
    """How a frame is resized to the input."""

    LINEAR = "linear"
    AREA = "area"


Side = Annotated[int, Field(ge=16, le=8192)]
Mean = Annotated[float, Field(ge=-1e6, le=1e6)]
Std = Annotated[float, Field(gt=0, le=1e6)]


@Strict
@dataclass(frozen=True, slots=True)
class InputCard:
    """How a frame becomes the foreign model's input: fitted, ordered, (x - mean) / std.

    Attributes:
        size_wh: pixels.
        name: the image input's name; None where the model has but one input.
        layout: axis order.
        channels: channel order.
        fit: how a frame meets the size.
        crop: where its center alone does, the share of each side that is taken: 0.875 where the
            authors resize the shorter side to 256 and take the center of 224.
        interpolation: how it is resized.
        pad_value: gray value around a letterboxed frame, 0..255.
        mean: per channel in the model's channel order, on the scale 0..255.
        std: per channel in the model's channel order, on the scale 0..255.
    """

    size_wh: tuple[Side, Side]
    name: str | None = None
    layout: Layout = Layout.NCHW
    channels: Channels = Channels.RGB
    fit: FitMode = FitMode.LETTERBOX
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    interpolation: Interpolation = Interpolation.LINEAR
    pad_value: Annotated[int, Field(ge=0, le=255)] = 114
    mean: tuple[Mean, Mean, Mean] = (0.0, 0.0, 0.0)
    std: tuple[Std, Std, Std] = (1.0, 1.0, 1.0)


@Strict
@dataclass(frozen=True, slots=True)
class Card:
    """What is known of one model.

    Attributes:
        name: its folder's name; not written in the card.
        title: for people.
        license: the weights' license.
        source: where it is from, for people.
        task: what it does.
        head: the family that decodes its outputs; the optimizer knows the families.
        input: how its input is prepared.
        origin: where its files can be had; None where a person brings model.onnx.
        table: what is said for its task alone, in the card under the task's name.
    """

    name: str
    title: Annotated[str, Field(min_length=1)]
    license: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    task: str
    head: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    input: InputCard
    origin: Origin | None = None
    table: SkipValidation[Table] = field(default_factory=Table)

    def table_of(self, kind: type[T]) -> T:
        """The task's own table.

        Raises:
            ModelError: the card's task has another one.
        """
        if not isinstance(self.table, kind):
            raise ModelError(
                f"task: expected one with {kind.__name__}, got {self.task}",
                hint="correct task or head in the model's card",
            )
        return self.table


def read_card(path: Path) -> Card:
    """The card at `path`; its name is the folder's.

    Raises:
        ModelError: with every problem of the card at once, each with key, expected and got.
    """
    name = path.parent.name
    if not NAME_PATTERN.fullmatch(name):
        raise ModelError(
            f"{path}: the folder's name: expected a-z, 0-9 and -, got {name!r}",
            hint="rename the model's folder",
        )
    document = _load(path)
    task, tables = document.get("task"), known()
    own = {key: document.pop(key) for key in list(document) if key in tables}
    problems = list(_misplaced(document, own, tables))
    card = _validated(Card, {**document, "name": name}, "", problems)
    table = None
    if isinstance(task, str) and task in tables:
        table = _validated(tables[task].table, own.get(task, {}), task, problems)
    if card is None or table is None or problems:
        raise ModelError(f"{path}: {'; '.join(problems)}", hint="correct the model's card")
    return replace(card, table=_with_labels(table, card.task, path))


def _misplaced(
    document: Mapping[str, Any], own: Mapping[str, Any], tables: Iterable[str]
) -> Iterator[str]:
    """What is wrong with a card's task, and with keys that belong elsewhere."""
    if "name" in document:
        yield "name: unknown key; the folder's name is the name"
    if "table" in document:
        yield "table: unknown key"
    if "task" not in document:
        return
    task = document["task"]
    if not isinstance(task, str) or task not in tables:
        planned = " (planned, not there yet)" if task in PLANNED_TASKS else ""
        expected = " or ".join(map(repr, tables))
        yield f"task: expected {expected}, got {repr(task)[:80]}{planned}"
        return
    for name in own.keys() - {task}:
        yield f"{name}: unknown key, where the task is {task}"


def _validated(kind: type[K], value: object, at: str, problems: list[str]) -> K | None:
    """`value` as `kind`; None where `problems` have grown."""
    try:
        return TypeAdapter(kind).validate_json(to_json(value))
    except ValidationError as error:
        problems += [_problem(detail, at) for detail in error.errors(include_url=False)]
        return None


def _load(path: Path) -> dict[str, Any]:
    try:
        content = read_plain(path, limit_bytes=MAX_TEXT_BYTES, follow_links=True)
        return tomllib.loads(content.decode())
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read: {error.strerror}",
            hint=f"put a {CARD_FILE} into the model's folder",
        ) from error
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, of a number's length
        raise ModelError(f"{path}: not a TOML file: {error}", hint="correct the card") from error


def _problem(detail: ErrorDetails, at: str) -> str:
    """One finding in our words: key, expected, got."""
    loc = [at] if at else []
    loc += [str(part) for part in detail["loc"] if part not in ORIGIN_KINDS]
    match detail["type"]:
        case "unexpected_keyword_argument":
            return f"{'.'.join(loc)}: unknown key{_nearest(loc[-1])}"
        case "missing" | "missing_argument":
            return f"{'.'.join(loc)}: expected a value, got none"
        case "union_tag_not_found" | "union_tag_invalid":
            loc, expected = [*loc, "kind"], f"one of {', '.join(ORIGIN_KINDS)}"
            got = detail.get("ctx", {}).get("tag", "none")
        case _:
            expected = PYDANTIC_WORDS.sub("", detail["msg"])
            got = repr(detail["input"])[:80]
    return f"{'.'.join(loc)}: expected {expected}, got {got}"


def _nearest(key: str) -> str:
    places = dict(_keys(Card, ""))
    for task in known().values():
        places.update(_keys(task.table, f"{task.name}."))
    matches = difflib.get_close_matches(key, places, n=1)
    return f", did you mean {places[matches[0]]}?" if matches else ""


def _keys(owner: type, prefix: str) -> Iterator[tuple[str, str]]:
    """Every key's own name and its place in the card."""
    for name, kind in get_type_hints(owner).items():
        yield name, prefix + name
        for part in (kind, *get_args(kind)):
            if isinstance(part, type) and is_dataclass(part):
                yield from _keys(part, f"{prefix}{name}.")


def _with_labels(table: Table, task: str, path: Path) -> Table:
    """The table with labels_file's names in `labels`."""
    given = table.labels_file
    if given is None:
        return table
    if table.labels:
        raise ModelError(
            f"{path}: {task}.labels: expected labels or labels_file, got both",
            hint="remove one of them from the model's card",
        )
    if PurePosixPath(given).name != given or given in {"", ".."} or not given.isprintable():
        raise ModelError(
            f"{path}: {task}.labels_file: expected a file name, got {given!r}",
            hint="put the file into the model's folder",
        )
    return replace(table, labels=read_label_file(path.with_name(given)))
