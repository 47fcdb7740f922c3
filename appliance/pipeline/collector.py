"""Keeps pictures of the cameras, by which each model's engine is verified and calibrated.

Nobody has a shell on the box to put pictures there. So the station takes some of its own, where it
was told to: one now and then, so that they differ, until each model has as many as were asked for.
"""

import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
from loguru import logger
from typing_extensions import override

from appliance.buffers import Lease
from appliance.pipeline.part import Part
from appliance.values import Result

PERIOD_S = 30.0
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95]


class Collector(Part):
    """One thread. `offer` is called by the loop.

    Args:
        folders: where the pictures of each model go; made when the first one comes.
        models: the model that looks at each camera, by its key.
        wanted: pictures for each model.
        on_enough: gets a model's name once, when its last picture lies there.
        clock_ns: monotonic.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        models: Mapping[str, str],
        *,
        wanted: int,
        on_enough: Callable[[str], None],
        clock_ns: Callable[[], int],
    ) -> None:
        super().__init__("collector")
        self._folders = folders
        self._models = models
        self._on_enough = on_enough
        self._clock_ns = clock_ns
        self._changed = threading.Condition()
        self._waiting: tuple[Result, Lease] | None = None
        self._missing = {name: wanted - _count(folder) for name, folder in folders.items()}
        self._due_ns = dict.fromkeys(models, 0)

    @override
    def stop(self) -> None:
        """End after the picture at hand; idempotent."""
        with self._changed:
            super().stop()
            self._changed.notify_all()

    def offer(self, result: Result, lease: Lease) -> None:
        """Take this picture if one is due and none waits."""
        now_ns = self._clock_ns()
        with self._changed:
            is_due = now_ns >= self._due_ns[result.camera]
            is_wanted = self._missing[self._models[result.camera]] > 0
            if not is_due or not is_wanted or self._waiting is not None or self._stop.is_set():
                return
            self._due_ns[result.camera] = now_ns + int(PERIOD_S * 1e9)
            self._waiting = result, lease.retain()
            self._changed.notify_all()

    @override
    def _run(self) -> None:
        while (job := self._next()) is not None:
            result, lease = job
            model = self._models[result.camera]
            try:
                with lease:
                    _keep(lease, self._folders[model], result)
            except OSError as error:
                logger.bind(model=model).warning("verify picture: not kept: {}", error)
            except Exception:  # noqa: BLE001 - top of the thread: told, not swallowed
                logger.bind(model=model).exception("verify picture: not kept")
            else:
                self._one_less(model)

    def _next(self) -> tuple[Result, Lease] | None:
        with self._changed:
            while self._waiting is None and not self._stop.is_set():
                self._changed.wait()
            job, self._waiting = self._waiting, None
            if self._stop.is_set() and job is not None:
                job[1].release()
            return None if self._stop.is_set() else job

    def _one_less(self, model: str) -> None:
        with self._changed:
            self._missing[model] -= 1
            is_enough = self._missing[model] == 0
        if is_enough:
            logger.bind(model=model).info("verify pictures: all there, in {}", self._folders[model])
            self._on_enough(model)


def _count(folder: Path) -> int:
    return sum(1 for path in folder.glob("*.jpg") if not path.name.startswith("."))


def _keep(lease: Lease, folder: Path, result: Result) -> None:
    """Write one picture, whole or not at all; its name is never taken yet.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done, jpeg = cv2.imencode(".jpg", lease.pixels, QUALITY)
    if not done:
        raise OSError("the picture cannot be encoded")
    # A name of chance: after a restart, or under a clock that was set, another could be taken.
    descriptor, name = tempfile.mkstemp(prefix=f".{result.camera}-", suffix=".jpg", dir=folder)
    with os.fdopen(descriptor, "wb") as file:
        file.write(jpeg.tobytes())
    hidden = Path(name)
    hidden.rename(hidden.with_name(hidden.name.removeprefix(".")))
