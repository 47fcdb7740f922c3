"""What the heads share: choose places by score, and look at the chosen ones only.

A place is where a head looks for one object: a cell of a grid, an anchor, a row. Raw values
rank the places, the best K are taken, and boxes are worked out for those alone. `pick` and
`rows` are the same in numpy, for the heads' twins.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from appliance.catalog.card import Card
from appliance.errors import ModelError
from appliance.optimizer import selecting
from appliance.optimizer.graph import Builder, first_input, producer, static_shape
from appliance.optimizer.heads import Tensors
from appliance.tasks.detection import DetectionTable
from appliance.values import F32

Shapes = Mapping[str, tuple[int, ...]]
DECODING = frozenset({"Exp", "Mul", "Pow"})  # what turns raw values into boxes


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the figures lie in an output of three dimensions.

    Attributes:
        name: the output's.
        figure_axis: 1 or 2; the places lie along the other.
        figures: how many each place has.
        places: how many there are.
    """

    name: str
    figure_axis: int
    figures: int
    places: int


def candidates(card: Card, available: int) -> int:
    """K: how many rows leave the engine."""
    return min(card.table_of(DetectionTable).candidates, available)


def read_layout(shapes: Shapes, card: Card, *, before: int, figure_axis: int, head: str) -> Layout:
    """Find a head's output by its shape: (1, figures, places), or (1, places, figures).

    The card's labels decide which is which, else that there are more places than figures, else
    the family's own habit.

    Args:
        shapes: of every output.
        card: its labels, where it has any, say how many classes there are.
        before: figures ahead of the classes.
        figure_axis: the family's habit.
        head: for the message.

    Raises:
        ModelError: no output fits, or more than one.
    """
    tables = {name: shape for name, shape in shapes.items() if len(shape) == 3 and shape[0] == 1}
    if len(tables) != 1:
        raise mismatch(head, "one output of 3 dimensions", shapes)
    name, shape = next(iter(tables.items()))
    labels = len(card.table.labels)
    wanted = before + labels if labels else min(shape[1:])
    fitting = [axis for axis in (1, 2) if shape[axis] == wanted]
    if not fitting or wanted <= before:
        classes = f"{labels} labels" if labels else "at least one class"
        raise mismatch(head, f"{before} values and {classes} for each anchor", shapes)
    axis = fitting[0] if len(fitting) == 1 else figure_axis
    return Layout(name, axis, shape[axis], shape[3 - axis])


def mismatch(head: str, expected: str, shapes: Shapes) -> ModelError:
    """The outputs are not this head's."""
    found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    return ModelError(
        f"head {head}: expected {expected}, got {found}",
        hint="Name another head in model.toml, or correct its labels.",
    )


def shapes_of(model: ir.Model) -> Shapes:
    """Every output's shape; free axes count as 0, so they fit nothing."""
    return {
        str(value.name): tuple(size if isinstance(size, int) else 0 for size in value.shape or ())
        for value in model.graph.outputs
    }


def array_shapes(outputs: Tensors) -> Shapes:
    """The same for a run's arrays."""
    return {name: array.shape for name, array in outputs.items()}


@dataclass(frozen=True, slots=True)
class Table:
    """A tensor of figures by places, in the graph.

    Attributes:
        value: (1, figures, places) or (1, places, figures), shape known.
        figure_axis: 1 or 2.
    """

    value: ir.Value
    figure_axis: int

    @property
    def figures(self) -> int:
        """How many each place has."""
        return static_shape(self.value)[self.figure_axis]

    @property
    def places(self) -> int:
        """How many there are."""
        return static_shape(self.value)[3 - self.figure_axis]

    def straight(self) -> "Table":
        """The table before it was turned around at the end, where it was."""
        turned = producer(self.value, "Transpose")
        if turned is None or turned.attributes.get_ints("perm") != (0, 2, 1):
            return self
        return Table(first_input(turned), 3 - self.figure_axis)

    def is_joined_at(self, figure: int) -> bool:
        """Whether the export ends in a Concat of two, with this many figures in the first."""
        table = self.straight()
        joined = producer(table.value, "Concat")
        if joined is None or len(joined.inputs) != 2:
            return False
        axis = joined.attributes.get_int("axis", 0) % 3
        return axis == table.figure_axis and static_shape(first_input(joined))[axis] == figure

    def part(self, graph: Builder, start: int, stop: int) -> "Table":
        """Some of the figures, taken before they were joined with the others."""
        table = self.straight()
        value = selecting.Stretch(graph, start, stop).take(table.value, table.figure_axis)
        return Table(value, table.figure_axis)

    def best(self, graph: Builder) -> ir.Value:
        """The largest figure of each place: f32 (1, places)."""
        return as_float(graph, graph.reduce_max(self.value, self.figure_axis), self.value.dtype)

    def at(self, graph: Builder, places: ir.Value, count: int) -> ir.Value:
        """The chosen places' figures: f32 (1, count, figures)."""
        taken = selecting.Chosen(graph, places, count).take(self.value, 3 - self.figure_axis)
        if self.figure_axis == 1:
            taken = graph.op("Transpose", taken, perm=[0, 2, 1])
        return as_float(graph, taken, self.value.dtype)


