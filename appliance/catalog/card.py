"""A model's card: what is known of a foreign model, written beside it as model.toml.

The foreign file says little of itself; the card says how its input is prepared, which head
decodes its output and where it comes from.
"""

import difflib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, is_dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal, get_args, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, to_json

from appliance.catalog.files import read_plain
from appliance.catalog.labels import MAX_TEXT_BYTES, read_label_file
from appliance.catalog.origins.kinds import Origin, Strict
from appliance.errors import ModelError
from appliance.geometry import FitMode
from appliance.nms import NmsMode

CARD_FILE: Final = "model.toml"
NAME_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9-]*")
ORIGIN_KINDS: Final = ("npm", "wheel", "https", "file")  # pydantic puts them into error paths
PYDANTIC_WORDS: Final = re.compile(r"^\w+ should (be |have )?(a valid )?| after validation.*")
MAX_ROWS: Final = 3840  # the most rows that TopK takes on every backend
PLANNED_TASKS: Final = (
    "oriented_detection",
    "pose",
    "instance_segmentation",
    "semantic_segmentation",
    "classification",
    "anomaly",
)


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
        fit: how the whole frame meets the size.
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
    interpolation: Interpolation = Interpolation.LINEAR
    pad_value: Annotated[int, Field(ge=0, le=255)] = 114
    mean: tuple[Mean, Mean, Mean] = (0.0, 0.0, 0.0)
    std: tuple[Std, Std, Std] = (1.0, 1.0, 1.0)


@Strict
@dataclass(frozen=True, slots=True)
class DetectionCard:
    """How candidates become detections.

    Attributes:
        nms: which boxes may suppress each other.
        iou: overlap from which they do.
        max_detections: rows kept after suppression.
        candidates: rows that the head leaves for suppression.
        multi_label: one place may hold several classes.
        labels: names by class id; from labels_file where that is given.
        labels_file: a text file in the card's folder, one name a line.
    """

    nms: NmsMode = NmsMode.PER_CLASS
    iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    max_detections: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 100
    candidates: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 100
    multi_label: bool = False
    labels: tuple[str, ...] = ()
    labels_file: str | None = None


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
        detection: how its candidates become detections.
        origin: where its files can be had; None where a person brings model.onnx.
    """

    name: str
    title: Annotated[str, Field(min_length=1)]
    license: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    task: Literal["detection"]
    head: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    input: InputCard
    detection: DetectionCard = field(default_factory=DetectionCard)
    origin: Origin | None = None


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
    problems = ["name: unknown key; the folder's name is the name"] if "name" in document else []
    try:
        card = _ADAPTER.validate_json(to_json({**document, "name": name}))
    except ValidationError as error:
        problems += [_problem(detail) for detail in error.errors(include_url=False)]
    if problems:
        raise ModelError(f"{path}: {'; '.join(problems)}", hint="correct the model's card")
    return _with_labels(card, path)


_ADAPTER: Final = TypeAdapter(Card)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = read_plain(path, limit_bytes=MAX_TEXT_BYTES, follow_links=True)
        return tomllib.loads(content.decode())
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read: {error.strerror}",
            hint=f"put a {CARD_FILE} into the model's folder",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"{path}: not a TOML file: {error}", hint="correct the card") from error


def _problem(detail: ErrorDetails) -> str:
    """One finding in our words: key, expected, got."""
    loc = [str(part) for part in detail["loc"] if part not in ORIGIN_KINDS]
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
    planned = " (planned, not there yet)" if detail["input"] in PLANNED_TASKS else ""
    return f"{'.'.join(loc)}: expected {expected}, got {got}{planned}"


def _nearest(key: str) -> str:
    known = dict(_keys(Card, ""))
    matches = difflib.get_close_matches(key, known, n=1)
    return f", did you mean {known[matches[0]]}?" if matches else ""


def _keys(owner: type, prefix: str) -> Iterator[tuple[str, str]]:
    """Every key's own name and its place in the card."""
    for name, kind in get_type_hints(owner).items():
        yield name, prefix + name
        for part in (kind, *get_args(kind)):
            if isinstance(part, type) and is_dataclass(part):
                yield from _keys(part, f"{prefix}{name}.")


def _with_labels(card: Card, path: Path) -> Card:
    """The card with labels_file's names in `labels`."""
    given = card.detection.labels_file
    if given is None:
        return card
    if card.detection.labels:
        raise ModelError(
            f"{path}: detection.labels: expected labels or labels_file, got both",
            hint="remove one of them from the model's card",
        )
    if PurePosixPath(given).name != given or given == "..":
        raise ModelError(
            f"{path}: detection.labels_file: expected a file name, got {given!r}",
            hint="put the file into the model's folder",
        )
    names = read_label_file(path.with_name(given))
    return replace(card, detection=replace(card.detection, labels=names))
