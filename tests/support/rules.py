"""What the code does that engines and their proofs rest on, on small inputs that stay the same.

One function for each rule of an engine's key; tests/support/rule_record.py keeps what they say.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from appliance import engines
from appliance.catalog.card import Channels, InputCard, Interpolation, Layout, read_card
from appliance.engines import Backend, cpu, cuda
from appliance.geometry import Fit, FitMode, clip, has_area
from appliance.nms import NmsMode, iou_matrix, suppress
from appliance.optimizer import verification
from appliance.optimizer.canonical import canonicalize
from appliance.optimizer.fittings import letterbox_of
from appliance.optimizer.measures import Terms, agreement, classification, detection
from appliance.optimizer.precision import rewrite
from appliance.optimizer.reference import Reference, place
from appliance.optimizer.verification import Candidate, verify
from appliance.predictions import Classification, Instances
from appliance.registry import plugins
from appliance.runtimes import BuildOptions, EngineOptions
from appliance.runtimes.tensorrt.building import build_with
from appliance.tasks import Thresholds
from appliance.tasks.classification import TASK as CLASSIFYING
from appliance.tasks.classification import ClassificationTable
from appliance.tasks.detection import TASK, DetectionTable
from appliance.values import Precision
from tests.support.bright_colors import network, write_bright_colors
from tests.support.detectors import made_model
from tests.support.fake_cuda import FakeCuda
from tests.support.fake_tensorrt import FakeTensorRt, IBuilderConfig
from tests.support.faults import Faulty, swapped_channels
from tests.support.heads import HEADS, graph_and_twin, run
from tests.support.models import paint, write_bright_spots
from tests.support.told import Said, told


def noise(width: int, height: int) -> Any:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


CLASSIFICATION, DETECTION = classification.MEASURE, detection.MEASURE
SIZES = ((80, 50), (33, 77), (48, 32), (20, 10))
BOXES = np.array(
    [
        [4, 4, 20, 28],
        [5, 4, 21, 28],
        [30, 8, 44, 30],
        [5, 5, 20, 27],
        [-3, 2, 8.5, 60],
        [9, 9, 9, 12],
    ],
    np.float32,
)
SCORES = np.array([0.9, 0.8, 0.75, 0.5, 0.31, 0.6], np.float32)
CLASSES = np.array([1, 1, 0, 2, 0, 1], np.int32)
ROWS = {"boxes": BOXES[None], "scores": SCORES[None], "class_ids": CLASSES[None]}


def cards() -> Iterator[tuple[str, Any]]:
    """The made detector's card with each way of fitting."""
    _, card = made_model("yolov8")
    for fit in FitMode:
        for interpolation in Interpolation:
            given = InputCard(size_wh=(48, 32), fit=fit, crop=0.875, interpolation=interpolation)
            yield f"{fit} {interpolation}", replace(card, input=given)


def letterbox(_folder: Path) -> Said:
    said = {}
    for name, card in cards():
        fitted = letterbox_of(card)
        for size in SIZES:
            slot = np.zeros((32, 48, 3), np.uint8)
            fitted.place(noise(*size), slot)
            said[f"{name} {size}"] = told(slot)
    return said


def geometry(_folder: Path) -> Said:
    said = {}
    for mode in FitMode:
        for size in SIZES:
            fit = Fit.of(mode, size, (48, 32), 0.875)
            part = (*fit.taken_wh, *fit.taken_xy)
            said[f"{mode} {size}"] = told([*fit.resized_wh, *fit.offset_xy, *part])
            said[f"{mode} {size} there"] = told(fit.to_input(BOXES))
            said[f"{mode} {size} back"] = told(fit.to_source(BOXES))
    odd = np.append(BOXES, [[np.nan, 0, 1, 1], [0, 0, 0.005, 9]], axis=0).astype(np.float32)
    return {**said, "clip": told(clip(BOXES, (40, 30))), "area": told(has_area(odd))}


def suppression(_folder: Path) -> Said:
    said = {"iou": told(iou_matrix(BOXES, BOXES))}
    for mode in NmsMode:
        for iou in (0.3, 0.5, 0.9):
            kept = suppress(BOXES, SCORES, CLASSES, mode=mode, iou=iou, limit=4)
            said[f"{mode} {iou}"] = told(kept)
    return said


