"""Half precision between the picture and the head, written into the graph itself.

Single precision stay: the input part and the head; whatever only moves pixels about, with the
convolutions that see them, whose weights are small by the scale of 255; the decoding behind the
last product, because half precision counts pixels in steps of 0.5 from 512 on; squares and sums
that would overflow, until they meet something else; and each input and output of an operator
that ONNX wants in float32.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from appliance.errors import ModelError
from appliance.optimizer import graph as surgery
from appliance.optimizer.graph import Builder
from appliance.optimizer.precision.body import PRODUCTS, before_products, is_body

# What a square or a sum over a map easily brings beyond 65504.
VERSION: Final = 1  # what is halved
OVERFLOWING = frozenset({"Exp", "Pow", "ReduceL2", "ReduceMean", "ReduceSum", "ReduceSumSquare"})
MOVING = frozenset(
    {
        "Concat",
        "Flatten",
        "Gather",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
_LARGEST = float(np.finfo(np.float16).max)
_SMALLEST = np.finfo(np.float16).smallest_subnormal


def to_half(canonical: Path, into: Path) -> None:
    """Write `canonical` to `into` with its body in half precision; inputs and outputs stay.

    Raises:
        ModelError: a constant is beyond half precision's range.
    """
    model = ir.load(canonical)
    lowering = _Lowering(model.graph)
    for node, tensors in _lowered(model.graph).items():
        lowering.lower(node, tensors)
    lowering.join()
    surgery.finish(model, into)


_Tensors = tuple[Mapping[int, ir.Value], tuple[ir.Value, ...]]


def _lowered(graph: ir.Graph) -> Mapping[ir.Node, _Tensors]:
    """The nodes that compute in half precision: their inputs by index, and their outputs."""
    opset = graph.opset_imports[""]
    single = _seeing_pixels(graph)
    wide: set[ir.Node | None] = set()  # large sums, and what is made of them alone
    found: dict[ir.Node, _Tensors] = {}
    for node in before_products(graph):
        tensors = _halvable(node, opset)
        if tensors is None or node in single:
            continue
        sources = {v.producer() for v in tensors[0].values() if v.const_value is None}
        if node.op_type in OVERFLOWING or (sources <= wide and node.op_type not in PRODUCTS):
            wide.add(node)
        else:
            found[node] = tensors
    return found


def _halvable(node: ir.Node, opset: int) -> _Tensors | None:
    """Inputs and outputs of a body's node that may change their type; None where it must not.

    All outputs in single precision have to change, and with them the inputs that ONNX declares
    of the same type: others, as the scales of Resize, stay what they are.
    """
    if node.domain or not is_body(node) or any(True for _ in _subgraphs(node)):
        return None
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    allowed = {each.type_param_str: each.allowed_type_strs for each in schema.type_constraints}
    outputs = [
        (value, schema.outputs[min(index, len(schema.outputs) - 1)].type_str)
        for index, value in enumerate(node.outputs)
        if value.dtype == ir.DataType.FLOAT
    ]
    kinds = {kind for _, kind in outputs}
    if any("tensor(float16)" not in allowed.get(kind, ()) for kind in kinds):
        return None
    inputs = {
        index: value
        for index, value in enumerate(node.inputs)
        if value is not None
        and value.dtype == ir.DataType.FLOAT
        and schema.inputs[min(index, len(schema.inputs) - 1)].type_str in kinds
    }
    return (inputs, tuple(value for value, _ in outputs)) if inputs else None


def _subgraphs(node: ir.Node) -> Iterator[ir.Attr]:
    kinds = {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS}
    return (each for each in node.attributes.values() if each.type in kinds)


def _seeing_pixels(graph: ir.Graph) -> set[ir.Node]:
    """What moves pixels about before anything is computed, and the convolutions that see them."""
    pixels = set(graph.inputs)
    found = set()
    for node in graph:
        if not is_body(node):
            pixels.update(node.outputs if not pixels.isdisjoint(node.inputs) else ())
        elif node.op_type in MOVING | {"Conv"} and node.inputs[0] in pixels:
            found.add(node)
            pixels.update(node.outputs if node.op_type in MOVING else ())
    return found


class _Lowering:
    """Changes types, first of the nodes, then where the two precisions meet."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._build = Builder(graph, "precision")
        self._wanted: list[tuple[ir.Node, int, ir.Value]] = []
        self._made: dict[ir.Value, None] = {}
        self._casts: dict[ir.Value, ir.Value] = {}

    def lower(self, node: ir.Node, tensors: _Tensors) -> None:
        """Let `node` compute in half precision."""
        inputs, outputs = tensors
        self._wanted += [(node, index, value) for index, value in inputs.items()]
        self._made.update(dict.fromkeys(outputs))

    def join(self) -> None:
        """Give every node its inputs in the precision that it computes in."""
        wanted = {(node, index) for node, index, _ in self._wanted}
        for value in self._made:
            others = [use for use in value.uses() if tuple(use) not in wanted]
            value.dtype = ir.DataType.FLOAT16
            if others or value.is_graph_output():
                self._keep_single(value, others)
        for node, index, value in self._wanted:
            if value not in self._made:
                node.replace_input_with(index, self._half_of(value))

    def _keep_single(self, value: ir.Value, uses: Iterable[tuple[ir.Node, int]]) -> None:
        single = self._build.cast(value, ir.DataType.FLOAT)
        single.dtype, single.shape = ir.DataType.FLOAT, value.shape
        for node, index in uses:
            node.replace_input_with(index, single)
        for index, output in enumerate(self._graph.outputs):
            if output is value:
                single.name, value.name = value.name, f"{value.name}_half"
                self._graph.outputs[index] = single

    def _half_of(self, value: ir.Value) -> ir.Value:
        if value not in self._casts:
            self._casts[value] = self._constant(value) or self._cast(value)
        return self._casts[value]

    def _constant(self, value: ir.Value) -> ir.Value | None:
        tensor = value.const_value
        return None if tensor is None else self._build.constant(_in_half(value, tensor.numpy()))

    def _cast(self, value: ir.Value) -> ir.Value:
        """A Cast, but what was half precision before somebody raised it is taken as it was."""
        node = value.producer()
        source = node.inputs[0] if node is not None and node.op_type == "Cast" else None
        if source is not None and source.dtype == ir.DataType.FLOAT16:
            return source
        half = self._build.cast(value, ir.DataType.FLOAT16)
        half.dtype, half.shape = ir.DataType.FLOAT16, value.shape
        return half


