"""Brings one model up: the engine from the cache, or built in a child process, loaded, warm."""

import json
import subprocess
import sys
from typing import Any

import psutil

from appliance.app.assembly import library_of, optimizer_of
from appliance.engines import EngineOptions
from appliance.errors import EngineError
from appliance.optimizer.build import letterbox_of
from appliance.optimizer.cache import EngineFile
from appliance.pipeline.engine_room import Prepared, Progress
from appliance.pipeline.served import ServedModel
from appliance.settings import Settings
from appliance.tasks import Rules

BUILD_PRIORITY = 10  # nice


class Preparer:
    """From a model's name to a loaded engine; builds in a child process where none is there."""

    def __init__(self, settings: Settings, models: int) -> None:
        self._settings = settings
        self._library = library_of(settings)
        self._optimizer = optimizer_of(settings)
        self._models = models
        self._child: subprocess.Popen[str] | None = None

    def prepare(self, name: str, progress: Progress) -> Prepared:
        """See `appliance.pipeline.engine_room.Prepare`.

        Raises:
            ApplianceError: the model or its engine cannot be had.
        """
        card, weights = self._library.card(name), self._library.weights(name)
        key = self._optimizer.key(card, weights)
        found = self._optimizer.cache.find(key)
        if found is None:
            self._build_in_child(name, progress)
            found = self._optimizer.cache.find(key)
        if found is None:
            raise EngineError(f"{name}: the engine was built, and is not there")
        progress("Loading the engine", None)
        labels = self._library.labels(name)
        return Prepared(
            served=self._load(name, found, labels.names),
            labels=labels.names,
            verdict=found.verification.verdict,
            proof=found.verification.sentence(),
        )

    def stop(self) -> None:
        """End a build that is under way; idempotent."""
        if self._child is not None:
            self._child.terminate()

    def _load(self, name: str, file: EngineFile, labels: tuple[str, ...]) -> ServedModel:
        card, wanted = self._library.card(name), self._settings.detection
        options = EngineOptions(
            asked=self._settings.engine.backend,
            precision=file.key.precision,
            threads=self._settings.engine.threads,
            shared_cores=self._models > 1,
        )
        engine = self._optimizer.backend.load(file.path, file.contract, options)
        for slot in engine.slots:  # the first run allocates: do it before a frame waits
            engine.submit(slot)
            engine.wait(slot)
        rules = Rules.of(
            labels,
            confidence=wanted.confidence,
            classes=wanted.classes,
            nms=card.detection.nms,
            iou=card.detection.iou,
            max_detections=card.detection.max_detections,
        )
        task = self._optimizer.tasks[card.task]
        return ServedModel(name, engine, task, letterbox_of(card), rules)

    def _build_in_child(self, name: str, progress: Progress) -> None:
        """A process of its own, and a low priority: a build cannot take the station down."""
        command = [sys.executable, "-m", "appliance", "build", "--json", name]
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
        psutil.Process(self._child.pid).nice(BUILD_PRIORITY)
        last: dict[str, Any] = {}
        assert self._child.stdout is not None  # noqa: S101 - it was asked for
        for line in self._child.stdout:
            last = json.loads(line)
            if "stage" in last:
                progress(last["stage"], last["progress"])
        status = self._child.wait()
        self._child = None
        if status != 0:
            message = last.get("error", f"the build ended with status {status}")
            raise EngineError(str(message), hint=str(last.get("hint", "")))
