"""Surgery on ONNX graphs, on top of onnx-ir: cut, append, prune, check, save."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from appliance.errors import ModelError

OPSET_MIN = 13  # axes as inputs, as the heads write them
OPSET_MAX = 23  # newest that every backend here reads

Attribute = int | float | str | Sequence[int]


class Builder:
    """Appends nodes to a graph; names are unique by a prefix no exporter uses.

    Args:
        graph: to append to.
        part: what is built, as "head": two builders of one graph need two names.
    """

    def __init__(self, graph: ir.Graph, part: str) -> None:
        self.graph = graph
        self._part = part
        self._tape = ir.tape.Tape(graph)
        self._count = 0

    def op(self, kind: str, *inputs: ir.Value, **attributes: Attribute) -> ir.Value:
        """Append one node with one output."""
        name = self._name(kind)
        value = self._tape.op(kind, inputs, attributes, name=name)
        value.name = name
        return value

    def top_k(self, values: ir.Value, count: int) -> tuple[ir.Value, ir.Value]:
        """The `count` largest along the last axis, best first: values and int64 places."""
        name = self._name("TopK")
        inputs = [values, self.constant(np.array([count], np.int64))]
        best, places = self._tape.op_multi_out(
            "TopK", inputs, {"axis": -1, "largest": 1, "sorted": 1}, num_outputs=2, name=name
        )
        best.name, places.name = f"{name}_values", f"{name}_places"
        return best, places

    def constant(self, array: NDArray[np.generic] | np.generic) -> ir.Value:
        """A new initializer."""
        name = self._name("const")
        return self._tape.initializer(ir.tensor(np.asarray(array), name=name), name=name)

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"canonical/{self._part}/{kind}_{self._count}"


def load(path: Path, input_shape: Sequence[int]) -> ir.Model:
    """Read a foreign model, fix its image input to `input_shape`, and infer shapes.

    Raises:
        ModelError: it needs a newer operator set, or its shapes contradict.
    """
    proto = onnx.load(path)
    opset = next((o.version for o in proto.opset_import if o.domain in {"", "ai.onnx"}), 0)
    if not OPSET_MIN <= opset <= OPSET_MAX:
        raise ModelError(
            f"{path.name}: uses operator set {opset}, readable are {OPSET_MIN} to {OPSET_MAX}",
            hint=f"Export the model again with opset {min(max(opset, OPSET_MIN), OPSET_MAX)}.",
        )
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    if len(dims) != len(input_shape):
        raise ModelError(f"{path.name}: expected a {len(input_shape)}-dimensional image input")
    for dim, size in zip(dims, input_shape, strict=True):
        if dim.HasField("dim_value") and dim.dim_value not in {size, 0, -1}:
            declared = [d.dim_value or d.dim_param for d in dims]
            raise ModelError(
                f"{path.name}: input is {declared}, the card says {list(input_shape)}",
                hint="Correct input.size_wh or input.layout in model.toml.",
            )
        dim.dim_value = size
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(
            f"{path.name}: its shapes contradict each other: {_first_line(error)}",
            hint="Correct input.size_wh in model.toml, or export the model again.",
        ) from error
    return ir.from_proto(inferred)


def set_outputs(model: ir.Model, outputs: Mapping[str, ir.Value]) -> None:
    """Make `outputs` the model's only outputs, under these names."""
    model.graph.outputs.clear()
    for name, value in outputs.items():
        value.name = name
        model.graph.outputs.append(value)


def finish(model: ir.Model, path: Path) -> None:
    """Drop what no output needs, order the nodes, check, and write to `path`.

    Raises:
        ModelError: the resulting graph is not valid ONNX.
    """
    model.graph.sort()
    for step in (
        common.RemoveUnusedNodesPass(),
        common.IdentityEliminationPass(),
        common.ClearMetadataAndDocStringPass(),
    ):
        step(model)
    try:
        proto = onnx.shape_inference.infer_shapes(ir.to_proto(model), strict_mode=True)
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise ModelError(
            f"canonical graph is not valid: {_first_line(error)}",
            hint="The model's card may name the wrong head for this file.",
        ) from error
    onnx.save(proto, path)


def producer(value: ir.Value, kind: str) -> ir.Node | None:
    """The node that makes `value`, if it is of `kind`, seen through Identity."""
    node = value.producer()
    while node is not None and node.op_type == "Identity":
        source = node.inputs[0]
        node = source.producer() if source is not None else None
    return node if node is not None and node.op_type == kind else None


def first_input(node: ir.Node) -> ir.Value:
    """A node's first input.

    Raises:
        ModelError: it is left out.
    """
    value = node.inputs[0]
    if value is None:
        raise ModelError(f"{node.name}: {node.op_type} without input")
    return value


def static_shape(value: ir.Value) -> tuple[int, ...]:
    """A value's shape.

    Raises:
        ModelError: it is unknown or not fixed.
    """
    shape = value.shape
    if shape is None or not all(isinstance(size, int) for size in shape):
        raise ModelError(
            f"{value.name}: its shape is not fixed: {shape}",
            hint="Export the model with a fixed input size and without dynamic axes.",
        )
    return tuple(int(size) for size in shape)  # type: ignore[arg-type]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
