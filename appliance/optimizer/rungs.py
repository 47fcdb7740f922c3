"""One precision of one model on one backend: rewritten, built, loaded, compared, timed."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from appliance.catalog.card import Card
from appliance.engines import Backend, Engine
from appliance.errors import DeviceError, EngineError, ModelError
from appliance.optimizer.canonical import Canonical
from appliance.optimizer.fittings import letterbox_of
from appliance.optimizer.frames import Frames
from appliance.optimizer.measures import Limits, Measure
from appliance.optimizer.precision import rewrite
from appliance.optimizer.reference import Reference
from appliance.optimizer.verdict import Verification
from appliance.optimizer.verification import Candidate, Trial, verify
from appliance.runtimes import BuildOptions, EngineOptions, Progress
from appliance.tasks import Task
from appliance.values import U8, ModelContract, Precision

TIMED_RUNS = 20


@dataclass(frozen=True, slots=True)
class Made:
    """A rung that was tried.

    Attributes:
        trial: the verdict, with pictures.
        path: the engine's file; None where none could be built.
        inference_ms: of the fastest run; None where nothing here runs it.
        memory_bytes: what the engine held on its device.
    """

    trial: Trial
    path: Path | None = None
    inference_ms: float | None = None
    memory_bytes: int = 0

    @property
    def verification(self) -> Verification:
        """The verdict."""
        return self.trial.verification

    @property
    def is_refused(self) -> bool:
        """Whether it must not serve."""
        return self.verification.verdict == "refused"

    def refused(self, reason: str) -> "Made":
        """The same, not taken after all."""
        verification = replace(self.verification, verdict="refused", reason=reason)
        return replace(self, trial=replace(self.trial, verification=verification))


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the rungs of one model on one backend.

    Attributes:
        card: the model's.
        task: the model's.
        measure: the task's.
        backend: what builds and runs them.
        reference: makes the original, for a number of CPU threads.
        limits: of a precision.
        options: of the build.
        threads: CPU threads of one inference; 0 is all physical cores.
        serial: of the device here; empty where there is none, and nothing can be compared.
        frames: real ones to compare on.
    """

    card: Card
    task: Task[Any, Any]
    measure: Measure[Any]
    backend: Backend
    reference: Callable[[int], Reference]
    limits: Callable[[Precision], Limits]
    options: BuildOptions
    threads: int
    serial: str
    frames: Frames | None

    def make(
        self, canonical: Canonical, precision: Precision, folder: Path, progress: Progress
    ) -> Made:
        """Build `canonical` in this precision into `folder`, and judge it.

        Raises:
            DeviceError: the device has no room or is gone, whatever the engine.
            StoreError: the folder cannot be written.
        """
        calibration, frames = self.parted(precision)
        try:
            progress(f"Writing the model in {precision}", 0.0)
            rewritten = rewrite(
                canonical.path, precision, folder / f"{precision}.onnx", self._fitted(calibration)
            )
            told = part_of(progress, 0.05, 0.5)
            path = self.backend.build(rewritten, folder, self.options, told)
        except DeviceError:
            raise
        except (ModelError, EngineError) as error:
            return Made(Trial(Verification.impossible(precision, error)))
        if not self.serial:
            return Made(Trial(Verification.without_device(precision)), path)
        return self.judge(path, canonical.contract, precision, frames, part_of(progress, 0.5, 1.0))

    def judge(
        self,
        path: Path,
        contract: ModelContract,
        precision: Precision,
        frames: Frames | None,
        progress: Progress,
    ) -> Made:
        """Load the engine at `path` and compare it with the original.

        Raises:
            DeviceError: see `make`.
        """
        progress("Loading the engine", 0.0)
        options = EngineOptions(precision=precision, threads=self.threads)
        try:
            engine = self.backend.load(path, contract, options)
        except DeviceError:
            raise
        except EngineError as error:
            return Made(Trial(Verification.impossible(precision, error)), path)
        try:
            trial = verify(
                Candidate(engine, letterbox_of(self.card), self.task, self.measure, self.card),
                self.reference(engine.report.threads),
                frames or (),
                limits=self.limits(precision),
                device=self.serial,
                progress=lambda share: progress("Comparing with the original", share),
            )
            return Made(trial, path, fastest_ms(engine), engine.report.memory_bytes)
        finally:
            engine.close()

    def parted(self, precision: Precision) -> tuple[Frames | None, Frames | None]:
        """Frames to calibrate on, and to compare on."""
        if precision is not Precision.INT8 or self.frames is None:
            return None, self.frames
        return self.frames.parted()

    def _fitted(self, frames: Frames | None) -> Iterator[U8]:
        """(h, w, 3) uint8 BGR, as they go into an engine's slot."""
        letterbox = letterbox_of(self.card)
        width, height = self.card.input.size_wh
        fitted = np.zeros((height, width, 3), np.uint8)  # one, whose padding is painted once
        for frame in frames or ():
            letterbox.place(frame, fitted)
            yield fitted.copy()


def part_of(progress: Progress, low: float, high: float) -> Progress:
    """Tells `progress` of a part of the whole, from `low` to `high`."""

    def tell(sentence: str, share: float | None) -> None:
        progress(sentence, None if share is None else low + (high - low) * share)

    return tell


def fastest_ms(engine: Engine) -> float:
    """Milliseconds of the fastest of some runs on what the first slot holds."""
    slot = engine.slots[0]
    runs_ns = []
    for _ in range(TIMED_RUNS):
        begun_ns = time.perf_counter_ns()
        engine.submit(slot)
        engine.wait(slot)
        runs_ns.append(time.perf_counter_ns() - begun_ns)
    return min(runs_ns) / 1e6
