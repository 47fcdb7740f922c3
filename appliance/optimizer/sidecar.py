"""What stands beside an engine: from what it was made, what it takes and gives, and its proof.

A sidecar seals itself with its own sum: a flipped bit in it must not pass for a proof.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from appliance.optimizer.key import EngineKey
from appliance.optimizer.verdict import Verification
from appliance.values import ModelContract, TensorSpec

SIDECAR = "engine.json"
REPORT = "report.html"
REPORT_FIGURES = "report.json"
SCHEMA = 6


@dataclass(frozen=True, slots=True)
class EngineFile:
    """A built engine.

    Attributes:
        path: the file that the backend loads.
        key: what it was made from.
        contract: its inputs and outputs.
        verification: how it compares with the original, in the precision it has.
        refused: the rungs that were tried before, and why they were not taken.
        memory_bytes: what it held on its device when it was verified.
        classes: how many the model tells apart; 0 where it does not say.
        names: of its classes, as the model's file says them; empty where it does not.
    """

    path: Path
    key: EngineKey
    contract: ModelContract
    verification: Verification
    refused: tuple[Verification, ...] = ()
    memory_bytes: int = 0
    classes: int = 0
    names: tuple[str, ...] = ()


def write_sidecar(engine: EngineFile) -> None:
    """Put the sidecar beside the engine's file."""
    document = {
        "schema": SCHEMA,
        "engine": engine.path.name,
        "engine_sha256": file_sha256(engine.path),
        "key": asdict(engine.key),
        "contract": asdict(engine.contract),
        "verification": engine.verification.as_dict(),
        "refused": [each.as_dict() for each in engine.refused],
        "memory_bytes": engine.memory_bytes,
        "classes": engine.classes,
        "names": engine.names,
    }
    engine.path.with_name(SIDECAR).write_text(sealed(document), encoding="utf-8")


def read_sidecar(folder: Path, key: EngineKey) -> EngineFile | None:
    """The engine of `key` in `folder`; None where it is not whole, or another one's."""
    try:
        document = opened((folder / SIDECAR).read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA or document["key"] != asdict(key):
            return None
        path = folder / document["engine"]
        if document["engine_sha256"] != file_sha256(path):
            return None
        return EngineFile(
            path=path,
            key=key,
            contract=_contract(document["contract"]),
            verification=Verification.of(document["verification"]),
            refused=tuple(map(Verification.of, document["refused"])),
            memory_bytes=document["memory_bytes"],
            classes=document["classes"],
            names=tuple(document["names"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # half a folder is no engine: it is built again


def key_of(folder: Path) -> EngineKey | None:
    """What the engine in `folder` was made from, by its sidecar; None where that is not whole."""
    try:
        return EngineKey(**opened((folder / SIDECAR).read_text(encoding="utf-8"))["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def sealed(document: Mapping[str, Any]) -> str:
    """A document as JSON, with the sum of what it says."""
    return json.dumps({**document, "sidecar_sha256": _sum(document)}, indent=2) + "\n"


def opened(text: str) -> dict[str, Any]:
    """The document of a sealed text.

    Raises:
        ValueError: it is no JSON object, or does not say what was sealed.
    """
    document = json.loads(text)
    if not isinstance(document, dict) or document.pop("sidecar_sha256", None) != _sum(document):
        raise ValueError("not what was sealed")
    return document


def file_sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sum(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _contract(document: Mapping[str, Any]) -> ModelContract:
    outputs = tuple(_spec(output) for output in document["outputs"])
    return ModelContract(document["task"], _spec(document["input"]), outputs)


def _spec(document: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(document["name"], tuple(document["shape"]), document["dtype"])