def task_detection(_folder: Path) -> Said:
    thresholds = Thresholds.of(("a", "b", "c"), confidence=0.3, classes={"a": None, "b": 0.55})
    fit = Fit.of(FitMode.LETTERBOX, (96, 40), (48, 32))
    found = TASK.finish(ROWS, fit, DetectionTable(), thresholds)
    return {
        "boxes": told(found.boxes_xyxy_px),
        "scores": told(found.scores),
        "class_ids": told(found.class_ids),
    }


def task_classification(_folder: Path) -> Said:
    thresholds = Thresholds.of(("a", "b", "c"), confidence=0.4, classes={"a": None, "b": 0.55})
    fit = Fit.of(FitMode.CROP, (96, 40), (48, 32))
    found = CLASSIFYING.finish(ROWS, fit, ClassificationTable(), thresholds)
    return {"scores": told(found.scores), "class_ids": told(found.class_ids)}


def measure_detection(_folder: Path) -> Said:
    _, card = made_model("yolov8")
    said: Said = {}
    limits = {"f1": 0.9, "box_px": 1.0, "score": 0.05}
    many = Instances(
        np.tile(BOXES[2:3], (20, 1)), np.full(20, 0.9, np.float32), np.arange(20, dtype=np.int32)
    )
    fit = Fit.of(FitMode.LETTERBOX, (48, 32), (48, 32))
    for precision in Precision:
        for name, moved in (("same", 0.0), ("near", 0.3), ("far", 3.0)):
            compared = DETECTION.begin(Terms(card, precision, limits))
            seen = {**ROWS, "boxes": ROWS["boxes"] + np.float32(moved)}
            compared.add_outputs(ROWS, seen, of_noise=False)
            for _ in range(6):
                compared.add_predictions(many, many.scaled(1 + moved / 100), fit)
            said |= _finding(f"{precision} {name}", compared.finding())
        noisy = DETECTION.begin(Terms(card, precision, limits))
        noisy.add_outputs(ROWS, {**ROWS, "scores": ROWS["scores"] * 0.9}, of_noise=True)
        said |= _finding(f"{precision} noise", noisy.finding())
    image, placed = place(noise(80, 50), replace(card, input=replace(card.input, size_wh=(48, 32))))
    found = DETECTION.predict(ROWS, placed, card, 0.3)
    said |= {"predicted": told(found.boxes_xyxy_px), "placed": told(image)}
    return {**said, "numbers": _numbers(detection, agreement)}


def measure_classification(folder: Path) -> Said:
    said: Said = {}
    _, card = _made("classifier", folder)
    shares, class_ids = np.array([[0.6, 0.25, 0.1]], np.float32), np.array([[2, 0, 1]], np.int32)
    changes = {"same": (0, 0, 0), "near": (-0.015, 0.01, 0.005), "far": (-0.3, 0.3, 0)}
    fit = Fit.of(FitMode.STRETCH, (48, 32), (48, 32))
    ways = [(each, is_multi) for each in Precision for is_multi in (False, True)]
    for precision, is_multi in ways:
        for name, change in changes.items():
            given = replace(card, table=replace(card.table, multi_label=is_multi))
            terms = Terms(given, precision, {"top1": 0.9, "score": 0.02})
            compared, noisy = CLASSIFICATION.begin(terms), CLASSIFICATION.begin(terms)
            moved = shares + np.array(change, np.float32)
            one, other = ({"scores": each, "class_ids": class_ids} for each in (shares, moved))
            compared.add_outputs(one, other, of_noise=False)
            noisy.add_outputs(one, other, of_noise=True)
            seen = Classification(np.sort(moved[0])[::-1], class_ids[0][np.argsort(-moved[0])])
            for _ in range(30):
                compared.add_predictions(Classification(shares[0], class_ids[0]), seen, fit)
            case = f"{precision} {'several' if is_multi else 'one'} {name}"
            said |= _finding(case, compared.finding())
            said |= _finding(f"{case} noise", noisy.finding())
    return {**said, "numbers": _numbers(classification)}


def _numbers(*modules: Any) -> Any:
    """The numbers that stand in modules: limits show only on inputs that are close to them."""
    named = [vars(module) for module in modules]
    values = [
        names[each] for names in named for each in names if each.isupper() and each != "VERSION"
    ]
    return told(sorted(float(each) for each in values if isinstance(each, int | float)))


