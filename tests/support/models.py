"""Tiny ONNX models made at test time, and the pictures they look at.

`bright_spots` is a detector of the CenterNet family that really detects: red and green
squares on black, with their true boxes, by fixed convolutions. It needs no download and runs
in under a millisecond, so that whole-process tests stay offline and fast.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 9
STRIDE = 4
COLORS_BGR = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}
LABELS = ("red", "green")  # class ids 0 and 1; blue is seen by nobody

Square = tuple[str, int, int, int, int]  # color, then xyxy in pixels

CARD = """\
title = "Bright spots: red and green squares on black"
license = "MIT"
source = "made by the tests"
task = "detection"
head = "centernet"

[input]
size_wh = [{size}, {size}]
name = "images"
layout = "nhwc"
channels = "rgb"
fit = "letterbox"
interpolation = "linear"
pad_value = 0

[detection]
nms = "per_class"
iou = 0.5
max_detections = 20
candidates = 50
labels = ["red", "green"]
"""


def paint(squares: Iterable[Square], size_wh: tuple[int, int] = (320, 240)) -> NDArray[np.uint8]:
    """A black (H, W, 3) uint8 BGR picture with squares on it.

    `bright_spots` finds squares with sides of an eighth to a third of the longer side, at least
    a quarter of the longer side apart.
    """
    width, height = size_wh
    picture = np.zeros((height, width, 3), np.uint8)
    for color, left, top, right, bottom in squares:
        picture[top:bottom, left:right] = COLORS_BGR[color]
    return picture


def write_bright_spots(folder: Path, *, size: int = 64) -> None:
    """Write `folder`/model.toml and `folder`/model.onnx; the folder's name is the model's.

    Args:
        folder: made if it is not there.
        size: input side in pixels, a multiple of 16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.toml").write_text(CARD.format(size=size), encoding="utf-8")
    onnx.save(bright_spots(size), folder / "model.onnx")


def bright_spots(size: int = 64) -> onnx.ModelProto:
    """The detector: `images` (1, S, S, 3) float32 RGB 0..255 to `keypoints` and `wh`.

    A place's score grows with the color around it, weighed by a tent, so the peak is a square's
    center. Its four sides are counted: lit pixels to the left, above, to the right and below.
    """
    reach = size // 4
    places = size // STRIDE
    nodes = [
        helper.make_node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "colors"], ["signed"]),
        helper.make_node("Relu", ["signed"], ["lit"]),
        _strided("lit", "tent_x", "smooth_x", kernel=(1, 2 * reach), group=2),
        _strided("smooth_x", "tent_y", "smooth", kernel=(2 * reach, 1), group=2),
        helper.make_node("Sqrt", ["smooth"], ["root"]),
        helper.make_node("Mul", ["root", "gain"], ["raised"]),
        helper.make_node("Add", ["raised", "bias"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["probabilities"]),
        helper.make_node("Transpose", ["probabilities"], ["keypoints"], perm=[0, 2, 3, 1]),
        helper.make_node("Conv", ["lit", "both"], ["any_color"]),
        _strided("any_color", "count_x", "sides_x", kernel=(2, 2 * reach), stride=(4, 4)),
        _strided("any_color", "count_y", "sides_y", kernel=(2 * reach, 2), stride=(4, 4)),
        helper.make_node("Concat", ["sides_x", "sides_y"], ["grouped"], axis=1),
        helper.make_node("Gather", ["grouped", "side_order"], ["sides"], axis=1),
        helper.make_node("Transpose", ["sides"], ["wh"], perm=[0, 2, 3, 1]),
    ]
    return model_of(
        nodes,
        inputs={"images": (1, size, size, 3)},
        outputs={"keypoints": (1, places, places, 2), "wh": (1, places, places, 4)},
        weights=_bright_spot_weights(reach),
    )


def model_of(
    nodes: Sequence[onnx.NodeProto],
    *,
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, ...]],
    weights: dict[str, NDArray[np.generic]],
    dtype: int = TensorProto.FLOAT,
    opset: int = OPSET,
) -> onnx.ModelProto:
    """A model of these nodes; every input and output is of `dtype`."""
    graph = helper.make_graph(
        nodes,
        "made_by_tests",
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def centernet_head_only(classes: int, height: int, width: int) -> onnx.ModelProto:
    """A network that is nothing but CenterNet's end: its own input holds logits and sides.

    The image input `images` (1, 4 h, 4 w, 3) is pooled and multiplied away; `logits` (1, C, h, w)
    and `sides` (1, 4, h, w) are initializers, to be replaced by a test.
    """
    zeros = {"logits": (1, classes, height, width), "sides": (1, 4, height, width)}
    nodes = [
        helper.make_node("ReduceSum", ["images"], ["total"], keepdims=0),
        helper.make_node("Mul", ["total", "nothing"], ["zero"]),
        helper.make_node("Add", ["logits", "zero"], ["all_logits"]),
        helper.make_node("Sigmoid", ["all_logits"], ["scores"]),
        helper.make_node("Transpose", ["scores"], ["keypoints"], perm=[0, 2, 3, 1]),
        helper.make_node("Add", ["sides", "zero"], ["all_sides"]),
        helper.make_node("Transpose", ["all_sides"], ["wh"], perm=[0, 2, 3, 1]),
    ]
    weights = {name: np.zeros(shape, np.float32) for name, shape in zeros.items()}
    return model_of(
        nodes,
        inputs={"images": (1, STRIDE * height, STRIDE * width, 3)},
        outputs={"keypoints": (1, height, width, classes), "wh": (1, height, width, 4)},
        weights={**weights, "nothing": np.zeros((), np.float32)},
    )


def _strided(
    source: str,
    weights: str,
    into: str,
    *,
    kernel: tuple[int, int],
    stride: tuple[int, int] | None = None,
    group: int = 1,
) -> onnx.NodeProto:
    """A convolution around the edge before every fourth pixel, along the kernel's long axes."""
    strides = stride or tuple(STRIDE if side > 1 else 1 for side in kernel)
    begin = [side // 2 for side in kernel]
    end = [max(0, side // 2 - STRIDE) for side in kernel]
    return helper.make_node(
        "Conv",
        [source, weights],
        [into],
        kernel_shape=list(kernel),
        strides=list(strides),
        pads=[*begin, *end],
        group=group,
    )


def _bright_spot_weights(reach: int) -> dict[str, NDArray[np.generic]]:
    taps = np.arange(2 * reach) + 0.5 - reach
    tent = (reach - np.abs(taps)) / reach**2
    before, after = (taps < 0).astype(np.float32), (taps > 0).astype(np.float32)
    counts = np.stack([before, after])[:, None, None, :].repeat(2, axis=2) / 2
    colors = np.array([[1, -1, -1], [-1, 1, -1]], np.float32) / 255
    weights: dict[str, NDArray[np.generic]] = {
        "colors": colors[:, :, None, None],
        "tent_x": np.tile(tent[None, None, None, :], (2, 1, 1, 1)),
        "tent_y": np.tile(tent[None, None, :, None], (2, 1, 1, 1)),
        "gain": np.array(14),
        "bias": np.array(-4),
        "both": np.ones((1, 2, 1, 1)),
        "count_x": counts,
        "count_y": counts.transpose(0, 1, 3, 2),
    }
    weights = {name: array.astype(np.float32) for name, array in weights.items()}
    weights["side_order"] = np.array([0, 2, 1, 3], np.int64)  # left, top, right, bottom
    return weights
