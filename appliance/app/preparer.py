"""Brings one model up: its best engine, from the cache or built in a child process, loaded."""

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loguru import logger

from appliance.app.assembly import frames_for, library_of, shelf_of, unread_names
from appliance.app.child import BuildChild
from appliance.app.choices import choices
from appliance.app.loading import Loader, Model
from appliance.catalog.inspection import inspect_onnx
from appliance.engines import Backend
from appliance.errors import ApplianceError, DeviceError, EngineError, ModelError
from appliance.optimizer.key import EngineKey
from appliance.optimizer.shelf import Shelf, may_prove
from appliance.optimizer.sidecar import EngineFile
from appliance.pipeline.engine_room import Prepared, Progress
from appliance.settings import Settings

_Stamp = tuple[tuple[str, int, int], ...]  # of files: name, time of the last change, size
COMMAND = (sys.executable, "-P", "-m", "appliance", "build", "--json", "--backend")


class Preparer:
    """From a model's name to loaded engines; builds in a child process where none is there.

    Args:
        settings: of the station.
        models: how many models it uses.
    """

    def __init__(self, settings: Settings, models: int) -> None:
        self._settings = settings
        self._library = library_of(settings)
        self._models = settings.paths.state / "models"
        self._shelf = shelf_of(settings)
        self._loader = Loader(settings, models=models)
        self._child = BuildChild(limit_s=settings.engine.build_minutes * 60)
        self._keys: dict[str, EngineKey] = {}
        self._bad: dict[str, _Stamp] = {}

    def prepare(
        self, name: str, progress: Progress, without: Collection[str]
    ) -> Iterator[Prepared]:
        """See `appliance.pipeline.engine_room.Preparing`.

        The best engine that this box can run; while it is built, a lesser one from the cache.
        Where the model's file gives none, as when it is damaged, the engine of the file before it.

        Raises:
            ApplianceError: the model cannot be had, or no engine of it.
        """
        stamp = self._stamp(name)
        try:
            yield from self._of_file(name, progress, without)
        except (ModelError, EngineError) as error:
            self._bad[name] = stamp
            yield self._earlier(name, progress, without, error)
        else:
            self._bad.pop(name, None)

    def is_changed(self, name: str) -> bool:
        """Whether files that gave no engine have changed since, so that another try is worth it."""
        return name in self._bad and self._bad[name] != self._stamp(name)

    def forget(self, name: str) -> None:
        """See `appliance.pipeline.engine_room.Preparing`."""
        self._loader.forget(name)

    def _stamp(self, name: str) -> _Stamp:
        """Tells the files of a person's model from others of these names."""
        files = [path for path in (self._models / name).glob("*") if path.is_file()]
        facts = ((path.name, path.stat()) for path in sorted(files))
        return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in facts)

    def _earlier(
        self, name: str, progress: Progress, without: Collection[str], error: ApplianceError
    ) -> Prepared:
        """The engine of an earlier file, in the place of what `error` tells of.

        Raises:
            ApplianceError: `error`, where there is none, or it cannot be loaded.
        """
        card = self._library.card(name)
        sha256 = self._keys[name].weights_sha256 if name in self._keys else ""
        for backend in choices(self._settings, without).backends:
            found = self._shelf.earlier(card, sha256, backend)
            if found is None:
                continue
            progress("Loading the engine", None)
            labels = self._library.labels(name, embedded=found.names)
            try:
                served = self._loader.load(Model(card, found.path, labels), backend, found)
            except EngineError as unloaded:
                logger.bind(model=name).warning("engine of an earlier file: {}", unloaded)
                continue
            hint = error.hint.rstrip(".") or "Bring another file"
            return Prepared(
                served,
                found.verification.verdict,
                found.verification.sentence(),
                fallback=f"{error}. The engine of the model's earlier file runs",
                next_step=f"{hint}. It is taken as soon as it is there.",
            )
        raise error

    def _of_file(
        self, name: str, progress: Progress, without: Collection[str]
    ) -> Iterator[Prepared]:
        """The engines of the model as it lies there now."""
        self._keys.pop(name, None)
        model = self._model(name)
        chosen = choices(self._settings, without)
        missed = [chosen.missed] if chosen.missed else []
        way_up = _WayUp(
            self._settings, self._shelf, self._loader, self._child, model, progress, missed
        )
        for index, backend in enumerate(chosen.backends):
            self._keys[name] = way_up.key(backend)
            try:
                yield from way_up.by(backend, chosen.backends[index + 1 :])
            except EngineError as error:
                missed.append(EngineError(f"{backend.title}: {error}", hint=error.hint))
            else:
                return
        raise EngineError(_told(missed) or f"{name}: nothing here runs it", hint=_hint(missed))

    def stop(self) -> None:
        """End a build that is under way, and begin none; idempotent."""
        self._child.stop()

    def report(self, name: str) -> Path | None:
        """The report of a model's engine, or of the attempts to make one; None without any."""
        key = self._keys.get(name)
        return self._shelf.cache.report(key) if key is not None else None

    def _model(self, name: str) -> Model:
        card, weights = self._library.card(name), self._library.weights(name)
        found = inspect_onnx(weights)
        labels = self._library.labels(name, embedded=found.names)
        return Model(card, weights, labels, unread_names(found, labels))


