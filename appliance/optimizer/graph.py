"""Surgery on ONNX graphs, on top of onnx-ir: cut, append, prune, check, save."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx_ir.passes import common

from appliance.catalog.inspection import Inspection
from appliance.errors import ModelError
from appliance.optimizer import foreign
from appliance.optimizer.folding import infer_and_fold

OPSET_MIN = 9  # oldest that is lifted
OPSET_HEADS = 13  # oldest in which the heads can be written
OPSET_LIFTED = 17  # what older ones are lifted to
OPSET_MAX = 23  # newest that every backend here reads
OPSET_AXES = 18  # from here on reductions take their axes as an input
IR_MAX = 13  # newest file format that is read
IR_VERSION = 10  # the one that is written: every runtime here reads it

Attribute = int | float | str | Sequence[int] | ir.Attr


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

    def op(self, kind: str, *inputs: ir.Value | None, **attributes: Attribute) -> ir.Value:
        """Append one node with one output."""
        name = self._name(kind)
        value = self._tape.op(kind, inputs, attributes, name=name)
        value.name = name
        return value

    def reshape(self, value: ir.Value, shape: Sequence[int]) -> ir.Value:
        """`value` in a fixed shape; the result knows it, where `value` knows its type."""
        reshaped = self.op("Reshape", value, self.constant(np.array(shape, np.int64)))
        if value.type is not None:
            reshaped.shape, reshaped.type = ir.Shape(shape), value.type
        return reshaped

    def slice(self, value: ir.Value, axis: int, start: int, stop: int) -> ir.Value:
        """`start` to `stop` along one axis."""
        ends = (self.constant(np.array([end], np.int64)) for end in (start, stop, axis))
        return self.op("Slice", value, *ends)

    def reduce_max(self, value: ir.Value, axis: int) -> ir.Value:
        """The largest along one axis, which goes."""
        if self.graph.opset_imports[""] < OPSET_AXES:
            return self.op("ReduceMax", value, axes=[axis], keepdims=0)
        return self.op("ReduceMax", value, self.constant(np.array([axis], np.int64)), keepdims=0)

    def cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """`value` as another type."""
        return self.op("Cast", value, to=int(dtype))

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


def load(
    inspection: Inspection, image: str, shape: Sequence[int], constants: Mapping[str, NDArray[Any]]
) -> ir.Model:
    """Read a foreign model, fix its inputs, fold what is constant, and infer shapes.

    Args:
        inspection: of the file; without one, weights outside the model's folder might be read.
        image: the image input's name.
        shape: what its shape becomes.
        constants: other inputs by name, which become part of the graph.

    Raises:
        ModelError: it needs another operator set, or its shapes contradict.
    """
    name = inspection.path.name
    _check_versions(inspection)
    proto = foreign.inlined(onnx.load(inspection.path), name)
    foreign.check_operators(proto, name)
    weights = {tensor.name for tensor in proto.graph.initializer} | constants.keys()
    inputs = [value for value in proto.graph.input if value.name not in weights]
    foreign.fix_shape(next(value for value in inputs if value.name == image), shape, name)
    declared = [_forget_shape(value) for value in proto.graph.output]
    try:
        if inspection.opset < OPSET_HEADS:  # it wants weights among the inputs of old files
            proto = onnx.version_converter.convert_version(proto, OPSET_LIFTED)
        del proto.graph.input[:]
        proto.graph.input.extend(inputs)
        proto.graph.initializer.extend(
            numpy_helper.from_array(array, key) for key, array in constants.items()
        )
        proto.ir_version = IR_VERSION
        inferred = infer_and_fold(proto)
    except onnx.version_converter.ConvertError as error:
        raise ModelError(
            f"{name}: operator set {inspection.opset} cannot be lifted to {OPSET_LIFTED}: "
            f"{_first_line(error)}",
            hint=f"Export the model again with opset {OPSET_LIFTED}.",
        ) from error
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(
            f"{name}: its shapes contradict each other: {_first_line(error)}",
            hint="Correct input.size_wh in model.toml, or export the model again.",
        ) from error
    foreign.check_convolutions(inferred, name)
    foreign.check_sizes(inferred, name)
    for value, sizes in zip(inferred.graph.output, declared, strict=True):
        _recall_shape(value, sizes)
    return ir.from_proto(inferred)


def _forget_shape(output: onnx.ValueInfoProto) -> list[int]:
    """Clear what the file says of an output's shape, and return it; 0 for what it leaves open."""
    sizes = [dim.dim_value for dim in output.type.tensor_type.shape.dim]
    output.type.tensor_type.ClearField("shape")
    return sizes


def _recall_shape(output: onnx.ValueInfoProto, declared: Sequence[int]) -> None:
    """Believe the file only where inference knows no better; a picture's leading axis is 1."""
    tensor = output.type.tensor_type
    if not tensor.HasField("shape"):
        tensor.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in declared)
    for axis, (dim, size) in enumerate(zip(tensor.shape.dim, declared, strict=False)):
        known = size or (1 if axis == 0 and len(declared) > 2 else 0)
        if known and not dim.HasField("dim_value"):
            dim.dim_value = known


def _check_versions(inspection: Inspection) -> None:
    """Refuse what the runtimes here cannot read.

    Raises:
        ModelError: the operator set or the file format is too old or too new.
    """
    name, opset = inspection.path.name, inspection.opset
    if not OPSET_MIN <= opset <= OPSET_MAX:
        raise ModelError(
            f"{name}: needs operator set {opset}, this device reads {OPSET_MIN} to {OPSET_MAX}",
            hint=f"Export the model again with opset {min(max(opset, OPSET_LIFTED), OPSET_MAX)}.",
        )
    if inspection.ir_version > IR_MAX:
        raise ModelError(
            f"{name}: written in file format {inspection.ir_version}, this device reads up to "
            f"{IR_MAX}",
            hint="Export the model again with an older release of the onnx package.",
        )


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
        common.NameFixPass(),  # a foreign value may be called "scores" too
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


def known_shape(value: ir.Value) -> tuple[int, ...] | None:
    """A value's shape where every axis is known and fixed."""
    shape = value.shape
    if shape is None or not shape.is_static():
        return None
    return tuple(int(size) for size in shape)  # type: ignore[arg-type] # static: all are int


def producer(value: ir.Value, kind: str) -> ir.Node | None:
    """The node that makes `value`, if it is of `kind`, seen through Identity."""
    node, seen = value.producer(), set[ir.Node]()
    while node is not None and node.op_type == "Identity" and node not in seen:
        seen.add(node)  # a damaged graph may lead back to itself
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
    shape = known_shape(value)
    if shape is None:
        raise ModelError(
            f"{value.name}: its shape is not fixed: {value.shape}",
            hint="Export the model with a fixed input size and without dynamic axes.",
        )
    return shape


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