def _finding(name: str, found: Any) -> Said:
    verdict = "refused" if found.reason else "unproven" if found.missing else "proven"
    values = told([each.value for each in found.figures.values()])
    return {f"{name}: verdict": f"{verdict}: {', '.join(found.figures)}", f"{name}: values": values}


def head(name: str, folder: Path) -> Said:
    """What graph and twin make of one picture, of one class a place and of several."""
    said: Said = {}
    for several in (False, True):
        model, card = _made(name, folder)
        card = replace(card, table=replace(card.table, multi_label=several))
        picture = paint([("red", 4, 4, 20, 20), ("green", 40, 36, 58, 54)], card.input.size_wh)
        graph, twin = graph_and_twin(folder, model, card, picture)
        for side, outputs in (("graph", graph), ("twin", twin)):
            said |= {f"{side} {several} {key}": told(each) for key, each in outputs.items()}
    return said


def canonical(folder: Path) -> Said:
    said: Said = {}
    for layout in Layout:
        for channels in Channels:
            for mean, std in ((0.0, 1.0), (0.0, 255.0), (127.0, 128.0)):
                card, foreign = _bright_spots(folder)
                given = replace(card.input, channels=channels, mean=(mean,) * 3, std=(std,) * 3)
                if layout is Layout.NCHW:
                    model, card = made_model("yolov8")
                    onnx.save(model, foreign)
                    given = replace(given, layout=layout, name=None)
                card = replace(card, input=given)
                made = canonicalize(foreign, card, HEADS[card.head], folder / "canonical.onnx")
                name = f"{layout} {channels} {mean} {std}"
                said[f"{name} graph"] = _operators(made.path)
                outputs = run(made.path, {"frames": noise(64, 64)[None]})
                said |= {f"{name} {key}": told(each) for key, each in outputs.items()}
    return said


def written(precision: Precision, folder: Path) -> Said:
    """The graph and its numbers; what it computes is the processor's in these types."""
    said: Said = {}
    networks = {
        "spots": made_model("centernet"),
        "classes": (network(), _made("classifier", folder)[1]),
    }
    for name, (model, card) in networks.items():
        onnx.save(model, folder / "model.onnx")
        head_of = HEADS[card.head]
        made = canonicalize(folder / "model.onnx", card, head_of, folder / "canonical.onnx")
        frames = [noise(*card.input.size_wh), noise(*card.input.size_wh)[::-1].copy()]
        path = rewrite(made.path, precision, folder / f"{precision}.onnx", frames)
        said[f"{name} graph"] = _operators(path)
        weights = [numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer]
        numbers = [each.astype(np.float64).reshape(-1) for each in weights if each.dtype != bool]
        ordered = sorted(float(np.abs(each).mean()) for each in numbers if each.size)
        said[f"{name} weights"] = told(np.clip(ordered, -1e4, 1e4))
    return said


def reference(folder: Path) -> Said:
    said: Said = {}
    for name, card in cards():
        for size in SIZES:
            image, placed = place(noise(*size), card)
            said[f"{name} {size}"] = told(image)
            said[f"{name} {size} placed"] = told([*placed.offset_xy, *placed.scale_xy])
    card, foreign = _bright_spots(folder)
    for channels in Channels:
        given = replace(card, input=replace(card.input, channels=channels, mean=(3.0, 2.0, 1.0)))
        original = Reference(foreign, given, HEADS[card.head], threads=1)
        rows = original.run(noise(64, 64).astype(np.float32))
        said |= {f"{channels} {key}": told(each) for key, each in rows.items()}
    return said


def gate(folder: Path) -> Said:
    said: Said = {}
    card, foreign = _bright_spots(folder)
    made = canonicalize(foreign, card, HEADS[card.head], folder / "canonical.onnx")
    engine = cpu.ENGINE.load(made.path, made.contract, EngineOptions(threads=1))
    frames = [paint([("red", 10, 10, 40, 40), ("green", 90, 70, 120, 100)], (160, 120))] * 2
    faults: dict[str, dict[str, Any]] = {
        "none": {},
        "channels": {"before": swapped_channels},
        "no numbers": {"after": lambda outputs: outputs["scores"].fill(np.nan)},
        "other numbers": {"computes": {"fp32": 2, "fp16": 3, "int8": 1}},
    }
    for precision in Precision:
        for name, fault in faults.items():
            for shown in (frames, []):
                faulty = Faulty(engine, precision=precision, **{"computes": {}, **fault})
                candidate = Candidate(faulty, letterbox_of(card), TASK, DETECTION, card)
                found = verify(
                    candidate,
                    Reference(foreign, card, HEADS[card.head], threads=1),
                    shown,
                    limits={"f1": 0.99, "box_px": 1.0, "score": 0.02},
                    device="here",
                    progress=lambda _share: None,
                ).verification
                told_of = ", ".join(found.figures)
                said[f"{precision} {name} {len(shown)}"] = f"{found.verdict}: {told_of}"
    engine.close()
    return {**said, "numbers": _numbers(verification)}


