"""Canonical models to rewrite and to build: the real detectors, and a made one of every head."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from appliance.catalog.card import CARD_FILE, Card, InputCard, Layout, read_card
from appliance.catalog.library import builtin_models_dir
from appliance.optimizer.canonical import Canonical, canonicalize
from appliance.optimizer.fittings import letterbox_of
from appliance.tasks.classification import ClassificationTable
from appliance.tasks.detection import DetectionTable
from appliance.values import U8
from tests.support import bright_colors, models
from tests.support.heads import HEADS
from tests.support.models import FOREIGN_CARDS, constant_outputs, with_conv

CENTERNET = "centernet-mobilenetv3"
DETECTORS = (CENTERNET, *FOREIGN_CARDS)
SIDE = 64
LABELS = ("cup", "dog", "car")
CLIP = "pedestrians_20s.mp4"


def card_of(name: str, folder: Path) -> Card:
    """The card of one of DETECTORS."""
    if name == CENTERNET:
        return read_card(builtin_models_dir() / name / CARD_FILE)
    path = folder / Path(name).stem.replace("_", "-") / CARD_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(FOREIGN_CARDS[name], encoding="utf-8")
    return read_card(path)


def canonical_of(weights: Path, card: Card, folder: Path) -> Canonical:
    """The canonical model of these weights, in `folder`."""
    return canonicalize(weights, card, HEADS[card.head], folder / "canonical.onnx")


def frames_of(clip: Path, card: Card, count: int) -> Iterator[U8]:
    """Frames from all over a clip, as they go into the slot: (h, w, 3)."""
    width, height = card.input.size_wh
    letterbox = letterbox_of(card)
    capture = cv2.VideoCapture(str(clip))
    step = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) // count
    for index in range(step * count):
        _, frame = capture.read()
        if index % step == 0:
            slot = np.zeros((height, width, 3), np.uint8)
            letterbox.place(frame, slot)
            yield slot
    capture.release()


def made_model(head: str) -> tuple[onnx.ModelProto, Card]:
    """A small model that ends as exports of this head do, and its card."""
    if head == "classifier":
        table = ClassificationTable(labels=bright_colors.LABELS)
        card = replace(made_model("yolov8")[1], task="classification", head=head, table=table)
        return MADE[head](), card
    card = Card(
        name="made",
        title="Made",
        license="MIT",
        source="made by the tests",
        task="detection",
        head=head,
        input=InputCard(size_wh=(SIDE, SIDE)),
        table=DetectionTable(candidates=20, labels=LABELS),
    )
    if head == "centernet":
        table = DetectionTable(candidates=20, labels=("red", "green"))
        card = replace(card, input=replace(card.input, layout=Layout.NHWC), table=table)
    return MADE[head](), card


def _shares(*shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(1).uniform(0.01, 0.99, shape)


MADE: dict[str, Callable[[], onnx.ModelProto]] = {
    "classifier": lambda: bright_colors.network(SIDE),
    "centernet": lambda: models.bright_spots(SIDE),
    "end_to_end": lambda: constant_outputs({"output0": _shares(1, 50, 6)}, (SIDE, SIDE)),
    "fastestdet": lambda: with_conv(
        constant_outputs({"output0": _shares(1, 8, 4, 4)}, (SIDE, SIDE))
    ),
    "yolov5": lambda: with_conv(models.yolov5_tail(_shares(1, 8, 8, 8), SIDE)),
    "yolov8": lambda: with_conv(
        models.yolov8_tail(_shares(1, 64, 84), _shares(1, len(LABELS), 84), SIDE)
    ),
    "yolox": lambda: with_conv(
        models.yolox_tail([_shares(1, 8, SIDE // n, SIDE // n) for n in (8, 16, 32)], SIDE)
    ),
}


def nms_inside() -> onnx.ModelProto:
    """An export that suppresses in its graph, and pads what is left to 50 rows."""
    node = helper.make_node
    tail = [
        node("NonMaxSuppression", ["boxes", "scores", "most", "iou"], ["chosen"], name="suppress"),
        node("Gather", ["chosen", "two"], ["places"], axis=1),
        node("Squeeze", ["boxes", "first"], ["all_boxes"]),
        node("Gather", ["all_boxes", "places"], ["best"], axis=0),
        node("Cast", ["chosen"], ["ids"], to=TensorProto.FLOAT),
        node("Slice", ["ids", "zero_", "two_", "first_axis"], ["pair"]),
        node("Concat", ["best", "pair"], ["rows"], axis=1),
        node("Concat", ["rows", "padding"], ["padded"], axis=0),
        node("Slice", ["padded", "zero_", "fifty", "first"], ["fifty_rows"]),
        node("Unsqueeze", ["fifty_rows", "first"], ["output"]),
    ]
    model = constant_outputs(
        {"boxes": _shares(1, 40, 4), "scores": _shares(1, 3, 40)},
        (SIDE, SIDE),
        tail,
        most=np.array([9]),
        iou=np.array([0.5], np.float32),
        two=np.int64(2),
        two_=np.array([2]),
        first=np.array([0]),
        first_axis=np.array([1]),
        zero_=np.array([0]),
        fifty=np.array([50]),
        padding=np.zeros((50, 6), np.float32),
    )
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("output", TensorProto.FLOAT, (1, 50, 6))
    )
    return model


def rounding_as_halves_do(path: Path, into: Path) -> Path:
    """A half-precision file, written so that a processor without halves rounds all of it.

    ONNX Runtime on such a processor computes half-precision nodes in single precision and leaves
    out the roundings between them. Here every half-precision tensor is single precision, and
    goes through half precision and back behind the node that makes it.
    """
    model = onnx.load(path)
    graph = model.graph
    halves = {
        value.name
        for value in graph.value_info
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16
    }
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            array = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    nodes = []
    for node in graph.node:
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT16:
            node.attribute[0].i = TensorProto.FLOAT
        rounded = [(index, name) for index, name in enumerate(node.output) if name in halves]
        for index, name in rounded:
            node.output[index] = f"{name}/exact"
        nodes.append(node)
        for _, name in rounded:
            down, up = TensorProto.FLOAT16, TensorProto.FLOAT
            nodes.append(helper.make_node("Cast", [f"{name}/exact"], [f"{name}/half"], to=down))
            nodes.append(helper.make_node("Cast", [f"{name}/half"], [name], to=up))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    del graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, into)
    return into
