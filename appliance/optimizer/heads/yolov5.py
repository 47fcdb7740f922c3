"""YOLOv5 and its kin (YOLOv7, YOLOX exported with decoded boxes): boxes, objectness, classes.

One output (1, A, 5 + C), or (1, 5 + C, A): center x, center y, width and height in input
pixels, objectness, then C class scores, all scores after a sigmoid. The score is objectness
times class, which no raw value orders alike: places are ranked by the final score.
"""

from collections.abc import Mapping
from typing import Final

import onnx_ir as ir

from appliance.catalog.card import Card
from appliance.catalog.inspection import Inspection
from appliance.errors import ModelError
from appliance.optimizer import choosing
from appliance.optimizer.choosing import Layout, Shapes
from appliance.optimizer.graph import Builder
from appliance.optimizer.heads import Head, Tensors

VERSION: Final = 1  # the rule, in graph and twin
NAME, BOX, OBJECTNESS, CLASSES = "yolov5", 4, 4, 5


def match(model: ir.Model, card: Card) -> bool:
    """One table of decoded boxes, not joined as YOLOv8 joins it; or its shape to go by."""
    try:
        layout = _layout(choosing.shapes_of(model), card)
    except ModelError:
        return False
    table = choosing.table_of(model, layout)
    ends = choosing.tail(table.value)
    if choosing.is_seen(ends):
        return not (choosing.is_raw(ends) or table.is_joined_at(BOX))
    return layout.figure_axis == 2


def build(model: ir.Model, card: Card) -> Mapping[str, ir.Value]:
    """Choose by objectness times class, then turn the chosen boxes.

    Raises:
        ModelError: the output is another family's, or its boxes are not decoded.
    """
    shapes = choosing.shapes_of(model)
    layout = _layout(shapes, card)
    table = choosing.table_of(model, layout)
    choosing.require_probabilities(table, NAME)
    ends = choosing.tail(table.value)
    if choosing.is_raw(ends):
        raise choosing.mismatch(NAME, "boxes decoded in the graph", shapes)
    if choosing.is_seen(ends) and table.is_joined_at(BOX):
        raise choosing.mismatch(NAME, "objectness between boxes and classes", shapes)
    graph = Builder(model.graph, "head")
    chosen = choosing.choose_by_objectness(graph, table, card, objectness_at=OBJECTNESS)
    boxes = table.part(graph, 0, BOX).at(graph, chosen.places, chosen.count)
    return choosing.outputs(graph, choosing.corners(graph, boxes), chosen.ranks, chosen.class_ids)


def decode(outputs: Tensors, card: Card, _file: Inspection) -> Tensors:
    """The same rule in numpy, on the foreign model's finished output."""
    table = choosing.figures_of(outputs, _layout(choosing.array_shapes(outputs), card))
    scores = table[:, OBJECTNESS, None] * table[:, CLASSES:]
    places, class_ids, ranks = choosing.pick(scores, card)
    return choosing.rows(choosing.centered(table[places, :BOX]), ranks, class_ids)


def _layout(shapes: Shapes, card: Card) -> Layout:
    return choosing.read_layout(shapes, card, before=CLASSES, figure_axis=2, head=NAME)


def _classes(shapes: Shapes, card: Card) -> int:
    """What is left of a place's figures."""
    return _layout(shapes, card).figures - CLASSES


HEAD = Head(NAME, "detection", match, build, decode, _classes)
