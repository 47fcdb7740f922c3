"""What an engine depends on, all of it: its name in the cache.

What the code does is named by versions, each a constant VERSION beside the code that it stands
for. Another comment is the same engine; tests/golden/versions.json holds what each version does.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import appliance
from appliance.catalog.card import Card
from appliance.errors import ApplianceError

VERSION = re.compile(r"^VERSION: Final = (\d+)\b", re.MULTILINE)
SHARED: Mapping[str, str] = {  # rules of every engine, by the module that says the version
    "canonical": "optimizer/canonical.py",
    "fp16": "optimizer/precision/fp16.py",
    "gate": "optimizer/verification.py",
    "geometry": "geometry.py",
    "int8": "optimizer/precision/int8.py",
    "letterbox": "letterbox.py",
    "reference": "optimizer/reference.py",
    "suppression": "nms.py",
}


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything an engine depends on.

    Two builds of one thing may differ in bytes, so the inputs are named, never the result.

    Attributes:
        model: the model's name.
        weights_sha256: of the foreign ONNX with its side files.
        card_sha256: of the card as it was read, labels included.
        rules: versions of the code that makes and proves engines, as "canonical 1, fp16 1".
        backend: as "tensorrt".
        backend_version: of its library.
        precision: what was asked for, as "auto".
        options: of the build, and the limits of the gate.
        bound_to: the device, and what lies between it and the library; empty where an engine
            runs on every device of its backend.
    """

    model: str
    weights_sha256: str
    card_sha256: str
    rules: str
    backend: str
    backend_version: str
    precision: str
    options: str
    bound_to: str

    def digest(self) -> str:
        """A short name for the folder."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def versions_of(card: Card, backend: str) -> dict[str, int]:
    """The version of each rule that an engine and its proof rest on, by the rule's name.

    Args:
        card: names head and task.
        backend: as "tensorrt".
    """
    places = {
        **SHARED,
        f"head {card.head}": f"optimizer/heads/{card.head}.py",
        f"task {card.task}": f"tasks/{card.task}.py",
        f"measure {card.task}": f"optimizer/measures/{card.task}.py",
        f"backend {backend}": f"engines/{backend}.py",
    }
    return {name: version_in(place) for name, place in sorted(places.items())}


def version_in(place: str) -> int:
    """A module's VERSION, read from its text: heads load libraries that a station does without.

    Args:
        place: the module's file below the package.

    Returns:
        0 where there is no such module: whoever needs it says so.
    """
    path = Path(appliance.__file__).parent / place
    if not path.is_file():
        return 0
    found = VERSION.search(path.read_text(encoding="utf-8"))
    if found is None:
        raise ApplianceError(f"{place}: expected a VERSION, got none")
    return int(found[1])
