"""Exports that end in final detections: nothing is left to decode or to suppress.

One output (1, R, 6): left, top, right, bottom in input pixels, score, class. The best K rows
by score go on as they are, without another sigmoid; the card should say nms = "none".
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

VERSION: Final = 1  # the rule, in graph and twin
NAME, BOX, FIGURES = "end_to_end", 4, 6


def match(model: ir.Model, _card: Card) -> bool:
    """One output of rows with six figures."""
    try:
        _output(choosing.shapes_of(model))
    except ModelError:
        return False
    return True


def build(model: ir.Model, card: Card) -> Mapping[str, ir.Value]:
    """Sort by score, and cut to K."""
    name, count = _output(choosing.shapes_of(model))
    table = Table(next(value for value in model.graph.outputs if value.name == name), 2)
    count = choosing.candidates(card, count)
    graph = Builder(model.graph, "head")
    column = table.part(graph, BOX, BOX + 1)
    scores, places = graph.top_k(column.best(graph), count)
    chosen = table.at(graph, graph.reshape(places, [count]), count)
    class_ids = graph.reshape(graph.slice(chosen, 2, BOX + 1, FIGURES), [1, count])
    floored = graph.op("Max", scores, graph.constant(np.float32(0)))  # some exports pad with -1
    return choosing.outputs(
        graph,
        graph.slice(chosen, 2, 0, BOX),
        choosing.poisoned(graph, floored, (column.value,)),
        graph.cast(class_ids, ir.DataType.INT32),
    )


def decode(outputs: Tensors, card: Card, _file: Inspection) -> Tensors:
    """The same rule in numpy, on the foreign model's finished output."""
    name, count = _output(choosing.array_shapes(outputs))
    table = outputs[name][0]
    best = table[np.argsort(-table[:, BOX], kind="stable")[: choosing.candidates(card, count)]]
    return choosing.rows(best[:, :BOX], np.maximum(best[:, BOX], 0), best[:, BOX + 1].astype(int))


def _output(shapes: Shapes) -> tuple[str, int]:
    """The output's name, and how many rows it has.

    Raises:
        ModelError: there is no such output, or it holds oriented boxes.
    """
    tables = {name: shape for name, shape in shapes.items() if len(shape) == 3 and shape[0] == 1}
    if len(tables) == 1:
        name, (_, count, figures) = next(iter(tables.items()))
        if count and figures == FIGURES:
            return name, count
        if count and figures == FIGURES + 1:
            raise ModelError(
                f"head {NAME}: {name} (1, {count}, 7) holds oriented boxes; they come later",
                hint="Bring a model with upright boxes: (1, rows, 6).",
            )
    raise choosing.mismatch(NAME, "one output (1, rows, 6)", shapes)


def _classes(_shapes: Shapes, _card: Card) -> int:
    """Rows name their class, and nothing says how many there are."""
    return 0


HEAD = Head(NAME, "detection", match, build, decode, _classes)
