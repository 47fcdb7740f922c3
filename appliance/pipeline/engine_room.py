"""Brings each model's engine up: found, built if need be, loaded, handed to the loop.

One thread, so that the page is there while an engine is built. A model that fails says why and
leaves the others alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from loguru import logger
from typing_extensions import override

from appliance.errors import ApplianceError
from appliance.pipeline.part import Part
from appliance.pipeline.served import ServedModel
from appliance.readings import EngineReading
from appliance.values import EngineState


@dataclass(frozen=True, slots=True)
class Prepared:
    """A loaded model and what is known of its proof."""

    served: ServedModel
    verdict: str
    proof: str


class Progress(Protocol):
    """Told while an engine is made: what is being done, and 0..1 or None where unknown."""

    def __call__(self, sentence: str, progress: float | None) -> None:
        """Note it; must not block."""


Prepare = Callable[[str, Progress], Prepared]


class EngineRoom(Part):
    """Prepares models in the order given, then rests.

    Args:
        models: names of the models in use.
        asked: the backend setting's word.
        prepare: from a name to a loaded model; raises ApplianceError.
        install: hands a model to the loop.
    """

    def __init__(
        self,
        models: Sequence[str],
        *,
        asked: str,
        prepare: Prepare,
        install: Callable[[ServedModel], None],
    ) -> None:
        super().__init__("engines")
        self._prepare = prepare
        self._install = install
        self._readings = {name: EngineReading(name, EngineState.WAITING, asked) for name in models}
        self._healthy: dict[str, EngineReading] = {}

    def readings(self) -> tuple[EngineReading, ...]:
        """One for each model, in order."""
        return tuple(self._readings.values())

    def failed(self, model: str, error: ApplianceError) -> None:
        """An engine that ran has failed; said once, until it changes."""
        reading = self._readings.get(model)
        if reading is not None and reading.sentence != str(error):
            logger.bind(model=model).error("engine: {}", error.sentence())
            self._update(model, sentence=str(error), next_step=error.hint, state=EngineState.FAILED)

    def recovered(self, model: str) -> None:
        """A result came: whatever was wrong is over."""
        healthy = self._healthy.get(model)
        if healthy is not None and self._readings[model].state is EngineState.FAILED:
            logger.bind(model=model).info("engine: runs again")
            self._readings[model] = healthy

    @override
    def _run(self) -> None:
        for model in list(self._readings):
            if self._stop.is_set():
                return
            try:
                self._bring_up(model)
            except ApplianceError as error:
                if self._stop.is_set():
                    return  # a build that ends with the station is no failure
                self.failed(model, error)
            except Exception as error:  # noqa: BLE001 - top of the thread: told, not swallowed
                logger.bind(model=model).exception("engine: unexpected error")
                self.failed(model, ApplianceError(f"engine failed: {type(error).__name__}"))

    def _bring_up(self, model: str) -> None:
        def note(sentence: str, progress: float | None) -> None:
            self._update(model, state=EngineState.BUILDING, sentence=sentence, progress=progress)

        prepared = self._prepare(model, note)
        self._install(prepared.served)
        report = prepared.served.engine.report
        self._healthy[model] = self._readings[model] = EngineReading(
            model=model,
            state=EngineState.RUNNING,
            asked=report.asked,
            running=report.running,
            backend=report.backend,
            version=report.version,
            precision=report.precision,
            verdict=prepared.verdict,
            proof=prepared.proof,
            sentence=report.note,
        )
        logger.bind(model=model).info(
            "engine: {} {} {}, {}", report.running, report.version, report.precision, prepared.proof
        )

    def _update(self, model: str, **changes: object) -> None:
        self._readings[model] = replace(self._readings[model], **changes)  # type: ignore[arg-type]
