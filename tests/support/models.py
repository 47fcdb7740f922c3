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


# Cards of the models in the folder of test data, by file name, as a person would write them.
FOREIGN_CARDS = {
    "yolox_nano_coco_416.onnx": """\
title = "YOLOX-Nano, COCO"
license = "Apache-2.0"
source = "YOLOX, exported without decoding"
task = "detection"
head = "yolox"

[input]
size_wh = [416, 416]
channels = "bgr"
pad_value = 114
""",
    "fastestdet_coco_352.onnx": """\
title = "FastestDet, COCO"
license = "BSD-3-Clause"
source = "FastestDet"
task = "detection"
head = "fastestdet"

[input]
size_wh = [352, 352]
channels = "bgr"
fit = "stretch"
std = [255, 255, 255]

[detection]
iou = 0.45
""",
    "yolo11n_640_random_weights.onnx": """\
title = "A YOLO11n with random weights"
license = "AGPL-3.0"
source = "Ultralytics' exporter"
task = "detection"
head = "yolov8"

[input]
size_wh = [640, 640]
channels = "rgb"
std = [255, 255, 255]

[detection]
candidates = 300
""",
}


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


def constant_outputs(
    outputs: dict[str, NDArray[np.floating]],
    size_wh: tuple[int, int],
    tail: Sequence[onnx.NodeProto] = (),
    **weights: NDArray[np.generic],
) -> onnx.ModelProto:
    """A network that puts out exactly these arrays, whatever the picture `images` shows.

    Args:
        outputs: by name, in this order; or, with a tail, the arrays that it begins with.
        size_wh: of `images` (1, 3, H, W).
        tail: nodes that end in `output`; then that is the only output.
        weights: the tail's own.
    """
    given = outputs.items()
    nodes = [
        helper.make_node("ReduceSum", ["images"], ["total"], keepdims=0),
        helper.make_node("Mul", ["total", "nothing"], ["zero"]),
        *(helper.make_node("Add", [f"{name}_given", "zero"], [name]) for name in outputs),
        *tail,
    ]
    arrays = {f"{name}_given": array.astype(np.float32) for name, array in given}
    shapes = {name: array.shape for name, array in given} if not tail else {"output": ()}
    model = model_of(
        nodes,
        inputs={"images": (1, 3, size_wh[1], size_wh[0])},
        outputs=shapes,
        weights={**arrays, **weights, "nothing": np.zeros((), np.float32)},
    )
    for output in model.graph.output if tail else ():
        output.type.tensor_type.ClearField("shape")
    return model


