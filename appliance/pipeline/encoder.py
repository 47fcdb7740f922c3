"""The live encoder: each watched picture becomes a JPEG once, for all viewers.

It sleeps while nobody watches. It keeps the newest result of each watched camera and drops the
one before; a picture is encoded straight from the frame slot, which its lease keeps. One that is
painted on first is copied, since others read the slot.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from loguru import logger
from typing_extensions import override

from appliance.buffers import Lease
from appliance.predictions import Result
from appliance.readings import PictureReading
from appliance.render import known as painters
from appliance.threads import Full, Mailbox, Worker
from appliance.values import U8, Skip

Paint = Callable[[U8, Result], None]
Job = tuple[Result, Lease]


@dataclass(frozen=True, slots=True)
class LivePicture:
    """One picture with the predictions that belong to it.

    Attributes:
        result: of this very picture.
        jpeg: the picture; without the prediction, unless the encoder draws it in.
    """

    result: Result
    jpeg: bytes


def burn(picture: U8, result: Result) -> None:
    """Draw a result's prediction into its picture (H, W, 3) uint8 BGR."""
    painters()[result.task].paint(picture, result.prediction, result.names())


class LiveEncoder(Worker):
    """One thread. `offer` is called by the loop, `watch` and `unwatch` by viewers.

    Args:
        publish: gets each picture, in the encoder's thread; must not block.
        fps: most pictures per second and camera.
        quality: JPEG quality, 1..100.
        clock_ns: monotonic.
        paint: draws into a copy of each picture before it is encoded; None: as it is.
        name: of the thread.

    Attributes:
        name: as a sink.
        frames_held: of each camera one waits, and one is encoded.
    """

    frames_held = 2

    def __init__(
        self,
        publish: Callable[[LivePicture], None],
        *,
        fps: float,
        quality: int,
        clock_ns: Callable[[], int],
        paint: Paint | None = None,
        name: str = "encoder",
    ) -> None:
        super().__init__(name)
        self.name = name
        self._publish = publish
        self._period_ns = int(1e9 / fps)
        self._parameters = [cv2.IMWRITE_JPEG_QUALITY, quality]
        self._clock_ns = clock_ns
        self._paint = paint
        self._canvases: dict[str, U8] = {}  # by camera; the encoder's own, written over each time
        self._waiting: Mailbox[Job] = Mailbox(
            1, Full.OLDEST, on_drop=self._skip, kind_of=lambda job: job[0].camera
        )
        self._changed = self._waiting.changed
        self._watched: Counter[str] = Counter()
        self._due_ns: dict[str, int] = {}
        self._sent: Counter[str] = Counter()
        self._skips: dict[str, Counter[Skip]] = {}

    @override
    def stop(self) -> None:
        """End after the picture at hand; idempotent."""
        with self._changed:
            super().stop()
            self._waiting.close()
            for _, lease in self._waiting.clear():
                lease.release()

    def watch(self, camera: str) -> None:
        """One more viewer looks at `camera`."""
        with self._changed:
            self._watched[camera] += 1

    def unwatch(self, camera: str) -> None:
        """One viewer less; the last one lets the waiting picture go."""
        with self._changed:
            self._watched[camera] -= 1
            if self._watched[camera] <= 0:
                del self._watched[camera]
                for job in [each for each in self._waiting if each[0].camera == camera]:
                    self._waiting.remove(job)
                    job[1].release()
                self._canvases.pop(camera, None)

    def offer(self, result: Result, lease: Lease) -> None:
        """Keep this picture if somebody watches; the one that waited goes."""
        with self._changed:
            if self._stop.is_set() or result.camera not in self._watched:
                return
            if self._clock_ns() < self._due_ns.get(result.camera, 0):
                return
            self._waiting.put((result, lease.retain()))

    def sent(self, camera: str) -> None:
        """A viewer was sent a picture of `camera`."""
        with self._changed:
            self._sent[camera] += 1

    def skipped(self, camera: str) -> None:
        """A viewer missed a picture of `camera`: it had not drawn the one before."""
        with self._changed:
            self._skips.setdefault(camera, Counter())[Skip.VIEWER] += 1

    def pictures(self) -> Mapping[str, PictureReading]:
        """What became of the pictures of each camera that was watched."""
        with self._changed:
            cameras = self._sent.keys() | self._skips.keys()
            return {
                camera: PictureReading(self._sent[camera], dict(self._skips.get(camera, {})))
                for camera in cameras
            }

    def _skip(self, job: Job) -> None:
        """A newer picture has taken its place; under the lock."""
        result, lease = job
        lease.release()
        self._skips.setdefault(result.camera, Counter())[Skip.ENCODER] += 1

    @override
    def _run(self) -> None:
        while (job := self._next()) is not None:
            result, lease = job
            try:
                jpeg = self._encoded(result, lease)
                self._publish(LivePicture(result, jpeg))
            except Exception:  # noqa: BLE001 - top of the thread: told, not swallowed
                logger.bind(camera=result.camera).exception("live picture: not encoded")

    def _encoded(self, result: Result, lease: Lease) -> bytes:
        """The picture as JPEG; its lease ends here."""
        with lease:
            if self._paint is None:
                return _jpeg(lease.pixels, self._parameters)
            canvas = self._canvas(result.camera, lease.pixels)
        self._paint(canvas, result)
        return _jpeg(canvas, self._parameters)

    def _canvas(self, camera: str, pixels: U8) -> U8:
        """A copy, in memory that is kept for as long as the camera's pictures have one size."""
        canvas = self._canvases.get(camera)
        if canvas is None or canvas.shape != pixels.shape:
            canvas = self._canvases[camera] = np.empty_like(pixels)
        np.copyto(canvas, pixels)
        return canvas

    def _next(self) -> Job | None:
        with self._changed:
            job = self._waiting.take()
            if job is not None:
                camera = job[0].camera
                self._due_ns[camera] = self._due_after(camera)
            return job

    def _due_after(self, camera: str) -> int:
        """Keep an even beat: half a period of slack, so that 15 of 25 do not become 12.5."""
        now = self._clock_ns()
        due = self._due_ns.get(camera, 0) + self._period_ns
        return due if now - due < self._period_ns else now + self._period_ns // 2


def _jpeg(picture: U8, parameters: list[int]) -> bytes:
    done, jpeg = cv2.imencode(".jpg", picture, parameters)
    if not done:
        raise ValueError(f"expected a picture that can be encoded, got one of {picture.shape}")
    return jpeg.tobytes()


def all_pictures(encoders: Sequence[LiveEncoder]) -> dict[str, PictureReading]:
    """What became of the pictures of each camera, whichever encoder made them."""
    readings = [encoder.pictures() for encoder in encoders]
    cameras = sorted({camera for reading in readings for camera in reading})
    none = PictureReading()
    found = {}
    for camera in cameras:
        own = [reading.get(camera, none) for reading in readings]
        skips = sum((Counter(one.skips) for one in own), Counter())
        found[camera] = PictureReading(sum(one.sent for one in own), dict(skips))
    return found