def backend_cpu(folder: Path) -> Said:
    card, foreign = _bright_spots(folder)
    made = canonicalize(foreign, card, HEADS[card.head], folder / "canonical.onnx")
    built = cpu.ENGINE.build(made.path, folder, BuildOptions(), lambda *_: None)
    outputs = run(built, {"frames": noise(64, 64)[None]})
    return {"rungs": str(cpu.ENGINE.rungs)} | {key: told(each) for key, each in outputs.items()}


def backend_cuda(folder: Path) -> Said:
    card, foreign = _bright_spots(folder)
    made = canonicalize(foreign, card, HEADS[card.head], folder / "canonical.onnx")
    built = cuda.ENGINE.build(made.path, folder, BuildOptions(), lambda *_: None)
    return {"rungs": str(cuda.ENGINE.rungs), "graph": _operators(built)}


def backend_tensorrt(name: str, library_name: str, folder: Path) -> Said:
    """What the library is asked for; what it makes of that is its own and the GPU's."""
    card, foreign = _bright_spots(folder)
    made = canonicalize(foreign, card, HEADS[card.head], folder / "canonical.onnx")
    asked: list[str] = []

    class Config(IBuilderConfig):
        def __setattr__(self, key: str, value: Any) -> None:
            if key != "progress_monitor":
                asked.append(f"{key} = {value}")
            super().__setattr__(key, value)

        def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
            asked.append(f"{pool} {pool_size}")

        def clear_flag(self, flag: Any) -> None:
            asked.append(f"not {flag}")

    library = FakeTensorRt(FakeCuda(), library_name)
    builder = library.Builder(None)
    builder.create_builder_config = Config
    library.Builder = lambda _listener: builder
    options = BuildOptions(workspace_mb=7, optimization_level=2)
    build_with(library, made.path, folder, options, lambda *_: None)
    rungs = plugins(engines, "ENGINE", Backend)[name].rungs
    return {"rungs": str(rungs), "asked": "; ".join(sorted(asked))}


def _made(head_name: str, folder: Path) -> tuple[onnx.ModelProto, Any]:
    if head_name != "classifier":
        return made_model(head_name)
    colors = folder / "bright-colors"
    write_bright_colors(colors)
    return onnx.load(colors / "model.onnx"), read_card(colors / "model.toml")


def _bright_spots(folder: Path) -> tuple[Any, Path]:
    place_of = folder / "bright-spots"
    write_bright_spots(place_of)
    return read_card(place_of / "model.toml"), place_of / "model.onnx"


def _operators(path: Path) -> str:
    model = onnx.load(path)
    name_of = onnx.TensorProto.DataType.Name
    types = Counter(name_of(each.data_type) for each in model.graph.initializer)
    counted = Counter(node.op_type for node in model.graph.node)
    return " ".join(f"{name} {count}" for name, count in sorted((counted + types).items()))


RULES: Mapping[str, Callable[[Path], Said]] = {
    "letterbox": letterbox,
    "geometry": geometry,
    "suppression": suppression,
    "canonical": canonical,
    "fp16": partial(written, Precision.FP16),
    "int8": partial(written, Precision.INT8),
    "reference": reference,
    "gate": gate,
    "task detection": task_detection,
    "task classification": task_classification,
    "measure detection": measure_detection,
    "measure classification": measure_classification,
    **{f"head {name}": partial(head, name) for name in HEADS},
    "backend cpu": backend_cpu,
    "backend cuda": backend_cuda,
    "backend tensorrt": partial(backend_tensorrt, "tensorrt", "tensorrt"),
    "backend rtx": partial(backend_tensorrt, "rtx", "tensorrt_rtx"),
}
