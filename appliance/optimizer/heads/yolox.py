"""YOLOX as it is usually exported: a raw grid, decoded behind the network.

One output (1, A, 5 + C), or (1, 5 + C, A), over grids of stride 8, 16 and 32, row by row:
offset x, offset y, log width, log height in cells, then objectness and C class scores after a
sigmoid. The center is (offset + cell) * stride, the size exp(log size) * stride (Ge et al.,
"YOLOX: Exceeding YOLO Series in 2021"). The score is objectness times class.

An export with decoded boxes has the same shape and is head yolov5's.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import onnx_ir as ir

from appliance.catalog.card import Card
from appliance.catalog.inspection import Inspection
from appliance.errors import ModelError
from appliance.optimizer import choosing
from appliance.optimizer.choosing import Layout, Shapes
from appliance.optimizer.graph import Builder
from appliance.optimizer.heads import Head, Tensors
from appliance.values import F32

VERSION: Final = 1  # the rule, in graph and twin
NAME, BOX, OBJECTNESS, CLASSES = "yolox", 4, 4, 5
STRIDES = ((8, 16, 32), (8, 16, 32, 64))


def match(model: ir.Model, card: Card) -> bool:
    """One table of as many places as the grids have cells, straight from convolutions."""
    try:
        layout, _ = _layout(choosing.shapes_of(model), card)
    except ModelError:
        return False
    ends = choosing.tail(choosing.table_of(model, layout).value)
    return not choosing.is_seen(ends) or choosing.is_raw(ends)


def build(model: ir.Model, card: Card) -> Mapping[str, ir.Value]:
    """Choose by objectness times class, then decode.

    Raises:
        ModelError: the output is another family's, or decoded already.
    """
    shapes = choosing.shapes_of(model)
    layout, grid = _layout(shapes, card)
    table = choosing.table_of(model, layout)
    choosing.require_probabilities(table, NAME)
    ends = choosing.tail(table.value)
    if choosing.is_seen(ends) and not choosing.is_raw(ends):
        raise choosing.mismatch(NAME, "a raw grid; these boxes are decoded in the graph", shapes)
    graph = Builder(model.graph, "head")
    chosen = choosing.choose_by_objectness(graph, table, card, objectness_at=OBJECTNESS)
    raw = table.part(graph, 0, BOX).at(graph, chosen.places, chosen.count)
    cells = choosing.points(graph, chosen, grid)
    strides = graph.slice(cells, 2, 2, 3)
    offsets = graph.op("Add", graph.slice(raw, 2, 0, 2), graph.slice(cells, 2, 0, 2))
    sizes = graph.op("Exp", graph.slice(raw, 2, 2, 4))
    centered = graph.op("Mul", graph.op("Concat", offsets, sizes, axis=2), strides)
    boxes = choosing.corners(graph, centered)
    return choosing.outputs(graph, boxes, chosen.ranks, chosen.class_ids)


def decode(outputs: Tensors, card: Card, _file: Inspection) -> Tensors:
    """The same rule in numpy, on the foreign model's finished output."""
    layout, grid = _layout(choosing.array_shapes(outputs), card)
    table = choosing.figures_of(outputs, layout)
    places, class_ids, scores = choosing.pick(table[:, OBJECTNESS, None] * table[:, CLASSES:], card)
    raw, cells = table[places], grid[places]
    sizes = np.exp(raw[:, 2:BOX]) * cells[:, 2:]
    centers = (raw[:, :2] + cells[:, :2]) * cells[:, 2:]
    boxes = choosing.centered(np.concatenate([centers, sizes], axis=1))
    return choosing.rows(boxes, scores, class_ids)


def _layout(shapes: Shapes, card: Card) -> tuple[Layout, F32]:
    """The table, and its grid (places, 3): column, row, stride.

    Raises:
        ModelError: it has another number of places than any grid of the family.
    """
    layout = choosing.read_layout(shapes, card, before=CLASSES, figure_axis=2, head=NAME)
    grids = [choosing.grid_of(card.input.size_wh, strides) for strides in STRIDES]
    for grid in grids:
        if len(grid) == layout.places:
            return layout, grid
    counts = " or ".join(str(len(grid)) for grid in grids)
    raise choosing.mismatch(NAME, f"{counts} places for this input size", shapes)


def _classes(shapes: Shapes, card: Card) -> int:
    """What is left of a place's figures."""
    return _layout(shapes, card)[0].figures - CLASSES


HEAD = Head(NAME, "detection", match, build, decode, _classes)