@dataclass(frozen=True, slots=True)
class _WayUp:
    """One model on its way up; `missed` tells what did not serve it, the best first."""

    settings: Settings
    shelf: Shelf
    loader: Loader
    child: BuildChild
    model: Model
    progress: Progress
    missed: list[EngineError] = field(default_factory=list)

    def by(self, backend: Backend, spares: Sequence[Backend]) -> Iterator[Prepared]:
        """The engine of one backend; before it a spare, where it has to be built.

        Raises:
            EngineError: there is none, or it cannot be loaded.
        """
        found = self._found(backend)
        if found is None:
            yield from self._spare(spares, f"{backend.title} is being built")
            found = self._built(backend)
        try:
            yield self._loaded(backend, found)
        except DeviceError:
            raise
        except EngineError as error:
            if not self.shelf.cache.set_aside(found):
                raise
            self._warn(f"{error}; it is built once more")
            yield from self._spare(spares, f"{backend.title} is built again: {error}")
            found = self._built(backend)
            yield self._loaded(backend, found)
        if may_prove(found, frames_for(self.settings, self.model.card.name)):
            yield from self._proven_more(backend)

    def key(self, backend: Backend) -> EngineKey:
        """Of the model's engine on a backend."""
        return self.shelf.key(self.model.card, self.model.weights, backend)

    def _proven_more(self, backend: Backend) -> Iterator[Prepared]:
        """The engine that serves, compared once more; or the one that takes its place.

        Raises:
            EngineError: on more frames it was refused.
        """
        try:
            found = self._built(backend)
        except EngineError as error:
            self._found(backend)  # raises what was found out
            self._warn(f"not compared again: {error}")
        else:
            yield self._loaded(backend, found)

    def _spare(self, spares: Sequence[Backend], reason: str) -> Iterator[Prepared]:
        """The best that lies ready in the cache, if one does and can be loaded."""
        for backend in spares:
            try:
                found = self._found(backend)
                if found is not None:
                    yield self._loaded(backend, found, EngineError(reason))
                    return
            except EngineError as error:
                self._warn(f"no spare: {error}")

    def _found(self, backend: Backend) -> EngineFile | None:
        """The engine in the cache, where it was verified on this device.

        Raises:
            EngineError: it was found out before that there can be none.
        """
        key = self.key(backend)
        if refusal := self.shelf.cache.refusal(key):
            raise refusal
        return self.shelf.ready(key, backend)

    def _built(self, backend: Backend) -> EngineFile:
        name = self.model.card.name
        self.child.run([*COMMAND, backend.name, name], self.progress)
        found = self._found(backend)
        if found is None:
            raise EngineError(
                f"{name}: the engine was built, and is not there",
                hint="Check the folder of APPLIANCE_PATHS__CACHE, and start the station again.",
            )
        return found

    def _loaded(self, backend: Backend, found: EngineFile, *reasons: EngineError) -> Prepared:
        missed = [*self.missed, *self._refused(found), *reasons]
        if not reasons:  # a spare is loaded on the side
            self.progress("Loading the engine", None)
        served = self.loader.load(self.model, backend, found)
        return Prepared(
            served,
            found.verification.verdict,
            found.verification.sentence(),
            fallback=_told(missed),
            next_step=_hint(missed),
            notice=self.model.notice or self.model.labels.mismatch(found.classes),
        )

    def _refused(self, found: EngineFile) -> list[EngineError]:
        """Precisions that were asked for by name and not had; "auto" takes what passes."""
        if self.settings.engine.precision == "auto":
            return []
        return [EngineError(f"{e.precision}: {e.reason}", hint=e.hint) for e in found.refused]

    def _warn(self, what: str) -> None:
        logger.bind(model=self.model.card.name).warning("engine: {}", what)


def _told(missed: Sequence[EngineError]) -> str:
    return ". ".join(map(str, missed))


def _hint(missed: Sequence[EngineError]) -> str:
    return next((error.hint for error in missed if error.hint), "")