def with_conv(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same, with a 1 x 1 convolution that changes nothing before the arrays are used.

    To whoever looks at the graph, its outputs now come from a network.
    """
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    added = [node for node in changed.graph.node if node.op_type == "Add"]
    for node in (node for node in added if node.input[0].endswith("_given")):
        name = node.output[0]
        node.output[0] = f"{name}_before"
        shape = next(t.dims for t in changed.graph.initializer if t.name == f"{name}_given")
        channels = shape[1]
        kernel = np.eye(channels, dtype=np.float32).reshape(
            channels, channels, *(1,) * (len(shape) - 2)
        )
        changed.graph.initializer.append(numpy_helper.from_array(kernel, f"{name}_kernel"))
        conv = helper.make_node("Conv", [f"{name}_before", f"{name}_kernel"], [name])
        changed.graph.node.insert(list(changed.graph.node).index(node) + 1, conv)
    return changed


def yolov8_tail(
    raw_boxes: NDArray[np.floating], raw_classes: NDArray[np.floating], side: int
) -> onnx.ModelProto:
    """A square YOLOv8 from its last convolutions on, as Ultralytics' exporter writes it.

    Args:
        raw_boxes: (1, 4 * bins, A): for each side, weights of its distance in cells.
        raw_classes: (1, C, A), before the sigmoid.
        side: of the picture; A is the number of cells of strides 8, 16 and 32.
    """
    bins = raw_boxes.shape[1] // 4
    cells = np.concatenate([_cells(side, stride) for stride in (8, 16, 32)])
    nodes = [
        helper.make_node("Reshape", ["boxes", "apart"], ["sides"]),
        helper.make_node("Transpose", ["sides"], ["bins"], perm=[0, 2, 1, 3]),
        helper.make_node("Softmax", ["bins"], ["shares"], axis=1),
        helper.make_node("Conv", ["shares", "distances"], ["mean"]),
        helper.make_node("Reshape", ["mean", "together"], ["ltrb"]),
        helper.make_node("Shape", ["ltrb"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["four"]),
        helper.make_node("Add", ["four", "one"], ["five"]),
        helper.make_node("Div", ["five", "two"], ["half"]),
        helper.make_node("Slice", ["ltrb", "none", "half", "one"], ["lt"]),
        helper.make_node("Slice", ["ltrb", "half", "four", "one"], ["rb"]),
        helper.make_node("Sub", ["anchors", "lt"], ["low"]),
        helper.make_node("Add", ["anchors", "rb"], ["high"]),
        helper.make_node("Add", ["low", "high"], ["sum"]),
        helper.make_node("Div", ["sum", "halves"], ["centers"]),
        helper.make_node("Sub", ["high", "low"], ["sizes"]),
        helper.make_node("Concat", ["centers", "sizes"], ["in_cells"], axis=1),
        helper.make_node("Mul", ["in_cells", "strides"], ["decoded"]),
        helper.make_node("Sigmoid", ["classes"], ["scores"]),
        helper.make_node("Concat", ["decoded", "scores"], ["output"], axis=1),
    ]
    return constant_outputs(
        {"boxes": raw_boxes, "classes": raw_classes},
        (side, side),
        nodes,
        apart=np.array([1, 4, bins, len(cells)]),
        together=np.array([1, 4, len(cells)]),
        distances=np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1),
        none=np.array([0]),
        one=np.array([1]),
        two=np.array([2]),
        anchors=(cells[None, :, :2] + 0.5).transpose(0, 2, 1).astype(np.float32),
        halves=np.float32(2),
        strides=cells[None, :, 2].astype(np.float32),
    )


def yolox_tail(levels: Sequence[NDArray[np.floating]], side: int) -> onnx.ModelProto:
    """A square YOLOX from its last convolutions on: three grids joined and turned around.

    Args:
        levels: for strides 8, 16 and 32: (1, 5 + C, h, w), scores before the sigmoid.
        side: of the picture.
    """
    nodes, outputs = [], {}
    for index, level in enumerate(levels):
        parts = {"box": (0, 4), "object": (4, 5), "class": (5, level.shape[1])}
        for part, (start, stop) in parts.items():
            outputs[f"{part}{index}"] = level[:, start:stop]
        nodes += [
            helper.make_node("Sigmoid", [f"object{index}"], [f"object_score{index}"]),
            helper.make_node("Sigmoid", [f"class{index}"], [f"class_score{index}"]),
            helper.make_node(
                "Concat",
                [f"box{index}", f"object_score{index}", f"class_score{index}"],
                [f"level{index}"],
                axis=1,
            ),
            helper.make_node("Reshape", [f"level{index}", "flat"], [f"flat{index}"]),
        ]
    nodes += [
        helper.make_node("Concat", ["flat0", "flat1", "flat2"], ["joined"], axis=2),
        helper.make_node("Transpose", ["joined"], ["output"], perm=[0, 2, 1]),
    ]
    flat = np.array([1, levels[0].shape[1], -1])
    return constant_outputs(outputs, (side, side), nodes, flat=flat)


def yolov5_tail(raw: NDArray[np.floating], side: int) -> onnx.ModelProto:
    """One grid of stride 8 and one anchor of a YOLOv5, from its last convolution on.

    Args:
        raw: (1, 5 + C, h, w), before the sigmoid.
        side: of the picture.
    """
    figures, places = raw.shape[1], raw.shape[2] * raw.shape[3]
    nodes = [
        helper.make_node("Transpose", ["raw"], ["turned"], perm=[0, 2, 3, 1]),
        helper.make_node("Sigmoid", ["turned"], ["shares"]),
        helper.make_node("Split", ["shares", "parts"], ["xy", "wh", "scores"], axis=3),
        helper.make_node("Mul", ["xy", "sixteen"], ["offset"]),
        helper.make_node("Add", ["offset", "grid"], ["center"]),
        helper.make_node("Mul", ["wh", "two_"], ["twice"]),
        helper.make_node("Pow", ["twice", "two_"], ["square"]),
        helper.make_node("Mul", ["square", "anchor"], ["size"]),
        helper.make_node("Concat", ["center", "size", "scores"], ["cells"], axis=3),
        helper.make_node("Reshape", ["cells", "flat"], ["output"]),
    ]
    grid = (_cells(side, 8)[:, :2] * 8.0 - 4).reshape(1, *raw.shape[2:], 2)
    return constant_outputs(
        {"raw": raw},
        (side, side),
        nodes,
        parts=np.array([2, 2, figures - 4]),
        sixteen=np.float32(16),
        grid=grid.astype(np.float32),
        two_=np.float32(2),
        anchor=np.array([10, 13], np.float32),
        flat=np.array([1, places, figures]),
    )


def _cells(side: int, stride: int) -> NDArray[np.integer]:
    """(cells, 3): column, row and stride of every cell of a square grid, row by row."""
    count = side // stride
    return np.array([(x, y, stride) for y in range(count) for x in range(count)])


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