def table_of(model: ir.Model, layout: Layout) -> Table:
    """The output that was found."""
    value = next(value for value in model.graph.outputs if value.name == layout.name)
    return Table(value, layout.figure_axis)


def tail(value: ir.Value) -> frozenset[str]:
    """The operators behind the last convolutions, these included: what an export ends in."""
    seen: set[ir.Node] = set()
    waiting = [value.producer()]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.op_type not in {"Conv", "Gemm", "MatMul"}:
            waiting += [each.producer() for each in node.inputs if each is not None]
    return frozenset(node.op_type for node in seen)


def is_seen(ends: frozenset[str]) -> bool:
    """Whether a tail tells anything: a network with convolutions does, made constants do not."""
    return "Conv" in ends


def is_raw(ends: frozenset[str]) -> bool:
    """Whether boxes leave the convolutions as they are, not decoded in the graph."""
    return is_seen(ends) and ends.isdisjoint(DECODING)


def require_probabilities(table: Table, head: str) -> None:
    """Refuse class scores on which no sigmoid was taken.

    Raises:
        ModelError: they are raw values; a second rule for them would be a guess.
    """
    ends = tail(table.value)
    if is_seen(ends) and ends.isdisjoint({"Sigmoid", "HardSigmoid", "Softmax"}):
        raise ModelError(
            f"head {head}: the scores of {table.value.name} leave the network without a sigmoid",
            hint="Export the model for inference, with the sigmoid in the graph.",
        )


def as_float(graph: Builder, value: ir.Value, dtype: ir.DataType | None) -> ir.Value:
    """`value` in single precision: heads stay fp32 whatever the model is in."""
    return value if dtype == ir.DataType.FLOAT else graph.cast(value, ir.DataType.FLOAT)


