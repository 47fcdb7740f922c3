"""Takes a part of a tensor before it is worked on, not after.

An export decodes thousands of boxes of which a hundred are wanted, and joins boxes and scores
that are wanted apart. A selection walks from the finished tensor back up the graph, through
whatever treats every part on its own, and selects there: the same figures, by the same
operators, for the selected part alone. It knows no family; where it meets something else it
stops, and selects right there.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import onnx_ir as ir
from typing_extensions import override

from appliance.optimizer.graph import Builder, first_input, known_shape, static_shape

ELEMENTWISE = frozenset(
    {
        "Abs",
        "Add",
        "Cast",
        "Clip",
        "Div",
        "Exp",
        "HardSigmoid",
        "Identity",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Pow",
        "Relu",
        "Sigmoid",
        "Sqrt",
        "Sub",
        "Tanh",
    }
)


class Selection(ABC):
    """A part of one axis.

    Args:
        graph: to append to.
        count: how much of the axis it leaves.
    """

    def __init__(self, graph: Builder, count: int) -> None:
        self.graph = graph
        self.count = count
        self._done: dict[tuple[ir.Value, int], ir.Value] = {}

    @abstractmethod
    def here(self, value: ir.Value, axis: int) -> ir.Value:
        """Select from `value` itself."""

    @abstractmethod
    def before_join(self, node: ir.Node, axis: int) -> ir.Value | None:
        """Select before a Concat along the very axis, where that is possible."""

    def take(self, value: ir.Value, axis: int) -> ir.Value:
        """The selected part of `axis` of `value`, selected as early as that is the same."""
        key = (value, axis)
        if key not in self._done:
            taken = self._early(value, axis) or self.here(value, axis)
            shape = known_shape(value)
            if taken.shape is None and shape is not None and value.type is not None:
                taken.shape = ir.Shape([*shape[:axis], self.count, *shape[axis + 1 :]])
                taken.type = value.type
            self._done[key] = taken
        return self._done[key]

    def _early(self, value: ir.Value, axis: int) -> ir.Value | None:
        """Selected before the node that makes `value`; None where that would not be the same."""
        node = value.producer()
        rule = _RULES.get(node.op_type) if node is not None and not node.domain else None
        if node is None or rule is None or known_shape(value) is None:
            return None
        if any(each is not None and known_shape(each) is None for each in node.inputs):
            return None
        return rule(self, node, value, axis)

    def again(self, node: ir.Node, *inputs: ir.Value | None) -> ir.Value:
        """The same operator on other inputs."""
        return self.graph.op(node.op_type, *inputs, **node.attributes)


class Chosen(Selection):
    """Some places, anywhere along the axis, which are known at run time.

    Args:
        graph: to append to.
        places: int64 (K,).
        count: K.
    """

    def __init__(self, graph: Builder, places: ir.Value, count: int) -> None:
        super().__init__(graph, count)
        self._places = places

    @override
    def here(self, value: ir.Value, axis: int) -> ir.Value:
        """Gathered."""
        return self.graph.op("Gather", value, self._places, axis=axis)

    @override
    def before_join(self, node: ir.Node, axis: int) -> None:
        """Nobody knows yet which of the inputs they will lie in."""


class Stretch(Selection):
    """From `start` to before `stop`, known at build time."""

    def __init__(self, graph: Builder, start: int, stop: int) -> None:
        super().__init__(graph, stop - start)
        self._start = start

    @override
    def here(self, value: ir.Value, axis: int) -> ir.Value:
        """Sliced."""
        return self.graph.slice(value, axis, self._start, self._start + self.count)

    @override
    def before_join(self, node: ir.Node, axis: int) -> ir.Value | None:
        """From the one input that it lies in, which may be all of that input."""
        begin = 0
        for value in node.inputs:
            size = static_shape(value)[axis] if value is not None else 0
            start = self._start - begin
            if value is not None and start >= 0 and start + self.count <= size:
                if self.count == size:
                    return value
                return Stretch(self.graph, start, start + self.count).take(value, axis)
            begin += size
        return None


_Rule = Callable[[Selection, ir.Node, ir.Value, int], ir.Value | None]


def _elementwise(early: Selection, node: ir.Node, value: ir.Value, axis: int) -> ir.Value:
    """Inputs that are repeated along the axis stay as they are."""
    rank = len(static_shape(value))

    def taken(source: ir.Value) -> ir.Value:
        shape = static_shape(source)
        own = axis - rank + len(shape)
        return source if own < 0 or shape[own] == 1 else early.take(source, own)

    return early.again(node, *(each and taken(each) for each in node.inputs))


def _concat(early: Selection, node: ir.Node, value: ir.Value, axis: int) -> ir.Value | None:
    if _axis_of(node, value) == axis:
        return early.before_join(node, axis)
    return early.again(node, *(each and early.take(each, axis) for each in node.inputs))


def _softmax(early: Selection, node: ir.Node, value: ir.Value, axis: int) -> ir.Value | None:
    if _axis_of(node, value) == axis:
        return None
    return early.again(node, early.take(first_input(node), axis))


def _slice(early: Selection, node: ir.Node, value: ir.Value, axis: int) -> ir.Value | None:
    axes = node.inputs[3].const_value if len(node.inputs) > 3 and node.inputs[3] else None
    rank = len(static_shape(value))
    if axes is None or axis in {int(each) % rank for each in axes.numpy().ravel()}:
        return None
    return early.again(node, early.take(first_input(node), axis), *node.inputs[1:])


def _split(early: Selection, node: ir.Node, value: ir.Value, axis: int) -> ir.Value | None:
    """One part of it, as a slice."""
    along = _axis_of(node, value)
    if along == axis or any(known_shape(each) is None for each in node.outputs):
        return None
    sizes = [static_shape(each)[along] for each in node.outputs]
    part = node.outputs.index(value)
    start = sum(sizes[:part])
    source = early.take(first_input(node), axis)
    return early.graph.slice(source, along, start, start + sizes[part])


def _transpose(early: Selection, node: ir.Node, value: ir.Value, axis: int) -> ir.Value:
    backwards = tuple(reversed(range(len(static_shape(value)))))
    order = node.attributes.get_ints("perm", backwards)
    return early.again(node, early.take(first_input(node), order[axis]))


def _reshape(early: Selection, node: ir.Node, value: ir.Value, axis: int) -> ir.Value | None:
    """Where the axis comes through as it is, with as much before it and behind it."""
    source = first_input(node)
    before, after = static_shape(source), list(static_shape(value))
    behind = math.prod(after[axis + 1 :])
    for own, size in enumerate(before):
        if size == after[axis] and math.prod(before[own + 1 :]) == behind:
            after[axis] = early.count
            return early.graph.reshape(early.take(source, own), after)
    return None


def _conv(early: Selection, node: ir.Node, _value: ir.Value, axis: int) -> ir.Value | None:
    """Where it sees one place at a time."""
    weights = node.inputs[1]
    alone = weights is not None and set(static_shape(weights)[2:]) == {1}
    moved = {*node.attributes.get_ints("strides", (1,))} != {1}
    padded = any(node.attributes.get_ints("pads", ()))
    if axis < 2 or not alone or moved or padded:
        return None
    return early.again(node, early.take(first_input(node), axis), *node.inputs[1:])


def _axis_of(node: ir.Node, value: ir.Value) -> int:
    default = -1 if node.op_type == "Softmax" else 0
    return node.attributes.get_int("axis", default) % len(static_shape(value))


_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    "Concat": _concat,
    "Conv": _conv,
    "Reshape": _reshape,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Transpose": _transpose,
}
