"""From a foreign ONNX to a verified engine in the cache."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path

from appliance.catalog.card import Card
from appliance.catalog.inspection import inspect_onnx
from appliance.engines import Backend
from appliance.errors import ModelError
from appliance.optimizer.cache import EngineCache
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.climbing import climb, ladder
from appliance.optimizer.frames import Frames
from appliance.optimizer.heads import Head
from appliance.optimizer.job import Job, clear, serial_of
from appliance.optimizer.key import EngineKey, code_sha256
from appliance.optimizer.reference import Reference
from appliance.optimizer.rungs import Maker, part_of
from appliance.optimizer.sidecar import EngineFile
from appliance.optimizer.verification import Limits
from appliance.runtimes import BuildOptions, Progress
from appliance.tasks import Task
from appliance.values import Precision


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked of every engine.

    Attributes:
        precision: "auto", or the narrowest one to try.
        limits: how far an engine may be from the original, by precision.
        options: of the build.
        threads: CPU threads of one inference; 0 means one per physical core.
    """

    precision: str
    limits: Mapping[Precision, Limits]
    options: BuildOptions = field(default_factory=BuildOptions)
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Optimizer:
    """Builds engines.

    Attributes:
        cache: where they go.
        shipped: where engines lie that were built elsewhere; None where nothing is shipped.
        heads: by name.
        tasks: by name.
        wishes: what is asked of every engine.
        wall_s: wall clock, for the date in reports.
    """

    cache: EngineCache
    shipped: EngineCache | None
    heads: Mapping[str, Head]
    tasks: Mapping[str, Task]
    wishes: Wishes
    wall_s: Callable[[], float]

    def key(self, card: Card, weights: Path, backend: Backend) -> EngineKey:
        """What an engine of this model on this backend depends on.

        Raises:
            ModelError: the weights are not a readable ONNX model.
            EngineError: the backend is not installed, or needs a device that is not here.
        """
        return EngineKey(
            model=card.name,
            weights_sha256=inspect_onnx(weights).sha256,
            card_sha256=_sha256({k: v for k, v in asdict(card).items() if k != "origin"}),
            code_sha256=code_sha256(),
            backend=backend.name,
            backend_version=backend.version(),
            precision=self.wishes.precision,
            options=_sha256([replace(self.wishes.options, timings=None), self.wishes.limits]),
            bound_to=backend.bound_to(self.wishes.options),
        )

    def ready(self, key: EngineKey, backend: Backend) -> EngineFile | None:
        """The engine from the cache, where it was verified on the device that is here."""
        found = self.cache.find(key)
        serial = serial_of(backend)
        return found if found and serial and found.verification.device == serial else None

    def build(
        self,
        card: Card,
        weights: Path,
        backend: Backend,
        *,
        frames: Frames | None,
        progress: Progress,
        insists: bool = False,
    ) -> EngineFile:
        """The engine from the cache, or a new one, verified on `frames` where there are any.

        An engine in the cache that is not proven is compared again when there are more frames
        now, and so is one that was verified on another device. Where nothing on this box runs
        it, the engine is built, stays unverified, and serves nobody.

        Args:
            card: the model's.
            weights: the foreign ONNX.
            backend: what is to run it.
            frames: real ones to compare on.
            progress: told what is under way.
            insists: these very frames were asked for: what is not proven is compared on them.

        Raises:
            ModelError: card, weights or graph are wrong.
            EngineError: the backend refuses it, or no precision agrees with the original; the
                cache remembers that.
            StoreError: the cache cannot be written.
        """
        progress("Reading the model", 0.0)
        job = self._job(card, weights, backend, frames)
        own = self.cache.find(job.key)
        if own is not None and job.is_served_by(own, insists=insists):
            return own
        shipped = self.shipped.find(job.key) if self.shipped is not None else None
        with self.cache.writing(job.key) as folder:
            for found in (own, shipped):
                if found is not None and job.maker.serial:
                    made = job.judged(found, part_of(progress, 0.1, 1.0))
                    if not made.is_refused:
                        kept = job.kept(folder, found.contract, [made])
                        return self.cache.commit(folder, replace(kept, refused=found.refused))
            progress("Rewriting the graph", 0.02)
            canonical = canonicalize(weights, card, job.head, folder / f"{Precision.FP32}.onnx")
            rungs = ladder(self.wishes.precision, backend)
            makes = climb(job.maker, canonical, rungs, folder, part_of(progress, 0.05, 1.0))
            if makes[-1].is_refused:
                job.report(folder, makes)
                clear(folder, keep=())
                self.cache.refuse(folder, job.key, refused := job.failure(makes))
                raise refused
            return self.cache.commit(folder, job.kept(folder, canonical.contract, makes))

    def _job(self, card: Card, weights: Path, backend: Backend, frames: Frames | None) -> Job:
        head, task = self._head(card), self._task(card)
        maker = Maker(
            card=card,
            task=task,
            backend=backend,
            reference=lambda threads: Reference(weights, card, head, threads=threads),
            limits=self.wishes.limits.__getitem__,
            options=self.wishes.options,
            threads=self.wishes.threads,
            serial=serial_of(backend),
            frames=frames,
        )
        return Job(self.key(card, weights, backend), head, maker, self.wall_s())

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


def _sha256(document: object) -> str:
    """Of everything that a document says."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
