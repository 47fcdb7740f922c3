"""Loads engines for the station: within its memory, warm, with what belongs around them."""

import time
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

from appliance import tasks
from appliance.app.budget import Budget
from appliance.catalog.card import Card
from appliance.catalog.labels import Labels
from appliance.engines import Backend, Engine
from appliance.errors import EngineError
from appliance.optimizer.fittings import letterbox_of
from appliance.optimizer.sidecar import EngineFile, file_sha256
from appliance.pipeline.closing import CLOSING_S, Closing
from appliance.pipeline.served import PATIENCE_S, ServedModel
from appliance.resources import cores
from appliance.runtimes import EngineOptions
from appliance.settings import Settings

FIRST_RUN_S = 120.0  # for so long an engine may be at its first run, which nobody waits for
SLOWER = 5  # times the first run: for so long a single picture may keep a slow engine


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the station finds it.

    Attributes:
        card: what is known of it.
        weights: the foreign ONNX.
        labels: its class names.
        notice: what a person should know of it; may be empty.
    """

    card: Card
    weights: Path
    labels: Labels
    notice: str = ""


@dataclass(frozen=True, slots=True)
class _Last:
    backend: str
    sha256: str
    served: ServedModel


class Loader:
    """Loads one engine after the other, and knows what it loaded last for each model.

    Args:
        settings: threads, frames in flight, memory.
        models: how many models share the host.
    """

    def __init__(self, settings: Settings, *, models: int) -> None:
        self._settings = settings
        self._models = models
        self._budget = Budget(settings.engine.memory_mb)
        self._last: dict[str, _Last] = {}

    def load(self, model: Model, backend: Backend, found: EngineFile) -> ServedModel:
        """The engine of a file; the one that serves already where it is the very same.

        Raises:
            DeviceError: there is no room for it, or its device is at fault.
            EngineError: the backend cannot load it.
        """
        name, sha256 = model.card.name, file_sha256(found.path)
        last = self._last.get(name)
        is_same = last is not None and (last.backend, last.sha256) == (backend.name, sha256)
        if last is not None and is_same and not last.served.is_given_up:
            return last.served
        served = self._loaded(model, backend, found)
        self._last[name] = _Last(backend.name, sha256, served)
        return served

    def forget(self, name: str) -> None:
        """What was loaded last for this model serves no more; from any thread."""
        self._last.pop(name, None)
        self._budget.release(name)

    def _loaded(self, model: Model, backend: Backend, found: EngineFile) -> ServedModel:
        name, asked = model.card.name, self._settings.engine
        self._budget.grant(name, backend, found.memory_bytes)
        options = EngineOptions(
            asked=asked.backend,
            precision=found.verification.precision,
            threads=asked.threads,
            in_flight=frames_at_once(self._settings, self._models),
            engines=self._models,
        )
        engine = backend.load(found.path, found.contract, options)
        try:
            warm_s = _first_run(engine)
        except BaseException:  # its end may take long, where its run has not ended
            closing = Closing(engine, lambda error: _not_closed(name, error))
            closing.start()
            closing.join(CLOSING_S)
            raise
        labels = model.labels.names
        return ServedModel(
            name,
            engine,
            tasks.known()[model.card.task],
            model.card.table,
            letterbox_of(model.card),
            labels,
            patience_s=max(PATIENCE_S, SLOWER * warm_s),
        )


def _first_run(engine: Engine) -> float:
    """Let it allocate what it needs, before a frame waits for it; seconds.

    Raises:
        EngineError: it fails, or takes longer than any engine that is of use.
    """
    began_s = time.monotonic()
    for slot in engine.slots:
        engine.submit(slot)
    for slot in engine.slots:
        if not engine.wait(slot, max(0.0, began_s + FIRST_RUN_S - time.monotonic())):
            raise EngineError(
                f"its first run takes longer than {FIRST_RUN_S:.0f} s",
                hint="Look at the log, or use a smaller model.",
            )
    return time.monotonic() - began_s


def _not_closed(name: str, error: Exception) -> None:
    say = logger.bind(model=name).opt(exception=error)
    say.error("engine: it could not be used, and it could not be closed")


def frames_at_once(settings: Settings, models: int) -> int:
    """How many frames the engine of each model works on at once.

    Args:
        settings: of the station.
        models: how many models share the host.
    """
    return settings.engine.in_flight or (2 if cores().physical > 1 and models == 1 else 1)
