"""One way of working, alone in a process: `python -m benchmarks.worker WAY ...` prints JSON.

Alone, because idle thread pools of a second session would slow the first one.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import psutil
from loguru import logger
from numpy.typing import NDArray

from appliance.app.pipeline import camera_spec
from appliance.capture.camera import Camera
from appliance.capture.sources.file import SOURCE
from appliance.capture.timing import Timing
from appliance.catalog.inspection import inspect_onnx
from appliance.engines.cpu import ENGINE
from appliance.errors import ApplianceError
from appliance.optimizer import heads
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.fittings import letterbox_of
from appliance.optimizer.heads import Head
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.lanes import Lane
from appliance.pipeline.loop import Loop
from appliance.pipeline.served import ServedModel
from appliance.predictions import Result
from appliance.registry import plugins
from appliance.runtimes import EngineOptions
from appliance.settings import Camera as CameraSettings
from appliance.tasks.detection import TASK
from benchmarks.inputs import MODEL, Inputs, criteria_of, obtain_inputs

WARM_UP_S = 1.0


def measure(step: Callable[[], None], seconds: float) -> dict[str, float]:
    """Repeat `step` for a while; frames, wall and processor seconds after a warm-up."""
    end_s = time.monotonic() + WARM_UP_S
    while time.monotonic() < end_s:
        step()
    process, frames = psutil.Process(), 0
    cpu_s, begin_s = _cpu_s(process), time.monotonic()
    while time.monotonic() - begin_s < seconds:
        step()
        frames += 1
    return _figures(frames, time.monotonic() - begin_s, _cpu_s(process) - cpu_s)


def _figures(frames: int, wall_s: float, cpu_s: float) -> dict[str, float]:
    return {"fps": frames / wall_s, "cpu_ms": cpu_s / frames * 1e3, "frames": frames}


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def original(inputs: Inputs, args: argparse.Namespace) -> dict[str, float]:
    """The original model's session.run alone, on a ready float tensor."""
    session = _session(inputs.weights, args.threads)
    width, height = inputs.card.input.size_wh
    random = np.random.default_rng(0)
    ready = random.uniform(0, 255, (height, width, 3)).astype(np.float32)
    ready = _prepared(ready, inputs)
    name = session.get_inputs()[0].name
    return measure(lambda: session.run(None, {name: ready}), args.seconds)


def canonical(inputs: Inputs, args: argparse.Namespace) -> dict[str, float]:
    """The canonical engine alone, on a ready slot."""
    engine = _engine(inputs, args)
    slot = engine.slots[0]
    slot.frames[:] = np.random.default_rng(0).integers(0, 255, slot.frames.shape, np.uint8)

    def step() -> None:
        engine.submit(slot)
        engine.wait(slot)

    return measure(step, args.seconds)


def plain(inputs: Inputs, args: argparse.Namespace) -> dict[str, float]:
    """A loop as one writes it first: read, resize, numpy, run, numpy decode."""
    session = _session(inputs.weights, args.threads)
    name, outputs = session.get_inputs()[0].name, [o.name for o in session.get_outputs()]
    video = cv2.VideoCapture(str(inputs.clip_720p))
    width, height = inputs.card.input.size_wh
    head, file = _head(inputs), inspect_onnx(inputs.weights)

    def step() -> None:
        there, frame = video.read()
        if not there:
            video.set(cv2.CAP_PROP_POS_FRAMES, 0)
            _, frame = video.read()
        scale = min(width / frame.shape[1], height / frame.shape[0])
        size = round(frame.shape[1] * scale), round(frame.shape[0] * scale)
        canvas = np.zeros((height, width, 3), np.uint8)
        top, left = (height - size[1]) // 2, (width - size[0]) // 2
        canvas[top : top + size[1], left : left + size[0]] = cv2.resize(frame, size)
        raw = session.run(outputs, {name: _prepared(canvas, inputs)})
        head.decode(dict(zip(outputs, raw, strict=True)), inputs.card, file)

    return measure(step, args.seconds)


def product(inputs: Inputs, args: argparse.Namespace) -> dict[str, float]:
    """Everything between the file and the detections, as the station runs it."""
    results: list[Result] = []
    loop: Loop
    settings = CameraSettings(url=str(inputs.clip_720p), paced=False)
    camera = Camera(
        camera_spec("street", settings),
        SOURCE,
        timing=Timing(wall_s=lambda: 0.0),
        slots_count=6,
        on_publish=lambda: loop.wake(),  # noqa: PLW0108 - the loop is made after its cameras
    )
    loop = Loop(
        [Lane("street", camera, inputs.card.name, criteria_of(inputs.card))],
        on_result=lambda result, _: results.append(result),
        on_failure=_raise,
        heartbeat=Heartbeat(time.monotonic_ns),
        clock_ns=time.monotonic_ns,
    )
    loop.install(_served(inputs, args))
    loop.start()
    camera.start()
    while len(results) < 10:
        time.sleep(0.05)
    time.sleep(WARM_UP_S)
    process = psutil.Process()
    before, cpu_s, begin_s = len(results), _cpu_s(process), time.monotonic()
    time.sleep(args.seconds)
    figures = _figures(len(results) - before, time.monotonic() - begin_s, _cpu_s(process) - cpu_s)
    for part in (camera, loop):
        part.stop()
        part.join(5)
    return figures


def _prepared(picture: NDArray[Any], inputs: Inputs) -> NDArray[np.float32]:
    """The model's input from a fitted BGR picture (h, w, 3), as one writes it in numpy."""
    card = inputs.card.input
    tensor = picture[..., ::-1].astype(np.float32)
    if any(figure != 1 for figure in card.std):
        tensor /= np.array(card.std, np.float32)
    if card.layout == "nchw":
        tensor = tensor.transpose(2, 0, 1)
    return np.ascontiguousarray(tensor[None])


def _head(inputs: Inputs) -> Head:
    return plugins(heads, "HEAD", Head)[inputs.card.head]


def _raise(model: ServedModel | None, error: ApplianceError) -> None:
    raise RuntimeError(model.name if model else "") from error


def _engine(inputs: Inputs, args: argparse.Namespace) -> Any:  # noqa: ANN401
    in_flight = min(args.threads, 2)
    path = args.cache / f"canonical-{inputs.card.name}-{args.threads}.onnx"
    made = canonicalize(inputs.weights, inputs.card, _head(inputs), path)
    return ENGINE.load(
        made.path,
        made.contract,
        EngineOptions(threads=args.threads // in_flight, in_flight=in_flight),
    )


def _served(inputs: Inputs, args: argparse.Namespace) -> ServedModel:
    card, engine = inputs.card, _engine(inputs, args)
    return ServedModel(card.name, engine, TASK, card.table, letterbox_of(card))


WAYS = {"original": original, "canonical": canonical, "plain": plain, "product": product}


def main() -> None:
    """Run one way and print its figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=sorted(WAYS))
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    logger.remove()
    inputs = obtain_inputs(args.cache, args.model)
    print(json.dumps(WAYS[args.way](inputs, args)))


if __name__ == "__main__":
    main()
