"""Keeps pictures of the cameras, by which each model's engine is verified and calibrated.

Nobody has a shell on the box to put pictures there. So the station takes some of its own, where it
was told to: one now and then, so that they differ, until each model has as many as were asked for.
Where they may grow no older than some days, new ones take the place of the old: a few at a time,
and only while the clock can be believed.

While the disk is full, or its folder cannot be written, it keeps none, says so, and tries again
with every picture that is due.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
from loguru import logger
from typing_extensions import override

from appliance.buffers import Lease
from appliance.errors import StoreError
from appliance.pipeline.ageing import TIDY_EVERY_S, Ageing, own_pictures
from appliance.pipeline.clock_watch import ClockWatch
from appliance.predictions import Result
from appliance.stores.room import ask_for_room
from appliance.threads import Full, Mailbox, Worker

PERIOD_S = 30.0
PAUSED = "Saving of pictures to verify with is paused"
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95]


@dataclass(frozen=True, slots=True)
class Keeping:
    """What becomes of the pictures.

    Attributes:
        wanted: pictures for each model.
        days: after which one of the station's own is removed; 0 keeps them.
    """

    wanted: int
    days: int = 0


class Collector(Worker):
    """One thread. `offer` is called by the loop.

    Args:
        folders: where the pictures of each model go; made when the first one comes.
        models: the model that looks at each camera, by its key.
        on_enough: gets a model's name once, when its last picture lies there.
        keeping: how many, and for how long.
        clock_ns: monotonic.
        watch: over the wall clock, by which files are aged.

    Attributes:
        name: as a sink.
        frames_held: one waits, and one is written; none where no pictures are wanted.
    """

    name = "collector"

    def __init__(
        self,
        folders: Mapping[str, Path],
        models: Mapping[str, str],
        keeping: Keeping,
        *,
        on_enough: Callable[[str], None],
        clock_ns: Callable[[], int],
        watch: ClockWatch,
    ) -> None:
        super().__init__(self.name)
        self.frames_held = 2 if keeping.wanted else 0
        self._folders = folders
        self._models = models
        self._keeping = keeping
        self._on_enough = on_enough
        self._clock_ns = clock_ns
        self._ageing = Ageing(keeping.days, watch=watch, clock_ns=clock_ns)
        self._waiting: Mailbox[tuple[Result, Lease]] = Mailbox(
            1, Full.NEWEST, on_drop=lambda job: job[1].release()
        )
        self._changed = self._waiting.changed
        self._trouble = ""
        self._missing = {name: keeping.wanted - _count(folder) for name, folder in folders.items()}
        self._due_ns = dict.fromkeys(models, 0)

    @override
    def stop(self) -> None:
        """End after the picture at hand; idempotent."""
        with self._changed:
            super().stop()
            self._waiting.close()
            for _, lease in self._waiting.clear():
                lease.release()

    def offer(self, result: Result, lease: Lease) -> None:
        """Take this picture if one is due and none waits."""
        now_ns = self._clock_ns()
        with self._changed:
            is_due = now_ns >= self._due_ns[result.camera]
            is_wanted = self._missing[self._models[result.camera]] > 0
            if is_due and is_wanted and self._waiting.put((result, lease.retain())):
                self._due_ns[result.camera] = now_ns + int(PERIOD_S * 1e9)

    def trouble(self) -> str:
        """Why pictures that are due are not kept, in a sentence; empty while they are."""
        return self._trouble

    @override
    def _run(self) -> None:
        for folder in self._folders.values():
            for path in own_pictures(folder):
                if path.name.startswith("."):  # begun by the run before
                    path.unlink(missing_ok=True)
        while not self._stop.is_set():
            self._forget_old()
            # After a while without any, the old ones are looked at again.
            if (job := self._waiting.take(TIDY_EVERY_S)) is not None:
                self._take(*job)

    def _take(self, result: Result, lease: Lease) -> None:
        model = self._models[result.camera]
        try:
            with lease:
                self._ageing.taken(_keep(lease, self._folders[model], result))
        except (OSError, StoreError) as error:
            self._pause(model, error)
        except Exception:  # noqa: BLE001 - top of the thread: told, not swallowed
            logger.bind(model=model).exception("verify picture: not kept")
        else:
            self._resume(model)
            self._one_less(model)

    def _forget_old(self) -> None:
        """Others take the place of what is too old."""
        try:
            gone = self._ageing.forget(self._folders)
        except OSError as error:  # as when somebody clears the folder meanwhile
            logger.warning("verify pictures: the old ones stay for now: {}", error)
            return
        for model, count in gone.items():
            if count:
                logger.bind(model=model).info("verify pictures: {} were too old", count)
                with self._changed:
                    self._missing[model] = self._keeping.wanted - _count(self._folders[model])

    def _pause(self, model: str, error: OSError | StoreError) -> None:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        was, self._trouble = self._trouble, f"{PAUSED}: {reason}"
        if not was:
            logger.bind(model=model).warning("verify pictures: none are kept: {}", reason)

    def _resume(self, model: str) -> None:
        was, self._trouble = self._trouble, ""
        if was:
            logger.bind(model=model).info("verify pictures: are kept again")

    def _one_less(self, model: str) -> None:
        with self._changed:
            self._missing[model] -= 1
            is_enough = self._missing[model] == 0
        if is_enough:
            logger.bind(model=model).info("verify pictures: all there, in {}", self._folders[model])
            self._on_enough(model)


def _count(folder: Path) -> int:
    pictures = (path for path in folder.glob("*.jpg") if not path.name.startswith("."))
    return sum(path.is_file() for path in pictures)


def _keep(lease: Lease, folder: Path, result: Result) -> Path:
    """Write one picture, whole or not at all; its name is never taken yet.

    Returns:
        Where it is.

    Raises:
        OSError: the folder cannot be written.
        StoreError: the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done, jpeg = cv2.imencode(".jpg", lease.pixels, QUALITY)
    if not done:
        raise ValueError("expected a picture that can be encoded")
    ask_for_room(folder, jpeg.size)
    # A name of chance: after a restart, or under a clock that was set, another could be taken.
    descriptor, name = tempfile.mkstemp(prefix=f".{result.camera}-", suffix=".jpg", dir=folder)
    hidden = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(jpeg.tobytes())
        return hidden.rename(hidden.with_name(hidden.name.removeprefix(".")))
    except OSError:
        hidden.unlink()
        raise
