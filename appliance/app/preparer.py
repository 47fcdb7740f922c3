"""Brings one model up: the engine from the cache, or built in a child process, loaded, warm."""

import json
import subprocess
import sys
from threading import Lock
from typing import Any

import psutil
from loguru import logger

from appliance.app.assembly import library_of, optimizer_of
from appliance.catalog.card import Card
from appliance.catalog.inspection import inspect_onnx
from appliance.engines import EngineOptions
from appliance.errors import EngineError
from appliance.optimizer.cache import EngineFile, EngineKey
from appliance.optimizer.fittings import letterbox_of, rules_of
from appliance.pipeline.engine_room import Prepared, Progress
from appliance.pipeline.served import ServedModel
from appliance.settings import Settings

BUILD_PRIORITY = 10  # nice


class Preparer:
    """From a model's name to a loaded engine; builds in a child process where none is there."""

    def __init__(self, settings: Settings, models: int) -> None:
        self._settings = settings
        self._library = library_of(settings)
        self._optimizer = optimizer_of(settings)
        self._models = models
        self._child: subprocess.Popen[str] | None = None
        self._stopped = False
        self._lock = Lock()  # a child is never started after the stop

    def prepare(self, name: str, progress: Progress) -> Prepared:
        """See `appliance.pipeline.engine_room.Prepare`.

        Raises:
            ApplianceError: the model or its engine cannot be had.
        """
        card, weights = self._library.card(name), self._library.weights(name)
        key = self._optimizer.key(card, weights)
        found = self._optimizer.cache.find(key) or self._built(name, key, progress)
        labels = self._library.labels(name, embedded=inspect_onnx(weights).names).names
        progress("Loading the engine", None)
        try:
            served = self._load(card, found, labels)
        except EngineError as error:
            if not self._optimizer.cache.set_aside(found):
                raise
            logger.bind(model=name).warning("engine: {}; it is built once more", error)
            found = self._built(name, key, progress)
            served = self._load(card, found, labels)
        verification = found.verification
        return Prepared(served, verification.verdict, verification.sentence())

    def _built(self, name: str, key: EngineKey, progress: Progress) -> EngineFile:
        self._build_in_child(name, progress)
        found = self._optimizer.cache.find(key)
        if found is None:
            raise EngineError(
                f"{name}: the engine was built, and is not there",
                hint="Check the folder of APPLIANCE_PATHS__CACHE, and start the station again.",
            )
        return found

    def stop(self) -> None:
        """End a build that is under way, and begin none; idempotent."""
        with self._lock:
            self._stopped = True
            if self._child is not None:
                self._child.terminate()

    def _load(self, card: Card, file: EngineFile, labels: tuple[str, ...]) -> ServedModel:
        wanted = self._settings.detection
        options = EngineOptions(
            asked=self._settings.engine.backend,
            precision=file.key.precision,
            threads=self._settings.engine.threads,
            in_flight=self._settings.engine.in_flight or self._frames_at_once(),
            engines=self._models,
        )
        engine = self._optimizer.backend.load(file.path, file.contract, options)
        for slot in engine.slots:  # the first run allocates: do it before a frame waits
            engine.submit(slot)
        for slot in engine.slots:
            engine.wait(slot)
        rules = rules_of(card, labels=labels, confidence=wanted.confidence, classes=wanted.classes)
        task = self._optimizer.tasks[card.task]
        return ServedModel(card.name, engine, task, letterbox_of(card), rules, labels)

    def _frames_at_once(self) -> int:
        cores = psutil.cpu_count(logical=False) or 1
        return 2 if cores > 1 and self._models == 1 else 1

    def _build_in_child(self, name: str, progress: Progress) -> None:
        """A process of its own, and a low priority: a build cannot take the station down."""
        last: dict[str, Any] = {}
        with self._start_child(name) as child:
            assert child.stdout is not None  # noqa: S101 - it was asked for
            for line in child.stdout:
                try:
                    last = json.loads(line)
                except ValueError:  # a library that prints: worth a line, not an engine
                    logger.bind(model=name).info("build: {}", line.rstrip())
                    continue
                if "stage" in last:
                    progress(last["stage"], last["progress"])
        status = child.returncode
        if self._stopped:
            raise EngineError("the build has ended with the station")
        if status != 0:
            message = last.get("error", f"the build ended with status {status}")
            raise EngineError(str(message), hint=str(last.get("hint", "")))

    def _start_child(self, name: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "appliance", "build", "--json", name]
        with self._lock:
            if self._stopped:
                raise EngineError("the station ends; no build is begun")
            child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
            self._child = child
        psutil.Process(child.pid).nice(BUILD_PRIORITY)
        return child
