"""Where finished engines lie, and by which key: all that a running station needs to know of them.

It rewrites no graph and needs no library that does.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, Final

from appliance.catalog.card import Card
from appliance.catalog.inspection import inspect_onnx
from appliance.engines import Backend
from appliance.errors import EngineError
from appliance.optimizer import measures
from appliance.optimizer.cache import EngineCache
from appliance.optimizer.frames import Frames
from appliance.optimizer.key import EngineKey, versions_of
from appliance.optimizer.measures import Limits
from appliance.optimizer.sidecar import EngineFile
from appliance.runtimes import BuildOptions
from appliance.values import Precision

# What a card says for people, of where its files are from, and of what is done after the engine.
BESIDE: Final = frozenset({"title", "license", "source", "origin", "confidence"})


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked of every engine.

    Attributes:
        precision: "auto", or the narrowest one to try.
        limits: how far an engine may be from the original, by precision, of all measures.
        options: of the build.
        threads: CPU threads of one inference; 0 means one per physical core.
    """

    precision: str
    limits: Mapping[Precision, Limits]
    options: BuildOptions = field(default_factory=BuildOptions)
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Shelf:
    """Finished engines.

    Attributes:
        cache: those of this station.
        shipped: where engines lie that were built elsewhere; None where nothing is shipped.
        wishes: what is asked of every engine.
    """

    cache: EngineCache
    shipped: EngineCache | None
    wishes: Wishes

    def key(self, card: Card, weights: Path, backend: Backend) -> EngineKey:
        """What an engine of this model on this backend depends on.

        Raises:
            ModelError: the weights are not a readable ONNX model.
            EngineError: the backend is not installed, or needs a device that is not here.
        """
        return self._key(card, inspect_onnx(weights).sha256, backend)

    def _key(self, card: Card, weights_sha256: str, backend: Backend) -> EngineKey:
        measure = measures.known()[card.task]
        limits = {each: measure.limits_of(given) for each, given in self.wishes.limits.items()}
        versions = versions_of(card, backend.name)
        return EngineKey(
            model=card.name,
            weights_sha256=weights_sha256,
            card_sha256=_sha256(_rested_on(card)),
            rules=", ".join(f"{name} {version}" for name, version in versions.items()),
            backend=backend.name,
            backend_version=backend.version(),
            precision=self.wishes.precision,
            options=_sha256([replace(self.wishes.options, timings=None), limits]),
            bound_to=backend.bound_to(self.wishes.options),
        )

    def ready(self, key: EngineKey, backend: Backend) -> EngineFile | None:
        """The engine from the cache, where it was verified on the device that is here."""
        found = self.cache.find(key)
        serial = serial_of(backend)
        return found if found and serial and found.verification.device == serial else None

    def earlier(self, card: Card, weights_sha256: str, backend: Backend) -> EngineFile | None:
        """The newest engine of another file of the same model that was verified on this device.

        Args:
            card: the model's.
            weights_sha256: of the file that is here; empty where it cannot be read.
            backend: what runs it.

        Raises:
            EngineError: the backend is not installed, or needs a device that is not here.
        """
        serial = serial_of(backend)
        others = self.cache.of_other_weights(self._key(card, weights_sha256, backend))
        return next((e for e in others if serial and e.verification.device == serial), None)


def may_prove(found: EngineFile, frames: Frames | None) -> bool:
    """Whether comparing on `frames` could prove what is not proven yet."""
    proof = found.verification
    seen = frames.parted()[1] if frames and proof.precision is Precision.INT8 else frames
    return proof.verdict == "unproven" and len(seen or ()) > proof.frames


def serial_of(backend: Backend) -> str:
    """Of the device that runs this backend's engines here; empty where none does."""
    try:
        return backend.device().serial
    except EngineError:
        return ""  # the caller says what that means; why it is so, `appliance check` tells


def _rested_on(card: Card) -> dict[str, Any]:
    """What an engine and its proof rest on, of all that a card says."""
    facts = {name: value for name, value in asdict(card).items() if name not in BESIDE}
    facts["table"] = {k: v for k, v in facts["table"].items() if k not in BESIDE}
    return facts


def _sha256(document: object) -> str:
    """Of everything that a document says."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
