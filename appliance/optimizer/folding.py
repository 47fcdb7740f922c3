"""Works out at build time what no picture can change: shapes, anchors, strides.

Exporters write sizes as chains of Shape, Gather and Slice. As constants they cost nothing at
run time, and shape inference sees what hung on them.
"""

import math
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

MAX_ELEMENTS = 1 << 22  # a larger result is made again rather than stored

# Arithmetic on sizes and grids, plain enough to be left to the reference evaluator.
FOLDABLE = frozenset(
    {
        "Add",
        "Cast",
        "Ceil",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Div",
        "Equal",
        "Exp",
        "Expand",
        "Floor",
        "Gather",
        "Greater",
        "Identity",
        "Less",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Pow",
        "Range",
        "ReduceProd",
        "Reshape",
        "Slice",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
    }
)


def infer_and_fold(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every shape that can be known, and constants for what is constant.

    Raises:
        onnx.shape_inference.InferenceError: its shapes contradict each other.
    """
    while True:
        proto = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
        if not _fold(proto):
            return proto


def _fold(proto: onnx.ModelProto) -> bool:
    """Turn nodes into initializers of the same names; whether there were any."""
    graph = proto.graph
    shapes = _static_shapes(graph)
    known = {tensor.name for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    results: dict[str, onnx.TensorProto] = {}
    folded, arithmetic = [], []
    for index, node in enumerate(graph.node):
        if node.domain not in {"", "ai.onnx"} or not outputs.isdisjoint(node.output):
            continue
        if node.op_type == "Shape" and node.input[0] in shapes:
            results[node.output[0]] = _shape(node, shapes[node.input[0]])
        elif _foldable(node, known, shapes):
            arithmetic.append(node)
        else:
            continue
        folded.append(index)
        known.update(node.output)
    results |= _evaluate(proto, arithmetic, results)
    for index in reversed(folded):
        del graph.node[index]
    graph.initializer.extend(results.values())
    return bool(folded)


def _foldable(node: onnx.NodeProto, known: set[str], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    if node.op_type not in FOLDABLE or not all(name in known for name in node.input if name):
        return False
    small = (math.prod(shapes.get(name, (MAX_ELEMENTS + 1,))) for name in node.output)
    return node.op_type == "Constant" or all(size <= MAX_ELEMENTS for size in small)


def _shape(node: onnx.NodeProto, shape: tuple[int, ...]) -> onnx.TensorProto:
    ends = {attribute.name: attribute.i for attribute in node.attribute}
    wanted = shape[ends.get("start", 0) : ends.get("end")]
    return numpy_helper.from_array(np.array(wanted, np.int64), node.output[0])


def _evaluate(
    proto: onnx.ModelProto, nodes: list[onnx.NodeProto], given: Mapping[str, onnx.TensorProto]
) -> dict[str, onnx.TensorProto]:
    """What `nodes` make of the model's initializers and the `given` tensors."""
    names = [name for node in nodes for name in node.output if name]
    used = {name for node in nodes for name in node.input}
    tensors = [t for t in (*proto.graph.initializer, *given.values()) if t.name in used]
    values = [onnx.ValueInfoProto(name=name) for name in names]
    graph = onnx.helper.make_graph(nodes, "constants", [], values, tensors)
    model = onnx.helper.make_model(graph, opset_imports=proto.opset_import)
    arrays = ReferenceEvaluator(model).run(names, {}) if names else []
    return {
        name: numpy_helper.from_array(np.asarray(array), name)
        for name, array in zip(names, arrays, strict=True)
    }


def _static_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """The shapes that are fixed in every axis."""
    shapes = {}
    for value in (*graph.input, *graph.value_info):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            shapes[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    return shapes