def _in_half(value: ir.Value, exact: NDArray[np.generic]) -> NDArray[np.float16]:
    """A constant's numbers; a single one that is not 0 stays so, as it may guard a division.

    Raises:
        ModelError: they are beyond the range, and no limit or mask for which the end will do.
    """
    beyond = np.isfinite(exact) & (np.abs(exact) > _LARGEST)
    if (
        beyond.any()
        and not _is_limit(value)
        and not (_is_mask(value) and (exact[beyond] < 0).all())
    ):
        raise ModelError(
            f"{value.name}: {float(exact[beyond].flat[0]):g} is beyond half precision",
            hint="Set APPLIANCE_ENGINE__PRECISION=fp32.",
        )
    half = np.where(beyond, np.sign(exact) * _LARGEST, exact).astype(np.float16)
    if half.size == 1 and exact.any() and not half.any():
        half = np.full_like(half, np.copysign(_SMALLEST, exact))
    return half


def _is_limit(value: ir.Value) -> bool:
    """Whether it limits a range, and nothing in half precision lies beyond."""
    return all(node.op_type == "Clip" and index > 0 for node, index in value.uses())


def _is_mask(value: ir.Value) -> bool:
    """Whether it goes before a Softmax in the places that are to get nothing."""
    return all(
        node.op_type in {"Add", "Where"}
        and {user.op_type for user in node.successors()} == {"Softmax"}
        for node, _ in value.uses()
    )
