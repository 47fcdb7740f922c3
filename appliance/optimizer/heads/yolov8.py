"""YOLOv8 and its kin (YOLOv9, YOLO11, YOLO12): boxes and class scores, no objectness.

One output (1, 4 + C, A), or (1, A, 4 + C): center x, center y, width and height in input
pixels, then C class scores after a sigmoid.

Exports end in a Concat of boxes and Sigmoid(raw values). Where that is found, the raw values
rank the places, since a sigmoid keeps the order, and boxes are decoded for the chosen places
alone. Where it is not, the head stands behind the finished output.
"""

from collections.abc import Mapping
from typing import Final

import onnx_ir as ir

from appliance.catalog.card import Card
from appliance.catalog.inspection import Inspection
from appliance.errors import ModelError
from appliance.optimizer import choosing
from appliance.optimizer.choosing import Layout, Shapes, Table
from appliance.optimizer.graph import Builder, first_input, producer
from appliance.optimizer.heads import Head, Tensors

VERSION: Final = 1  # the rule, in graph and twin
NAME, BOX = "yolov8", 4


def match(model: ir.Model, card: Card) -> bool:
    """One table, joined of four figures and the classes; or nothing but its shape to go by."""
    try:
        layout = _layout(choosing.shapes_of(model), card)
    except ModelError:
        return False
    table = choosing.table_of(model, layout)
    if choosing.is_seen(choosing.tail(table.value)):
        return table.is_joined_at(BOX)
    return layout.figure_axis == 1


def build(model: ir.Model, card: Card) -> Mapping[str, ir.Value]:
    """Choose by class, then decode; see the module's text.

    Raises:
        ModelError: the output is another family's.
    """
    shapes = choosing.shapes_of(model)
    layout = _layout(shapes, card)
    table = choosing.table_of(model, layout)
    if choosing.is_raw(choosing.tail(table.value)):
        raise choosing.mismatch(NAME, "boxes decoded in the graph", shapes)
    graph = Builder(model.graph, "head")
    boxes, classes = table.part(graph, 0, BOX), table.part(graph, BOX, layout.figures)
    choosing.require_probabilities(classes, NAME)
    sigmoid = producer(classes.value, "Sigmoid")
    if sigmoid is not None:
        classes = Table(first_input(sigmoid), classes.figure_axis)

    chosen = choosing.choose(
        graph,
        classes.best(graph),
        lambda places, count: classes.at(graph, places, count),
        sizes=(layout.places, classes.figures),
        card=card,
        ranked=(classes.value,),
    )
    scores = graph.op("Sigmoid", chosen.ranks) if sigmoid is not None else chosen.ranks
    corners = choosing.corners(graph, boxes.at(graph, chosen.places, chosen.count))
    return choosing.outputs(graph, corners, scores, chosen.class_ids)


def decode(outputs: Tensors, card: Card, _file: Inspection) -> Tensors:
    """The same rule in numpy, on the foreign model's finished output."""
    layout = _layout(choosing.array_shapes(outputs), card)
    table = choosing.figures_of(outputs, layout)
    places, class_ids, scores = choosing.pick(table[:, BOX:], card)
    return choosing.rows(choosing.centered(table[places, :BOX]), scores, class_ids)


def _layout(shapes: Shapes, card: Card) -> Layout:
    return choosing.read_layout(shapes, card, before=BOX, figure_axis=1, head=NAME)


def _classes(shapes: Shapes, card: Card) -> int:
    """What is left of a place's figures."""
    return _layout(shapes, card).figures - BOX


HEAD = Head(NAME, "detection", match, build, decode, _classes)
