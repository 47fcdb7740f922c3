"""What an engine depends on, all of it: its name in the cache."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import appliance

MAKERS = ("optimizer", "runtimes", "engines")  # the packages whose rules shape an engine


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything an engine depends on.

    Two builds of one thing may differ in bytes, so the inputs are named, never the result.

    Attributes:
        model: the model's name.
        weights_sha256: of the foreign ONNX with its side files.
        card_sha256: of the card as it was read, labels included.
        code_sha256: of the code that makes engines.
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
    code_sha256: str
    backend: str
    backend_version: str
    precision: str
    options: str
    bound_to: str

    def digest(self) -> str:
        """A short name for the folder."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def code_sha256() -> str:
    """Of the source that makes engines: another rule is another engine."""
    digest = hashlib.sha256()
    root = Path(appliance.__file__).parent
    for package in MAKERS:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
