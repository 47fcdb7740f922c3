"""CenterNet: a heatmap of class scores and box sides per place, on a grid of stride 4.

Outputs `keypoints` (1, h, w, C), scores after a sigmoid, and `wh` (1, h, w, 4): left, top,
right, bottom distances from the place, in input pixels. A detection is a place whose score is
the largest in its 3 x 3 neighborhood within its own class (Zhou et al., "Objects as Points").

The sigmoid keeps the order, so the graph looks for peaks and chooses on the raw values, and
only the K chosen rows see a sigmoid. Peaks are taken per class before the classes are reduced:
the other way round is faster and a different rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from appliance.catalog.card import Card
from appliance.errors import ModelError
from appliance.optimizer.graph import Builder, first_input, producer, static_shape
from appliance.optimizer.heads import MASKED, Head, Tensors, candidates

SCORES, SIDES = "keypoints", "wh"


@dataclass(frozen=True, slots=True)
class _Grid:
    """The heatmap: its size, the input pixels between two places, and K."""

    classes: int
    height: int
    width: int
    stride: int
    count: int

    @property
    def area(self) -> int:
        return self.height * self.width


def build(model: ir.Model, card: Card) -> Mapping[str, ir.Value]:
    """Append peaks, choice and decoding; see the module's text for the rule."""
    graph = Builder(model.graph, "head")
    outputs = {value.name: value for value in model.graph.outputs}
    logits, sides = _raw(outputs, SCORES), _raw(outputs, SIDES)
    grid = _grid(logits, sides, card)

    pooled = graph.op("MaxPool", logits, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])
    masked = graph.constant(np.float32(MASKED))
    peaks = graph.op("Where", graph.op("Equal", logits, pooled), logits, masked)
    choose = _choose_pairs if card.detection.multi_label else _choose_places
    best, places, class_ids = choose(graph, peaks, grid)

    used = graph.op("Greater", best, graph.constant(np.float32(MASKED / 2)))
    class_ids = graph.op("Where", used, class_ids, graph.constant(np.int32(-1)))
    boxes = _boxes(graph, sides, places, grid)
    return {"boxes": boxes, "scores": graph.op("Sigmoid", best), "class_ids": class_ids}


def _grid(logits: ir.Value, sides: ir.Value, card: Card) -> _Grid:
    """The grid that scores and sides share.

    Raises:
        ModelError: they do not share one, or the sides are not four.
    """
    _, classes, height, width = static_shape(logits)
    if static_shape(sides) != (1, 4, height, width):
        raise ModelError(
            f"head centernet: {SIDES}: expected (1, {height}, {width}, 4) as for {SCORES}, "
            f"got its planes as {static_shape(sides)}",
            hint="Name another head in model.toml.",
        )
    available = height * width * (classes if card.detection.multi_label else 1)
    stride = card.input.size_wh[0] // width
    return _Grid(classes, height, width, stride, candidates(card, available))


def _raw(outputs: Mapping[str | None, ir.Value], name: str) -> ir.Value:
    """The value behind an output, as (1, C, h, w): before the Transpose and the Sigmoid.

    Raises:
        ModelError: there is no such output, or no such end of the graph.
    """
    if name not in outputs:
        found = ", ".join(str(each) for each in outputs)
        raise ModelError(
            f"head centernet: expected outputs {SCORES} and {SIDES}, got {found}",
            hint="Name another head in model.toml, or export with these output names.",
        )
    last = producer(outputs[name], "Transpose")
    value = first_input(last) if last is not None else None
    if value is not None and name == SCORES:
        sigmoid = producer(value, "Sigmoid")
        value = first_input(sigmoid) if sigmoid is not None else None
    if value is None:
        raise ModelError(
            f"head centernet: {name} does not end in {'Sigmoid, ' * (name == SCORES)}Transpose",
            hint="Name another head in model.toml.",
        )
    return value


