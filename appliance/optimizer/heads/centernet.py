"""CenterNet: a heatmap of class scores and box sides per place, on a grid of stride 4.

Outputs `keypoints` (1, h, w, C), scores after a sigmoid, and `wh` (1, h, w, 4): left, top,
right, bottom distances from the place, in input pixels. A detection is a place whose score is
the largest in its 3 x 3 neighborhood within its own class (Zhou et al., "Objects as Points").

The sigmoid keeps the order, so the graph looks for peaks and chooses on the raw values, and
only the K chosen rows see a sigmoid. Peaks are taken per class before the classes are reduced:
the other way round is faster and a different rule.
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
from appliance.optimizer.graph import Builder, first_input, producer, static_shape
from appliance.optimizer.heads import MASKED, Head, Tensors
from appliance.values import F32

VERSION: Final = 1  # the rule, in graph and twin
NAME = "centernet"
SCORES, SIDES = "keypoints", "wh"


def match(model: ir.Model, card: Card) -> bool:
    """Both outputs by name, on one grid, with the ends that are cut away."""
    try:
        _ends(model, card)
    except ModelError:
        return False
    return True


def build(model: ir.Model, card: Card) -> Mapping[str, ir.Value]:
    """Append peaks, choice and decoding; see the module's text for the rule."""
    logits, sides, grid = _ends(model, card)
    graph = Builder(model.graph, "head")
    _, classes, height, width = static_shape(logits)

    pooled = graph.op("MaxPool", logits, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])
    lowest = choosing.like(graph, np.float32(MASKED), logits)
    peaks = graph.op("Where", graph.op("Equal", logits, pooled), logits, lowest)
    peaks.type = logits.type
    table = Table(graph.reshape(peaks, [1, classes, height * width]), 1)
    chosen = choosing.choose(
        graph,
        table.best(graph),
        lambda places, count: table.at(graph, places, count),
        sizes=(table.places, classes),
        card=card,
        ranked=(logits,),
    )
    flat = Table(graph.reshape(sides, [1, 4, height * width]), 1)
    distances = flat.at(graph, chosen.places, chosen.count)
    signed = graph.op("Mul", distances, graph.constant(np.array([-1, -1, 1, 1], np.float32)))
    boxes = graph.op("Add", choosing.points(graph, chosen, grid), signed)
    return choosing.outputs(graph, boxes, graph.op("Sigmoid", chosen.ranks), chosen.class_ids)


def _ends(model: ir.Model, card: Card) -> tuple[ir.Value, ir.Value, F32]:
    """Raw scores (1, C, h, w), sides (1, 4, h, w), and the places in pixels (h * w, 4) xyxy.

    Raises:
        ModelError: they do not share one grid, or the sides are not four.
    """
    outputs = {value.name: value for value in model.graph.outputs}
    logits, sides = _raw(outputs, SCORES), _raw(outputs, SIDES)
    _, _, height, width = static_shape(logits)
    if static_shape(sides) != (1, 4, height, width):
        raise ModelError(
            f"head {NAME}: {SIDES}: expected (1, {height}, {width}, 4) as for {SCORES}, "
            f"got its planes as {static_shape(sides)}",
            hint="Name another head in model.toml.",
        )
    stride = card.input.size_wh[0] // width
    cells = choosing.grid_of((width, height), (1,))[:, :2] * stride
    return logits, sides, np.tile(cells, 2)


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


def decode(outputs: Tensors, card: Card, _file: Inspection) -> Tensors:
    """The same rule in numpy, on the foreign model's finished outputs."""
    scores, sides = outputs[SCORES][0], outputs[SIDES][0]
    _, width, classes = scores.shape
    stride = card.input.size_wh[0] // width
    padded = np.pad(scores, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    peaks = np.where(scores == windows.max(axis=(3, 4)), scores, 0)
    places, class_ids, best = choosing.pick(peaks.reshape(-1, classes), card)
    y, x = np.divmod(places, width)
    left, top, right, bottom = sides[y, x].T
    boxes = np.stack(
        [x * stride - left, y * stride - top, x * stride + right, y * stride + bottom], axis=1
    )
    return choosing.rows(boxes, best, class_ids)


def _classes(shapes: Shapes, _card: Card) -> int:
    """The last axis of the scores."""
    return shapes[SCORES][-1] if SCORES in shapes else 0


HEAD = Head(NAME, "detection", match, build, decode, _classes)
