"""FastestDet: one grid, one box for each cell, all classes.

One output (1, 5 + C, h, w): objectness after a sigmoid, offset x and y, width and height, then
C class scores after a softmax. The center is (cell + tanh(offset)) over the grid's size, the
box's size sigmoid(size) of the whole input. The score is objectness ** 0.6 * class ** 0.4, as
its authors weigh them.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import onnx_ir as ir

from appliance.catalog.card import Card
from appliance.catalog.inspection import Inspection
from appliance.errors import ModelError
from appliance.optimizer import choosing
from appliance.optimizer.choosing import Shapes, Table
from appliance.optimizer.graph import Builder
from appliance.optimizer.heads import Head, Tensors
from appliance.values import F32

VERSION: Final = 1  # the rule, in graph and twin
NAME, CLASSES = "fastestdet", 5
POWERS = 0.6, 0.4


def match(model: ir.Model, card: Card) -> bool:
    """One grid of five figures and the classes."""
    try:
        _output(choosing.shapes_of(model), card)
    except ModelError:
        return False
    return True


def build(model: ir.Model, card: Card) -> Mapping[str, ir.Value]:
    """Choose by the weighed score, then decode."""
    name, (figures, height, width) = _output(choosing.shapes_of(model), card)
    output = next(value for value in model.graph.outputs if value.name == name)
    graph = Builder(model.graph, "head")
    table = Table(graph.reshape(output, [1, figures, height * width]), 1)
    chosen = choosing.choose_by_objectness(graph, table, card, objectness_at=0, powers=POWERS)
    raw = table.part(graph, 1, CLASSES).at(graph, chosen.places, chosen.count)
    cells = choosing.points(graph, chosen, choosing.grid_of((width, height), (1,))[:, :2])
    offsets = graph.op("Tanh", graph.slice(raw, 2, 0, 2))
    cell, whole = (graph.constant(each) for each in _scales(card, width, height))
    centers = graph.op("Mul", graph.op("Add", cells, offsets), cell)
    sizes = graph.op("Mul", graph.op("Sigmoid", graph.slice(raw, 2, 2, 4)), whole)
    boxes = choosing.corners(graph, graph.op("Concat", centers, sizes, axis=2))
    return choosing.outputs(graph, boxes, chosen.ranks, chosen.class_ids)


def decode(outputs: Tensors, card: Card, _file: Inspection) -> Tensors:
    """The same rule in numpy, on the foreign model's finished output."""
    name, (figures, height, width) = _output(choosing.array_shapes(outputs), card)
    table = outputs[name][0].reshape(figures, -1).T
    scores = table[:, :1] ** POWERS[0] * table[:, CLASSES:] ** POWERS[1]
    places, class_ids, ranks = choosing.pick(scores, card)
    cell, whole = _scales(card, width, height)
    y, x = np.divmod(places, width)
    centers = (np.stack([x, y], axis=1) + np.tanh(table[places, 1:3])) * cell
    sizes = whole / (1 + np.exp(-table[places, 3:CLASSES]))
    boxes = choosing.centered(np.concatenate([centers, sizes], axis=1))
    return choosing.rows(boxes, ranks, class_ids)


def _scales(card: Card, width: int, height: int) -> tuple[F32, F32]:
    """Input pixels of a cell and of the whole, as x and y."""
    wide, high = card.input.size_wh
    cell = np.array([wide / width, high / height], np.float32)
    return cell, np.array([wide, high], np.float32)


def _output(shapes: Shapes, card: Card) -> tuple[str, tuple[int, int, int]]:
    """The output's name, and its figures, height and width.

    Raises:
        ModelError: there is no such output.
    """
    grids = {name: shape for name, shape in shapes.items() if len(shape) == 4 and all(shape)}
    labels = len(card.table.labels)
    if len(shapes) == len(grids) == 1:
        name, (batch, figures, height, width) = next(iter(grids.items()))
        enough = figures == CLASSES + labels if labels else figures > CLASSES
        if batch == 1 and enough:
            return name, (figures, height, width)
    expected = f"one output (1, 5 + {labels or 'classes'}, rows, columns)"
    raise choosing.mismatch(NAME, expected, shapes)


def _classes(shapes: Shapes, card: Card) -> int:
    """What is left of a cell's figures."""
    return _output(shapes, card)[1][0] - CLASSES


HEAD = Head(NAME, "detection", match, build, decode, _classes)
