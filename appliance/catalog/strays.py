"""What lies among a station's models and is none, because its card is missing or has no place."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.catalog.card import CARD_FILE, NAME_PATTERN
from appliance.errors import escaped

WEIGHTS_KINDS = {".onnx", ".pt", ".pth", ".engine", ".plan", ".tflite", ".h5", ".keras"}
MOST = 20  # that are told


@dataclass(frozen=True, slots=True)
class Stray:
    """One of them.

    Attributes:
        name: of the file or folder, as far as it can be printed.
        reason: why it is no model.
        hint: what to do.
    """

    name: str
    reason: str
    hint: str

    def sentence(self) -> str:
        """All of it in a line."""
        return f"models/{self.name}: {self.reason}. {self.hint}"


def strays(folder: Path, known: Collection[str]) -> tuple[Stray, ...]:
    """The first of them by name.

    Args:
        folder: the models of this station.
        known: the names of models that have a card.
    """
    try:
        places = sorted(folder.iterdir())
    except OSError:
        return ()  # there is none, or nobody may look
    found = (stray for place in places if place.name not in known for stray in _stray(place))
    return tuple(stray for stray, _ in zip(found, range(MOST), strict=False))


def _stray(place: Path) -> Iterator[Stray]:
    name = place.name
    printed = escaped(name) if name.isprintable() else ascii(name)
    if place.name.startswith("."):
        return
    if place.is_file() and place.suffix.lower() in WEIGHTS_KINDS:
        yield Stray(
            printed,
            "a file alone is no model",
            f"Make a folder for it with model.onnx and a card, {CARD_FILE}: docs/heads.md.",
        )
    elif place.is_dir() and _holds_one(place):
        has_card = (place / CARD_FILE).is_file()
        if not has_card:
            yield Stray(printed, "it has no card", f"Write its {CARD_FILE}: docs/heads.md.")
        elif not NAME_PATTERN.fullmatch(name):
            yield Stray(printed, "its name is no model's", "Rename it: a-z, 0-9 and - are taken.")


def _holds_one(folder: Path) -> bool:
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return False
    kinds = {Path(name).suffix.lower() for name in names}
    return CARD_FILE in names or bool(kinds & WEIGHTS_KINDS)
