"""From a foreign ONNX to a verified engine in the cache."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance.catalog.card import Card
from appliance.catalog.inspection import inspect_onnx
from appliance.engines import Backend, EngineOptions
from appliance.errors import ModelError
from appliance.optimizer.cache import EngineCache, EngineFile, EngineKey, code_sha256
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.fittings import letterbox_of
from appliance.optimizer.frames import read_frames
from appliance.optimizer.heads import Head
from appliance.optimizer.reference import Reference
from appliance.optimizer.verification import Candidate, verify
from appliance.tasks import Task

PRECISION = "fp32"

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True)
class Optimizer:
    """Builds engines.

    Attributes:
        cache: where they go.
        heads: by name.
        tasks: by name.
        backend: what runs them.
        threads: CPU threads; 0 means one per physical core.
    """

    cache: EngineCache
    heads: Mapping[str, Head]
    tasks: Mapping[str, Task]
    backend: Backend
    threads: int = 0

    def key(self, card: Card, weights: Path) -> EngineKey:
        """What an engine of this model depends on.

        Raises:
            ModelError: the weights are not a readable ONNX model.
            EngineError: the backend is not installed.
        """
        return EngineKey(
            model=card.name,
            weights_sha256=inspect_onnx(weights).sha256,
            card_sha256=_card_sha256(card),
            code_sha256=code_sha256(),
            backend=self.backend.name,
            backend_version=self.backend.version(),
            precision=PRECISION,
        )

    def build(
        self, card: Card, weights: Path, *, frames: Path | None, progress: Progress
    ) -> EngineFile:
        """The engine from the cache, or a new one, verified on `frames` where there are any.

        An engine in the cache that is not proven is built again when there are frames now.

        Raises:
            ModelError: card, weights or graph are wrong.
            EngineError: the backend refuses it, or it disagrees with the original.
            StoreError: the cache cannot be written.
        """
        progress("Reading the model", 0.0)
        key = self.key(card, weights)
        found = self.cache.find(key)
        if found is not None and (frames is None or found.verification.verdict == "proven"):
            return found
        head, task = self._head(card), self._task(card)
        with self.cache.writing(key) as folder:
            progress("Rewriting the graph", 0.05)
            canonical = canonicalize(weights, card, head, folder / "engine.onnx")
            progress("Loading the engine", 0.15)
            options = EngineOptions(precision=PRECISION, threads=self.threads)
            engine = self.backend.load(canonical.path, canonical.contract, options)
            try:
                candidate = Candidate(engine, letterbox_of(card), task, card)
                verification = verify(
                    candidate,
                    Reference(weights, card, head, threads=engine.report.threads),
                    read_frames(frames) if frames is not None else (),
                    lambda share: progress("Comparing with the original", 0.2 + 0.8 * share),
                )
            finally:
                engine.close()
            made = EngineFile(canonical.path, key, canonical.contract, verification)
            return self.cache.commit(folder, made)

    def _head(self, card: Card) -> Head:
        head = self.heads.get(card.head)
        if head is None or head.task != card.task:
            known = ", ".join(sorted(h.name for h in self.heads.values() if h.task == card.task))
            raise ModelError(
                f"{card.name}: no head {card.head} for {card.task}",
                hint=f"Heads for {card.task}: {known}.",
            )
        return head

    def _task(self, card: Card) -> Task:
        if card.task not in self.tasks:
            raise ModelError(f"{card.name}: no task {card.task}", hint=", ".join(self.tasks))
        return self.tasks[card.task]


def _card_sha256(card: Card) -> str:
    """Of everything the card says, whatever file it came from."""
    document = {key: value for key, value in asdict(card).items() if key != "origin"}
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()
