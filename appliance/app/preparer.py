"""Brings one model up: its best engine, from the cache or built in a child process, loaded."""

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from loguru import logger

from appliance.app.assembly import frames_for, library_of, optimizer_of
from appliance.app.budget import Budget
from appliance.app.child import BuildChild
from appliance.app.choices import choices
from appliance.catalog.card import Card
from appliance.catalog.inspection import inspect_onnx
from appliance.engines import Backend, EngineOptions
from appliance.errors import DeviceError, EngineError
from appliance.optimizer.build import may_prove
from appliance.optimizer.fittings import letterbox_of, rules_of
from appliance.optimizer.heads import class_count
from appliance.optimizer.sidecar import EngineFile, file_sha256
from appliance.pipeline.engine_room import Prepared, Progress
from appliance.pipeline.served import ServedModel
from appliance.settings import Settings


@dataclass(frozen=True, slots=True)
class _Model:
    card: Card
    weights: Path
    labels: tuple[str, ...]
    notice: str


@dataclass(frozen=True, slots=True)
class _Last:
    """What was loaded last for a model."""

    backend: str
    sha256: str
    served: ServedModel
    report: Path


class Preparer:
    """From a model's name to loaded engines; builds in a child process where none is there."""

    def __init__(self, settings: Settings, models: int) -> None:
        self._settings = settings
        self._library = library_of(settings)
        self._optimizer = optimizer_of(settings)
        self._models = models
        self._budget = Budget(settings.engine.memory_mb)
        self._child = BuildChild(limit_s=settings.engine.build_minutes * 60)
        self._last: dict[str, _Last] = {}

    def prepare(
        self, name: str, progress: Progress, without: Collection[str]
    ) -> Iterator[Prepared]:
        """See `appliance.pipeline.engine_room.Prepare`.

        The best engine that this box can run; while it is built, a lesser one from the cache.

        Raises:
            ApplianceError: the model cannot be had, or no engine of it.
        """
        model = self._model(name)
        chosen = choices(self._settings, without)
        missed = [chosen.missed] if chosen.missed else []
        hint = chosen.hint
        for index, backend in enumerate(chosen.backends):
            spares = chosen.backends[index + 1 :]
            try:
                yield from self._best(model, backend, spares, missed, progress)
            except EngineError as error:
                missed.append(f"{backend.title}: {error}")
                hint = hint or error.hint
            else:
                return
        self._last.pop(name, None)
        raise EngineError(". ".join(missed) or f"{name}: nothing here runs it", hint=hint)

    def _model(self, name: str) -> _Model:
        card, weights = self._library.card(name), self._library.weights(name)
        inspection = inspect_onnx(weights)
        labels = self._library.labels(name, embedded=inspection.names)
        head = self._optimizer.heads.get(card.head)  # a wrong one is told by the build
        classes = class_count(head, inspection.outputs, card) if head is not None else 0
        return _Model(card, weights, labels.names, labels.mismatch(classes))

    def stop(self) -> None:
        """End a build that is under way, and begin none; idempotent."""
        self._child.stop()

    def report(self, name: str) -> Path | None:
        """The report of the engine that was loaded last for a model."""
        last = self._last.get(name)
        return last.report if last is not None and last.report.is_file() else None

    def _best(
        self,
        model: _Model,
        backend: Backend,
        spares: Sequence[Backend],
        missed: Sequence[str],
        progress: Progress,
    ) -> Iterator[Prepared]:
        """The engine of one backend; before it a spare, where it has to be built."""
        found = self._found(model, backend)
        if found is None:
            yield from self._spare(model, spares, missed, f"{backend.title} is being built")
            found = self._built(model, backend, progress)
        try:
            yield self._loaded(model, backend, found, missed, progress)
        except DeviceError:
            raise
        except EngineError as error:
            if not self._optimizer.cache.set_aside(found):
                raise
            logger.bind(model=model.card.name).warning("engine: {}; it is built once more", error)
            yield from self._spare(model, spares, missed, f"{backend.title} is built anew: {error}")
            found = self._built(model, backend, progress)
            yield self._loaded(model, backend, found, missed, progress)
        if may_prove(found, frames_for(self._settings, model.card.name)):
            yield from self._proven_more(model, backend, missed, progress)

    def _proven_more(
        self, model: _Model, backend: Backend, missed: Sequence[str], progress: Progress
    ) -> Iterator[Prepared]:
        """The engine that serves, compared once more; or the one that takes its place.

        Raises:
            EngineError: on more frames it was refused.
        """
        try:
            found = self._built(model, backend, progress)
        except EngineError as error:
            self._found(model, backend)  # raises what was found out
            logger.bind(model=model.card.name).warning("engine: not compared again: {}", error)
        else:
            yield self._loaded(model, backend, found, missed, progress)

    def _spare(
        self, model: _Model, spares: Sequence[Backend], missed: Sequence[str], reason: str
    ) -> Iterator[Prepared]:
        """The best that lies ready in the cache, if one does and can be loaded."""
        for backend in spares:
            found = self._found(model, backend)
            if found is None:
                continue
            try:
                yield self._loaded(model, backend, found, [*missed, reason], None)
            except EngineError as error:
                logger.bind(model=model.card.name).warning("engine: no spare: {}", error)
                continue
            return

    def _found(self, model: _Model, backend: Backend) -> EngineFile | None:
        """The engine in the cache, where nothing is left to do on it.

        Raises:
            EngineError: it was found out before that there can be none.
        """
        key = self._optimizer.key(model.card, model.weights, backend)
        if refusal := self._optimizer.cache.refusal(key):
            raise refusal
        return self._optimizer.ready(key, backend)

    def _built(self, model: _Model, backend: Backend, progress: Progress) -> EngineFile:
        name = model.card.name
        command = [sys.executable, "-m", "appliance", "build", "--json", "--backend", backend.name]
        self._child.run([*command, name], progress)
        found = self._found(model, backend)
        if found is None:
            raise EngineError(
                f"{name}: the engine was built, and is not there",
                hint="Check the folder of APPLIANCE_PATHS__CACHE, and start the station again.",
            )
        return found

    def _loaded(
        self,
        model: _Model,
        backend: Backend,
        found: EngineFile,
        missed: Sequence[str],
        progress: Progress | None,
    ) -> Prepared:
        """The engine of a file, loaded and warm; the one that serves where it is the very same."""
        name, sha256 = model.card.name, file_sha256(found.path)
        last = self._last.get(name)
        if last is not None and last.sha256 == sha256 and last.backend == backend.name:
            served = last.served
        else:
            if progress is not None:
                progress("Loading the engine", None)
            served = self._load(model, backend, found)
        self._last[name] = _Last(backend.name, sha256, served, found.report)
        verification = found.verification
        return Prepared(
            served,
            verification.verdict,
            verification.sentence(),
            fallback=". ".join([*missed, *self._refused(found)]),
            notice=model.notice,
        )

    def _load(self, model: _Model, backend: Backend, found: EngineFile) -> ServedModel:
        name, asked, wanted = model.card.name, self._settings.engine, self._settings.detection
        self._budget.grant(name, backend, found.memory_bytes)
        options = EngineOptions(
            asked=asked.backend,
            precision=found.verification.precision,
            threads=asked.threads,
            in_flight=asked.in_flight or self._frames_at_once(),
            engines=self._models,
        )
        engine = backend.load(found.path, found.contract, options)
        for slot in engine.slots:  # the first run allocates: do it before a frame waits
            engine.submit(slot)
        for slot in engine.slots:
            engine.wait(slot)
        rules = rules_of(
            model.card, labels=model.labels, confidence=wanted.confidence, classes=wanted.classes
        )
        task = self._optimizer.tasks[model.card.task]
        return ServedModel(name, engine, task, letterbox_of(model.card), rules, model.labels)

    def _refused(self, found: EngineFile) -> list[str]:
        """Rungs that a person asked for by name and did not get; "auto" takes what passes."""
        if self._settings.engine.precision == "auto":
            return []
        return [f"{each.precision}: {each.reason}" for each in found.refused]

    def _frames_at_once(self) -> int:
        cores = psutil.cpu_count(logical=False) or 1
        return 2 if cores > 1 and self._models == 1 else 1