def _choose_places(
    graph: Builder, peaks: ir.Value, grid: _Grid
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """One class per place: raw values (1, K), int64 places (1, K), int32 classes (1, K)."""
    shape = graph.constant(np.array([1, grid.classes, grid.area], np.int64))
    flat = graph.op("Reshape", peaks, shape)
    best, places = graph.top_k(graph.op("ReduceMax", flat, axes=[1], keepdims=0), grid.count)
    columns = _columns(graph, flat, places, (grid.classes, grid.count))
    class_ids = graph.op("ArgMax", columns, axis=1, keepdims=0)
    return best, places, _to_int32(graph, class_ids)


def _choose_pairs(
    graph: Builder, peaks: ir.Value, grid: _Grid
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Any class of any place: raw values (1, K), int64 places (1, K), int32 classes (1, K)."""
    shape = graph.constant(np.array([1, grid.classes * grid.area], np.int64))
    best, pairs = graph.top_k(graph.op("Reshape", peaks, shape), grid.count)
    area = graph.constant(np.int64(grid.area))
    class_ids = _to_int32(graph, graph.op("Div", pairs, area))
    return best, graph.op("Mod", pairs, area), class_ids


def _columns(graph: Builder, flat: ir.Value, places: ir.Value, shape: tuple[int, int]) -> ir.Value:
    """The chosen places of every row of `flat` (1, rows, h*w), in `shape` (rows, K)."""
    lifted = graph.op("Unsqueeze", places, graph.constant(np.array([1], np.int64)))
    wanted = graph.constant(np.array([1, *shape], np.int64))
    return graph.op("GatherElements", flat, graph.op("Expand", lifted, wanted), axis=2)


def _boxes(graph: Builder, sides: ir.Value, places: ir.Value, grid: _Grid) -> ir.Value:
    """(1, K, 4) xyxy in input pixels."""
    shape = graph.constant(np.array([1, 4, grid.area], np.int64))
    flat = graph.op("Reshape", sides, shape)
    columns = _columns(graph, flat, places, (4, grid.count))
    chosen = graph.op("Transpose", columns, perm=[0, 2, 1])
    width, last_axis = graph.constant(np.int64(grid.width)), graph.constant(np.array([2], np.int64))
    x, y = (
        graph.op("Unsqueeze", graph.op(kind, places, width), last_axis) for kind in ("Mod", "Div")
    )
    grid_xyxy = graph.op("Cast", graph.op("Concat", x, y, x, y, axis=2), to=int(ir.DataType.FLOAT))
    centers = graph.op("Mul", grid_xyxy, graph.constant(np.float32(grid.stride)))
    signs = graph.constant(np.array([-1, -1, 1, 1], np.float32))
    return graph.op("Add", centers, graph.op("Mul", chosen, signs))


def _to_int32(graph: Builder, value: ir.Value) -> ir.Value:
    return graph.op("Cast", value, to=int(ir.DataType.INT32))


def decode(outputs: Tensors, card: Card) -> Tensors:
    """The same rule in numpy, on the foreign model's finished outputs."""
    scores, sides = outputs[SCORES][0], outputs[SIDES][0]
    height, width, classes = scores.shape
    stride = card.input.size_wh[0] // width
    padded = np.pad(scores, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    peaks = np.where(scores == windows.max(axis=(3, 4)), scores, 0)
    if not card.detection.multi_label:
        best_class = peaks.argmax(axis=2)[..., None] == np.arange(classes)
        peaks = np.where(best_class, peaks, 0)
    flat = peaks.ravel()
    available = height * width * (classes if card.detection.multi_label else 1)
    rows = np.argsort(-flat, kind="stable")[: candidates(card, available)]
    y, x, class_ids = np.unravel_index(rows, peaks.shape)
    left, top, right, bottom = sides[y, x].T
    boxes = np.stack(
        [x * stride - left, y * stride - top, x * stride + right, y * stride + bottom], axis=1
    )
    used = flat[rows] > 0
    return {
        "boxes": boxes[None].astype(np.float32),
        "scores": flat[rows][None].astype(np.float32),
        "class_ids": np.where(used, class_ids, -1)[None].astype(np.int32),
    }


HEAD = Head("centernet", "detection", build, decode)
