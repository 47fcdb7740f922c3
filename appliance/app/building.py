"""`appliance build`: the engines of the models in use, one after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance import tasks
from appliance.app.assembly import (
    engines_in_use,
    frames_for,
    library_of,
    models_in_use,
    shelf_of,
    unread_names,
)
from appliance.app.choices import backends, choices
from appliance.app.clock import wall_s
from appliance.catalog.inspection import inspect_onnx
from appliance.engines import Backend
from appliance.errors import EngineError, StoreError
from appliance.optimizer import heads, measures
from appliance.optimizer.build import Optimizer
from appliance.optimizer.frames import Frames
from appliance.optimizer.heads import Head
from appliance.registry import plugins
from appliance.runtimes import Progress
from appliance.settings import Settings

MIB = 1024 * 1024
UNUSED_S = 180 * 86400.0  # that engines of no model in use stay, before a build removes them


def optimizer_of(settings: Settings) -> Optimizer:
    """What builds this station's engines."""
    return Optimizer(
        shelf=shelf_of(settings),
        heads=plugins(heads, "HEAD", Head),
        tasks=tasks.known(),
        measures=measures.known(),
        wall_s=wall_s,
    )


def build_models(
    settings: Settings,
    names: Sequence[str],
    *,
    frames: Path | None,
    only: str,
    progress: Progress,
) -> Iterator[str]:
    """Build each model, from the cache where it is there; a sentence for each engine.

    For each model that is the best engine this box can run and, where that one needs a GPU, a
    spare for the processor, which serves while the other is made anew or its device is away.

    Args:
        settings: of the station.
        names: models; those in use where empty.
        frames: pictures or a video to verify with; a model's own where None.
        only: a backend, where one alone is meant; else empty.
        progress: told what is under way, and how far.

    Raises:
        ApplianceError: a model cannot be built, or its engine cannot be kept.
    """
    optimizer = optimizer_of(settings)
    if only and only not in backends():
        raise EngineError(f"{only}: no such backend", hint=f"There are {', '.join(backends())}.")
    for name in names or models_in_use(settings):
        chosen = Frames.of(frames) if frames is not None else frames_for(settings, name)
        model = _Model(settings, optimizer, name, chosen, frames is not None, progress)
        try:
            yield from model.alone(backends()[only]) if only else model.best_and_spare()
            yield from model.notices()
            cache, in_use = optimizer.shelf.cache, engines_in_use(settings)
            cache.forget(wall_s() - UNUSED_S, in_use)
            cache.keep_within(settings.engine.quota_mb * MIB, in_use)
        except OSError as error:
            raise StoreError(
                f"{name}: the engine cannot be kept in {settings.paths.cache} ({error.strerror})",
                hint="Free space there and make it writable, or name another folder in "
                "APPLIANCE_PATHS__CACHE.",
            ) from error


@dataclass(frozen=True, slots=True)
class _Model:
    """One model to be built."""

    settings: Settings
    optimizer: Optimizer
    name: str
    frames: Frames | None
    insists: bool
    progress: Progress

    def best_and_spare(self) -> Iterator[str]:
        """The best engine that can be made, and the last to fall back on."""
        found = choices(self.settings)
        if found.missed:
            yield from self._for_elsewhere(found.missed)
        failures = []
        for backend in found.backends:
            try:
                yield from self.alone(backend)
                break
            except EngineError as error:
                failures.append(error)
                yield f"{self.name}: {error}"
        else:
            raise failures[0]
        spare = found.backends[-1]
        if backend is not spare:
            try:
                yield from self.alone(spare)
            except EngineError as error:  # the best one runs: this is worth a line, no failure
                yield f"{self.name}: no spare: {error}"

    def alone(self, backend: Backend) -> Iterator[str]:
        """The engine for one backend.

        Raises:
            EngineError: there is none, as was found out before or just now.
        """
        library = library_of(self.settings)
        card, weights = library.card(self.name), library.weights(self.name)
        if refusal := self.optimizer.shelf.cache.refusal(
            self.optimizer.shelf.key(card, weights, backend)
        ):
            raise refusal
        engine = self.optimizer.build(
            card,
            weights,
            backend,
            frames=self.frames,
            progress=self.progress,
            insists=self.insists,
        )
        key, proof = engine.key, engine.verification
        what = f"{key.backend} {key.backend_version} {proof.precision}"
        yield f"{self.name}: {what}, {proof.sentence()}"

    def notices(self) -> Iterator[str]:
        """What a person should know of the model."""
        library = library_of(self.settings)
        found = inspect_onnx(library.weights(self.name))
        labels = library.labels(self.name, embedded=found.names)
        if notice := unread_names(found, labels):
            yield f"{self.name}: {notice}"

    def _for_elsewhere(self, missed: EngineError) -> Iterator[str]:
        """What was asked for by name is built all the same, where that needs no device."""
        backend = backends()[self.settings.engine.backend]
        yield f"{self.name}: {missed}"
        try:
            backend.version()
            backend.bound_to(self.optimizer.shelf.wishes.options)
        except EngineError:
            return  # already said
        yield from self.alone(backend)
