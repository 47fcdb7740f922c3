"""A part taken early is the part taken late, and taken as early as it can be."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from appliance.optimizer.graph import Builder
from appliance.optimizer.selecting import Chosen, Stretch

SHAPE = (1, 4, 6, 5)
PLACES = np.array([3, 0, 3], np.int64)
START, STOP = 1, 4
WEIGHTS = {
    "row": np.arange(5, dtype=np.float32),
    "each": np.arange(24, dtype=np.float32).reshape(4, 6, 1),
    "one": np.ones((1, 4, 6, 5), np.float32),
    "flat": np.array([1, 24, 5]),
    "mixed": np.array([1, 4, 30]),
    "apart": np.array([1, 2, 2, 6, 5]),
    "point": np.eye(4, dtype=np.float32)[:, :, None, None],
    "wide": np.ones((4, 4, 3, 3), np.float32),
    "from": np.array([1]),
    "to": np.array([3]),
    "second": np.array([1]),
    "third": np.array([2]),
    "halves": np.array([2, 4]),
    "threes": np.array([3, 3]),
}


def node(kind, *inputs, outputs=("y",), **attributes):
    return helper.make_node(kind, inputs, outputs, **attributes)


# Nodes from x to y, the axis of y, and whether the part can be taken from x already.
CASES = {
    "nothing to pass": ([node("Shape", "x", outputs=["s"]), node("Expand", "x", "s")], 2, False),
    "one figure alone": ([node("Sigmoid", "x")], 2, True),
    "a constant along the axis": ([node("Add", "x", "each")], 2, True),
    "a constant across the axis": ([node("Mul", "row", "x")], 2, True),
    "clipped, with inputs left out": ([node("Clip", "x", "", "six")], 2, True),
    "softmax over another axis": ([node("Softmax", "x", axis=1)], 2, True),
    "softmax over the axis": ([node("Softmax", "x", axis=2)], 2, False),
    "joined along another axis": ([node("Concat", "x", "one", axis=1)], 2, True),
    "turned around": ([node("Transpose", "x", perm=[0, 3, 1, 2])], 3, True),
    "turned around, by default": ([node("Transpose", "x")], 1, True),
    "made flat behind the axis": ([node("Reshape", "x", "flat")], 2, True),
    "made flat over the axis": ([node("Reshape", "x", "mixed")], 2, False),
    "split up before the axis": ([node("Reshape", "x", "apart")], 3, True),
    "sliced along another axis": ([node("Slice", "x", "from", "to", "second")], 2, True),
    "sliced along the axis": ([node("Slice", "x", "second", "six_", "third")], 2, False),
    "split along another axis": (
        [node("Split", "x", "split", outputs=["z", "y"], axis=1)],
        2,
        True,
    ),
    "split along the axis": ([node("Split", "x", "halves", outputs=["z", "y"], axis=2)], 2, False),
    "convolved point by point": ([node("Conv", "x", "point")], 2, True),
    "convolved with neighbors": ([node("Conv", "x", "wide", pads=[1, 1, 1, 1])], 2, False),
    "convolved in steps": ([node("Conv", "x", "point", strides=[1, 2])], 2, False),
    "channels of a convolution": ([node("Conv", "x", "point")], 1, False),
    "an operator nobody knows": ([node("CumSum", "x", "axis")], 2, False),
    "used twice": ([node("Relu", "x", outputs=["r"]), node("Mul", "r", "r")], 2, True),
}
SCALARS = {
    "six": np.float32(6),
    "six_": np.array([6]),
    "split": np.array([1, 3]),
    "axis": np.array(2),
}
SELECTIONS = {
    "chosen": (
        lambda build: Chosen(build, build.constant(PLACES), len(PLACES)),
        lambda array, axis: array.take(PLACES, axis),
    ),
    "stretch": (
        lambda build: Stretch(build, START, STOP),
        lambda array, axis: array.take(range(START, STOP), axis),
    ),
}


def run(proto, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, {"x": x})[0]


def model(nodes):
    """A graph from x to y, with every shape inferred."""
    used = {name for each in nodes for name in each.input}
    weights = [
        numpy_helper.from_array(array, name)
        for name, array in {**WEIGHTS, **SCALARS}.items()
        if name in used
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)
    y = onnx.ValueInfoProto(name="y")
    y.type.tensor_type.elem_type = TensorProto.FLOAT
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    opsets = [helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)


def taken(proto, make, axis):
    """The model with the selected part of y as its output, and what was selected from."""
    changed = ir.from_proto(proto)
    build = Builder(changed.graph, "test")
    part = make(build).take(changed.graph.outputs[0], axis)
    part.name = "part"
    part.type = ir.TensorType(ir.DataType.FLOAT)
    changed.graph.outputs[:] = [part]
    changed.graph.sort()
    selecting = [each for each in changed.graph if each.name.startswith("canonical/test")]
    kinds = {"Gather", "Slice"}
    return ir.to_proto(changed), {e.inputs[0].name for e in selecting if e.op_type in kinds}


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("name", CASES)
def test_early_is_late(name, selection):
    """The part is the same to the last bit; it is taken from x wherever that is possible."""
    nodes, axis, early = CASES[name]
    make, by_hand = SELECTIONS[selection]
    proto = model(nodes)
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    part, sources = taken(proto, make, axis)
    np.testing.assert_array_equal(run(part, x), by_hand(run(proto, x), axis))
    assert ("x" in sources) == early


@pytest.mark.parametrize(
    ("axis", "expected"), [((1, 3), {"b"}), ((4, 8), set()), ((0, 4), set()), ((3, 5), {"y"})]
)
def test_what_was_joined_is_taken_apart(axis, expected):
    """A stretch comes from the one input it lies in; where it is all of it, nothing is sliced."""
    nodes = [
        node("CumSum", "x", "axis", outputs=["b"]),
        node("CumSum", "b", "axis", outputs=["c"]),
        node("Concat", "b", "c", axis=1),
    ]
    proto = model(nodes)
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    part, sources = taken(proto, lambda build: Stretch(build, *axis), 1)
    np.testing.assert_array_equal(run(part, x), run(proto, x)[:, slice(*axis)])
    assert sources == expected


def test_chosen_places_are_taken_after_a_join():
    """Which input they lie in is known only at run time."""
    proto = model([node("Concat", "x", "one", axis=2)])
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    make, by_hand = SELECTIONS["chosen"]
    part, sources = taken(proto, make, 2)
    np.testing.assert_array_equal(run(part, x), by_hand(run(proto, x), 2))
    assert sources == {"y"}
