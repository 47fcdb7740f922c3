"""A tiny canonical model, made without the optimizer: it finds one red and one green square.

It imports nothing but ONNX and the core, so that it serves on a machine with little installed.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from appliance.geometry import Fit, FitMode
from appliance.tasks import Thresholds
from appliance.tasks.detection import TASK, DetectionTable
from appliance.values import ModelContract, TensorSpec
from tests.support.models import IR_VERSION, LABELS, OPSET, paint

SIDE = 64
SIZE = (SIDE, SIDE)
COLORS = len(LABELS)
CONTRACT = ModelContract(
    task="detection",
    input=TensorSpec("frames", (1, SIDE, SIDE, 3), "uint8"),
    outputs=(
        TensorSpec("boxes", (1, COLORS, 4), "float32"),
        TensorSpec("scores", (1, COLORS), "float32"),
        TensorSpec("class_ids", (1, COLORS), "int32"),
    ),
)
RED, GREEN = [("red", 16, 16, 32, 32)], [("green", 44, 40, 60, 56)]
SEES_RED, SEES_GREEN = [(0, RED[0][1:])], [(1, GREEN[0][1:])]

UNFITTED = Fit.of(FitMode.LETTERBOX, SIZE, SIZE)
TABLE = DetectionTable(labels=LABELS, max_detections=5)
THRESHOLDS = Thresholds.of(LABELS, confidence=0.5, classes={})
ELEMENTS = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT, "int32": TensorProto.INT32}


def write_spots(path: Path) -> Path:
    """Write the model; returns `path`.

    A color's pixels are lit by a convolution. How far they reach to each of the four sides is
    the largest of the distances from the opposite side: that makes the box. A color that is
    nowhere has score 0 and class -1.
    """
    nodes = [
        helper.make_node("Cast", ["frames"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "colors"], ["signed"], name="colors"),
        helper.make_node("Relu", ["signed"], ["lit"]),
        helper.make_node("Reshape", ["lit", "apart"], ["lit_apart"]),
        helper.make_node("Mul", ["lit_apart", "distances"], ["reaches"]),
        helper.make_node("ReduceMax", ["reaches"], ["reach"], axes=[3, 4], keepdims=0),
        helper.make_node("Mul", ["reach", "signs"], ["turned"]),
        helper.make_node("Add", ["turned", "far"], ["boxes"]),
        helper.make_node("ReduceMax", ["lit"], ["scores"], axes=[2, 3], keepdims=0),
        helper.make_node("Greater", ["scores", "half"], ["seen"]),
        helper.make_node("Where", ["seen", "ids", "none"], ["class_numbers"]),
        helper.make_node("Cast", ["class_numbers"], ["class_ids"], to=TensorProto.INT32),
    ]
    up = np.arange(1, SIDE + 1, dtype=np.float32)
    down = up[::-1]
    ones = np.ones((SIDE, SIDE), np.float32)
    sides = [ones * down, ones * down[:, None], ones * up, ones * up[:, None]]
    weights = {
        "colors": (np.array([[-1, -1, 1], [-1, 1, -1]]) / 255).reshape(COLORS, 3, 1, 1),
        "distances": np.stack(sides).reshape(1, 1, 4, SIDE, SIDE),
        "signs": np.array([-1, -1, 1, 1]),
        "far": np.array([SIDE, SIDE, 0, 0]),
        "half": np.array(0.5),
        "ids": np.arange(COLORS).reshape(1, COLORS),
        "none": np.full((1, COLORS), -1),
    }
    tensors = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items()]
    apart = np.array([1, COLORS, 1, SIDE, SIDE])
    graph = helper.make_graph(
        nodes,
        "spots",
        [_value(CONTRACT.input)],
        [_value(spec) for spec in CONTRACT.outputs],
        [*tensors, numpy_helper.from_array(apart, "apart")],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION), path)
    return path


def show(slot, squares):
    """Paint squares into a slot's frame."""
    slot.frames[0] = paint(squares, SIZE)


def run(engine, slot, squares):
    """Let an engine look at painted squares."""
    show(slot, squares)
    engine.submit(slot)
    assert engine.wait(slot)


def seen(slot):
    """Class and box of what a slot's outputs hold."""
    found = TASK.finish(slot.outputs, UNFITTED, TABLE, THRESHOLDS)
    boxes = found.boxes_xyxy_px.round().astype(int).tolist()
    return list(zip(found.class_ids.tolist(), map(tuple, boxes), strict=True))


def _value(spec):
    return helper.make_tensor_value_info(spec.name, ELEMENTS[spec.dtype], spec.shape)
