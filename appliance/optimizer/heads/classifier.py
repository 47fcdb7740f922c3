"""Classifiers: one vector with a score for each class, of the picture as a whole.

One output (1, C), (1, C, 1, 1) or the like: one axis with the classes, and no other. It holds
probabilities where the graph ends in a Softmax (in one node, or written out) or, with multi_label,
in a Sigmoid; and logits where it ends in the network's last layer. The end is read from the graph,
and what is there already is not done again. An end that is neither is refused, not guessed at.

The numpy twin reads no graph: it takes for a softmax what sums to 1, so that a misread end does
not go unseen. Of labels that stand for themselves the numbers tell nothing, and there it asks the
file for its last operator.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import numpy as np
import onnx_ir as ir

from appliance.catalog.card import Card
from appliance.catalog.inspection import MOVING, Inspection
from appliance.errors import ModelError
from appliance.optimizer import choosing
from appliance.optimizer.choosing import Shapes
from appliance.optimizer.graph import Builder, first_input, static_shape
from appliance.optimizer.heads import Head, Tensors
from appliance.tasks.classification import ClassificationTable
from appliance.values import F32

VERSION: Final = 1  # the rule, in graph and twin
NAME = "classifier"
SIGMOIDS = frozenset({"HardSigmoid", "Sigmoid"})
ACTIVATIONS = SIGMOIDS | {"Exp", "LogSoftmax", "Softmax"}
SUM_ERROR = 0.01  # of a thousand probabilities in half precision


class Ending(StrEnum):
    """What the output holds."""

    LOGITS = "logits"
    SOFTMAX = "softmax"
    LOG_SOFTMAX = "logarithms of a softmax"
    SIGMOID = "sigmoid"


def match(model: ir.Model, card: Card) -> bool:
    """One vector of classes, with an end that the card agrees with."""
    try:
        _, value = _output_of(model, card)
        _ending(value, card)
    except ModelError:
        return False
    return True


def build(model: ir.Model, card: Card) -> Mapping[str, ir.Value]:
    """To probabilities, as far as they are none yet, and the best k of them."""
    classes, output = _output_of(model, card)
    ending, table = _ending(output, card), card.table_of(ClassificationTable)
    graph = Builder(model.graph, "head")
    vector = choosing.as_float(graph, graph.reshape(output, [1, classes]), output.dtype)
    is_ranked_raw = table.multi_label and ending is Ending.LOGITS
    scores = vector if is_ranked_raw else _probabilities(graph, vector, ending)
    ranks, ids = graph.top_k(scores, table.rows(classes))
    if is_ranked_raw:  # a sigmoid keeps the order, but not the difference between large values
        ranks = graph.op("Sigmoid", ranks)
    ranks = choosing.poisoned(graph, ranks, (output,))
    used = graph.op("Greater", ranks, graph.constant(np.float32(0)))
    ids = graph.cast(ids, ir.DataType.INT32)
    class_ids = graph.op("Where", used, ids, graph.constant(np.int32(-1)))
    return {"scores": ranks, "class_ids": class_ids}


def _probabilities(graph: Builder, vector: ir.Value, ending: Ending) -> ir.Value:
    match ending:
        case Ending.LOGITS:
            return graph.op("Softmax", vector, axis=1)
        case Ending.LOG_SOFTMAX:
            return graph.op("Exp", vector)
        case _:
            return vector


def _ending(value: ir.Value, card: Card) -> Ending:
    """What the output holds, as far as it can be read from the graph.

    Raises:
        ModelError: it cannot, or the card says something else.
    """
    ending = _read(value)
    is_multi = card.table_of(ClassificationTable).multi_label
    if is_multi and ending in {Ending.SOFTMAX, Ending.LOG_SOFTMAX}:
        raise ModelError(
            f"head {NAME}: {value.name} ends in a softmax, of which the card says multi_label",
            hint="Set classification.multi_label = false in model.toml: its classes compete.",
        )
    if not is_multi and ending is Ending.SIGMOID:
        raise ModelError(
            f"head {NAME}: {value.name} ends in a sigmoid, so its classes do not compete",
            hint="Set classification.multi_label = true in model.toml.",
        )
    return ending


def _read(value: ir.Value) -> Ending:
    node, seen = value.producer(), set[ir.Node]()
    while node is not None and node.op_type in MOVING and node not in seen:
        seen.add(node)
        node = first_input(node).producer()
    last = node.op_type if node is not None else ""
    if last == "Softmax" or (node is not None and _is_softmax(node)):
        return Ending.SOFTMAX
    if last == "LogSoftmax":
        return Ending.LOG_SOFTMAX
    if last in SIGMOIDS:
        return Ending.SIGMOID
    before = choosing.tail(value) & ACTIVATIONS
    if before:
        raise ModelError(
            f"head {NAME}: {value.name} ends in {last} behind {' and '.join(sorted(before))}: "
            "whether these are probabilities cannot be told",
            hint="Export the model so that it ends in its last layer, a Softmax or a Sigmoid.",
        )
    return Ending.LOGITS


def _is_softmax(node: ir.Node) -> bool:
    """Exp(x) / ReduceSum(Exp(x)), as some exporters write it."""
    if node.op_type != "Div":
        return False
    above, below = node.inputs
    total = below.producer() if below is not None else None
    raised = above.producer() if above is not None else None
    is_sum = total is not None and total.op_type == "ReduceSum" and total.inputs[0] is above
    return is_sum and raised is not None and raised.op_type == "Exp"


def decode(outputs: Tensors, card: Card, file: Inspection) -> Tensors:
    """The same rule in numpy, on the foreign model's finished output."""
    name, classes = _output(choosing.array_shapes(outputs), card)
    table = card.table_of(ClassificationTable)
    vector = outputs[name].reshape(classes)
    scores = _scores(vector, file.ends.get(name, ""), is_multi=table.multi_label)
    best = np.argsort(-scores, kind="stable")[: table.rows(classes)]
    return {
        "scores": scores[best][None].astype(np.float32),
        "class_ids": np.where(scores[best] > 0, best, -1)[None].astype(np.int32),
    }