def like(graph: Builder, number: np.float32, value: ir.Value) -> ir.Value:
    """A constant of the type that `value` has."""
    half = value.dtype == ir.DataType.FLOAT16
    return graph.constant(np.float16(number) if half else number)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The K best.

    Attributes:
        ranks: f32 (1, K), best first.
        places: int64 (K,).
        class_ids: int32 (1, K).
        count: K.
    """

    ranks: ir.Value
    places: ir.Value
    class_ids: ir.Value
    count: int


def choose(
    graph: Builder,
    best: ir.Value,
    at: Callable[[ir.Value, int], ir.Value],
    *,
    sizes: tuple[int, int],
    card: Card,
    ranked: Sequence[ir.Value],
) -> Chosen:
    """The best places, each with its best class; or, with multi_label, the best pairs of both.

    The K best pairs lie in the K best places, so the places come first there as well.

    Args:
        graph: to append to.
        best: f32 (1, places), the largest value of any class.
        at: gives f32 (1, n, classes), the values of n chosen places int64 (n,).
        sizes: places and classes.
        card: multi_label, and how many.
        ranked: every value that `best` was taken from.
    """
    places_in_all, classes = sizes
    first = candidates(card, places_in_all)
    ranks, places = graph.top_k(best, first)
    places = graph.reshape(places, [first])
    values = at(places, first)
    if not card.table_of(DetectionTable).multi_label:
        class_ids = graph.op("ArgMax", values, axis=2, keepdims=0)
        ranks = poisoned(graph, ranks, ranked)
        return Chosen(ranks, places, graph.cast(class_ids, ir.DataType.INT32), first)
    count = candidates(card, places_in_all * classes)
    ranks, pairs = graph.top_k(graph.reshape(values, [1, first * classes]), count)
    width = graph.constant(np.int64(classes))
    row = graph.reshape(graph.op("Div", pairs, width), [count])
    class_ids = graph.cast(graph.op("Mod", pairs, width), ir.DataType.INT32)
    ranks = poisoned(graph, ranks, ranked)
    return Chosen(ranks, graph.op("Gather", places, row, axis=0), class_ids, count)


def choose_by_objectness(
    graph: Builder,
    table: Table,
    card: Card,
    *,
    objectness_at: int,
    powers: tuple[float, float] = (1, 1),
) -> Chosen:
    """Rank by objectness ** powers[0] * class ** powers[1].

    Args:
        graph: to append to.
        table: its figures: a box and objectness in five columns, then the classes.
        card: multi_label, and how many.
        objectness_at: the column of objectness.
        powers: as the family weighs them.
    """
    objectness = table.part(graph, objectness_at, objectness_at + 1)
    classes = table.part(graph, 5, table.figures)

    def score(of_object: ir.Value, of_class: ir.Value) -> ir.Value:
        raised = (
            value if power == 1 else graph.op("Pow", value, graph.constant(np.float32(power)))
            for value, power in zip((of_object, of_class), powers, strict=True)
        )
        return graph.op("Mul", *raised)

    return choose(
        graph,
        score(objectness.best(graph), classes.best(graph)),
        lambda places, n: score(objectness.at(graph, places, n), classes.at(graph, places, n)),
        sizes=(table.places, classes.figures),
        card=card,
        ranked=(objectness.value, classes.value),
    )


def poisoned(graph: Builder, scores: ir.Value, ranked: Sequence[ir.Value]) -> ir.Value:
    """`scores` as they are; all of them NaN where one of the values that were ranked is not finite.

    Comparisons drop NaN: a model that computes no numbers would look like one that sees nothing.
    A sum keeps it, and zero times a sum that is finite changes no score.
    """
    for value in ranked:
        total = graph.op("ReduceSum", as_float(graph, value, value.dtype), keepdims=0)
        nothing = graph.op("Mul", total, graph.constant(np.float32(0)))
        scores = graph.op("Add", scores, nothing)
    return scores


def corners(graph: Builder, centered: ir.Value) -> ir.Value:
    """Center x, center y, width, height (1, K, 4) to xyxy."""
    centers = graph.slice(centered, 2, 0, 2)
    half = graph.op("Mul", graph.slice(centered, 2, 2, 4), graph.constant(np.float32(0.5)))
    low, high = graph.op("Sub", centers, half), graph.op("Add", centers, half)
    return graph.op("Concat", low, high, axis=2)


def points(graph: Builder, chosen: Chosen, grid: F32) -> ir.Value:
    """The chosen rows of `grid` (places, n): f32 (1, K, n)."""
    rows = graph.op("Gather", graph.constant(grid), chosen.places, axis=0)
    return graph.reshape(rows, [1, chosen.count, grid.shape[1]])


def outputs(
    graph: Builder, boxes: ir.Value, scores: ir.Value, class_ids: ir.Value
) -> Mapping[str, ir.Value]:
    """The canonical outputs; what has no score has no class either."""
    used = graph.op("Greater", scores, graph.constant(np.float32(0)))
    class_ids = graph.op("Where", used, class_ids, graph.constant(np.int32(-1)))
    return {"boxes": boxes, "scores": scores, "class_ids": class_ids}


def grid_of(size_wh: tuple[int, int], strides: Sequence[int]) -> F32:
    """(places, 3): column, row and stride of every cell, grid after grid, row by row."""
    grids = []
    for stride in strides:
        y, x = np.mgrid[: size_wh[1] // stride, : size_wh[0] // stride]
        grids.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], axis=1))
    return np.concatenate(grids).astype(np.float32)


def pick(scores: F32, card: Card) -> tuple[NDArray[np.intp], NDArray[np.intp], F32]:
    """The twin of `choose`, on scores (places, classes): places, class ids and scores, (K,)."""
    if not card.table_of(DetectionTable).multi_label:
        best = scores.argmax(axis=1)
        ranks = scores[np.arange(len(scores)), best]
        places = np.argsort(-ranks, kind="stable")[: candidates(card, len(ranks))]
        return places, best[places], ranks[places]
    flat = scores.ravel()
    pairs = np.argsort(-flat, kind="stable")[: candidates(card, flat.size)]
    places, class_ids = np.divmod(pairs, scores.shape[1])
    return places, class_ids, flat[pairs]


def rows(boxes: F32, scores: F32, class_ids: NDArray[np.intp]) -> Tensors:
    """The twin of `outputs`, of boxes (K, 4), scores (K,) and class ids (K,)."""
    return {
        "boxes": boxes[None].astype(np.float32),
        "scores": scores[None].astype(np.float32),
        "class_ids": np.where(scores > 0, class_ids, -1)[None].astype(np.int32),
    }


def centered(boxes: F32) -> F32:
    """The twin of `corners`, on (K, 4)."""
    centers, half = boxes[:, :2], boxes[:, 2:] / 2
    return np.concatenate([centers - half, centers + half], axis=1)


def figures_of(outputs: Tensors, layout: Layout) -> F32:
    """An output of a run as (places, figures)."""
    table: F32 = outputs[layout.name][0]
    return table.T if layout.figure_axis == 1 else table
