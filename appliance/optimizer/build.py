"""From a foreign ONNX to a verified engine in the cache."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from appliance.catalog.card import Card
from appliance.catalog.inspection import inspect_onnx
from appliance.engines import Backend
from appliance.errors import ModelError
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.climbing import climb, ladder
from appliance.optimizer.frames import Frames
from appliance.optimizer.heads import Head, class_count
from appliance.optimizer.job import Job, clear
from appliance.optimizer.measures import Measure
from appliance.optimizer.reference import Reference
from appliance.optimizer.rungs import Maker, part_of
from appliance.optimizer.shelf import Shelf, serial_of
from appliance.optimizer.sidecar import EngineFile
from appliance.runtimes import Progress
from appliance.tasks import Task
from appliance.values import Precision


@dataclass(frozen=True, slots=True)
class Optimizer:
    """Builds engines.

    Attributes:
        shelf: where they go, and what is asked of them.
        heads: by name.
        tasks: by name.
        measures: by the name of the task.
        wall_s: wall clock, for the date in reports.
    """

    shelf: Shelf
    heads: Mapping[str, Head]
    tasks: Mapping[str, Task[Any, Any]]
    measures: Mapping[str, Measure[Any]]
    wall_s: Callable[[], float]

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
        cache, shelf = self.shelf.cache, self.shelf
        own = cache.find(job.key)
        if own is not None and job.is_served_by(own, insists=insists):
            return own
        shipped = shelf.shipped.find(job.key) if shelf.shipped is not None else None
        with cache.writing(job.key) as folder:
            for found in (own, shipped):
                if found is not None and job.maker.serial:
                    made = job.judged(found, part_of(progress, 0.1, 1.0))
                    if not made.is_refused:
                        kept = job.kept(folder, found.contract, [made])
                        return cache.commit(folder, replace(kept, refused=found.refused))
            progress("Rewriting the graph", 0.02)
            canonical = canonicalize(weights, card, job.head, folder / f"{Precision.FP32}.onnx")
            if job.maker.serial:  # refused now, and not after a build of many minutes
                job.maker.reference(job.maker.threads)
            rungs = ladder(shelf.wishes.precision, backend)
            makes = climb(job.maker, canonical, rungs, folder, part_of(progress, 0.05, 1.0))
            if makes[-1].is_refused:
                job.report(folder, makes)
                clear(folder, keep=())
                cache.refuse(folder, job.key, refused := job.failure(makes))
                raise refused
            return cache.commit(folder, job.kept(folder, canonical.contract, makes))

    def _job(self, card: Card, weights: Path, backend: Backend, frames: Frames | None) -> Job:
        head, wishes = self._head(card), self.shelf.wishes
        task, measure = self._task(card)
        maker = Maker(
            card=card,
            task=task,
            measure=measure,
            backend=backend,
            reference=lambda threads: Reference(weights, card, head, threads=threads),
            limits=lambda precision: measure.limits_of(wishes.limits[precision]),
            options=wishes.options,
            threads=wishes.threads,
            serial=serial_of(backend),
            frames=frames,
        )
        key = self.shelf.key(card, weights, backend)
        found = inspect_onnx(weights)
        classes = class_count(head, found.outputs, card)
        return Job(key, head, maker, classes, found.names, self.wall_s())

    def _head(self, card: Card) -> Head:
        head = self.heads.get(card.head)
        if head is None or head.task != card.task:
            known = ", ".join(sorted(h.name for h in self.heads.values() if h.task == card.task))
            raise ModelError(
                f"{card.name}: no head {card.head} for {card.task}",
                hint=f"Heads for {card.task}: {known}.",
            )
        return head

    def _task(self, card: Card) -> tuple[Task[Any, Any], Measure[Any]]:
        if card.task not in self.tasks or card.task not in self.measures:
            raise ModelError(f"{card.name}: no task {card.task}", hint=", ".join(self.tasks))
        return self.tasks[card.task], self.measures[card.task]
