"""What lies among a station's models and is none, because its card is missing or has no place."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
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
    names = sorted(_names_in(folder))
    found = (_stray(folder / name) for name in names if name not in known)
    return tuple(islice(filter(None, found), MOST))


def _stray(place: Path) -> Stray | None:
    name = place.name
    if name.startswith("."):
        return None
    printed = escaped(name) if name.isprintable() else ascii(name)
    if _is_weights(name) and place.is_file():
        return Stray(
            printed,
            "a file alone is no model",
            f"Make a folder for it with model.onnx and a card, {CARD_FILE}: docs/heads.md.",
        )
    inside = _names_in(place)
    if CARD_FILE not in inside and any(map(_is_weights, inside)):
        return Stray(printed, "it has no card", f"Write its {CARD_FILE}: docs/heads.md.")
    if CARD_FILE in inside and not NAME_PATTERN.fullmatch(name):
        return Stray(printed, "its name is no model's", "Rename it: a-z, 0-9 and - are taken.")
    return None


def _is_weights(name: str) -> bool:
    return Path(name).suffix.lower() in WEIGHTS_KINDS


def _names_in(folder: Path) -> list[str]:
    """Empty where there is no such folder, or nobody may look."""
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []
