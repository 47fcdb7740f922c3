"""Live-like cameras from memory, for measures of the loop itself."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from appliance.capture.camera import Camera
from appliance.capture.contract import UNKNOWN_TIME_S, CameraSpec, Source
from appliance.capture.timing import Timing
from appliance.engines.cpu import ENGINE
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.fittings import letterbox_of
from appliance.optimizer.heads.centernet import HEAD
from appliance.pipeline.criteria import Criteria
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.lanes import Lane
from appliance.pipeline.loop import Loop
from appliance.pipeline.served import ServedModel
from appliance.predictions import Result
from appliance.runtimes import EngineOptions, EngineReport, EngineSlot
from appliance.tasks.detection import TASK, DetectionTable
from appliance.values import U8
from benchmarks.inputs import Inputs

SECONDS = 8.0
KEPT_FRAMES = 50


class MemoryCapture:
    """Plays decoded frames of the clip at a steady rate, like a camera would."""

    def __init__(self, frames: list[U8], fps: float) -> None:
        self._frames = frames
        self._period_s = 1 / fps if fps else 0.0
        self._due_s = time.monotonic()
        self._index = 0

    def grab(self) -> float:
        """Wait for the beat."""
        self._due_s = max(self._due_s + self._period_s, time.monotonic() - self._period_s)
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        self._index += 1
        return UNKNOWN_TIME_S

    def retrieve(self, into: U8 | None) -> U8:
        """Copy the frame into the slot."""
        frame = self._frames[self._index % len(self._frames)]
        if into is None or into.shape != frame.shape:
            return frame.copy()
        np.copyto(into, frame)
        return into

    def close(self) -> None:
        """Nothing is held."""


class StubEngine:
    """Finds nothing, at once."""

    report = EngineReport("stub", "stub", "nothing", "0", "fp32")

    def __init__(self, shape: tuple[int, ...], rows: int) -> None:
        self.slots = tuple(
            EngineSlot(
                index,
                np.zeros(shape, np.uint8),
                {
                    "boxes": np.zeros((1, rows, 4), np.float32),
                    "scores": np.zeros((1, rows), np.float32),
                    "class_ids": np.full((1, rows), -1, np.int32),
                },
            )
            for index in range(2)
        )

    def submit(self, slot: EngineSlot) -> None:
        """Nothing to do."""

    def wait(self, slot: EngineSlot, timeout_s: float | None = None) -> bool:  # noqa: ARG002
        """Nothing to wait for."""
        return True

    def close(self) -> None:
        """Nothing is held."""


def clip_frames(clip: Path) -> list[U8]:
    """Some decoded frames (H, W, 3) uint8."""
    video = cv2.VideoCapture(str(clip))
    frames = [np.asarray(video.read()[1], np.uint8) for _ in range(KEPT_FRAMES)]
    video.release()
    return frames


def age_of_results(inputs: Inputs, cache: Path, cameras: int) -> dict[str, float]:
    """Ages and inference times over some seconds, each camera at 40 fps."""
    fps = 40.0
    path = cache / "canonical-age.onnx"
    made = canonicalize(inputs.weights, inputs.card, HEAD, path)
    engine = ENGINE.load(made.path, made.contract, EngineOptions(in_flight=2))
    results: list[Result] = []
    model = ServedModel("m", engine, TASK, inputs.card.table, letterbox_of(inputs.card))
    with _looping(model, clip_frames(inputs.clip), (cameras, fps), results.append):
        time.sleep(2)
        results.clear()
        time.sleep(SECONDS)
        seen = list(results)
    ages = np.array([result.age_ms for result in seen])
    times = np.array([result.inference_ms for result in seen])
    return {
        "p99_ms": float(np.quantile(ages, 0.99)),
        "median_ms": float(np.median(ages)),
        "inference_ms": float(np.quantile(times, 0.99)),
        "period_ms": 1e3 / fps,
        "fps": len(seen) / SECONDS,
    }


@contextmanager
def stub_station(inputs: Inputs) -> Iterator[Callable[[], int]]:
    """One camera as fast as it can be, 720p, and an engine that does nothing; counts results."""
    counted = [0]

    def count(_: Result) -> None:
        counted[0] += 1

    width, height = inputs.card.input.size_wh
    engine = StubEngine((1, height, width, 3), inputs.card.table_of(DetectionTable).candidates)
    model = ServedModel("m", engine, TASK, inputs.card.table, letterbox_of(inputs.card))
    with _looping(model, clip_frames(inputs.clip_720p), (1, 0.0), count):
        yield lambda: counted[0]


@contextmanager
def _looping(
    model: ServedModel,
    frames: list[U8],
    cameras: tuple[int, float],
    on_result: Callable[[Result], None],
) -> Iterator[None]:
    count, fps = cameras
    loop: Loop
    source = Source("memory", ("memory",), live=True, open=lambda _: MemoryCapture(frames, fps))
    parts = [
        Camera(
            CameraSpec(key=f"c{index}", name=f"c{index}", url="memory://clip"),
            source,
            timing=Timing(wall_s=lambda: 0.0),
            slots_count=6,
            on_publish=lambda: loop.wake(),  # noqa: PLW0108 - the loop is made after its cameras
        )
        for index in range(count)
    ]
    failed = threading.Event()
    usual = Criteria(model.table.confidence)
    loop = Loop(
        [Lane(f"c{index}", camera, model.name, usual) for index, camera in enumerate(parts)],
        on_result=lambda result, _: on_result(result),
        on_failure=lambda *_: failed.set(),
        heartbeat=Heartbeat(time.monotonic_ns),
        clock_ns=time.monotonic_ns,
    )
    loop.install(model)
    loop.start()
    for camera in parts:
        camera.start()
    try:
        yield
    finally:
        for part in (*parts, loop):
            part.stop()
            part.join(5)
    if failed.is_set():
        raise RuntimeError("the engine failed")