def _scores(vector: F32, end: str, *, is_multi: bool) -> F32:
    """Probabilities of (C,) values that may be such already.

    Args:
        vector: as the model puts it out.
        end: the file's last operator; empty where it is a function of its own.
        is_multi: each label stands for itself.
    """
    are_shares = bool((vector >= 0).all() and (vector <= 1).all())
    is_done = end in SIGMOIDS or not end if is_multi else abs(vector.sum() - 1) <= SUM_ERROR
    if are_shares and is_done:
        return vector
    with np.errstate(over="ignore", invalid="ignore"):  # what is no number stays none
        raised: F32 = np.exp(-vector if is_multi else vector - vector.max())
        result: F32 = np.reciprocal(1 + raised) if is_multi else raised / raised.sum()
    return result


def _output_of(model: ir.Model, card: Card) -> tuple[int, ir.Value]:
    """How many classes there are, and the output with their scores."""
    name, classes = _output(choosing.shapes_of(model), card)
    value = next(value for value in model.graph.outputs if value.name == name)
    static_shape(value)
    return classes, value


def _output(shapes: Shapes, card: Card) -> tuple[str, int]:
    """The output's name, and how many classes it has.

    Raises:
        ModelError: no output fits, or more than one.
    """
    labels = len(card.table.labels)
    vectors = {
        name: max(shape)
        for name, shape in shapes.items()
        if shape and shape[0] == 1 and np.prod(shape) == max(shape) > 0
    }
    fitting = {name: size for name, size in vectors.items() if labels in {0, size}}
    least = 1 if card.table_of(ClassificationTable).multi_label else 2
    if len(fitting) == 1:
        name, classes = next(iter(fitting.items()))
        if classes >= least:
            return name, classes
    wanted = f"{labels} labels" if labels else f"at least {least} classes"
    raise choosing.mismatch(NAME, f"one output (1, classes) of {wanted}", shapes)


def _classes(shapes: Shapes, card: Card) -> int:
    """As many as there are scores."""
    return _output(shapes, card)[1]


HEAD = Head(NAME, "classification", match, build, decode, _classes)
