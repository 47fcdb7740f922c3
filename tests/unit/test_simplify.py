"""Fewer operators say the same."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_ir.passes import common

from appliance.optimizer.simplify import fuse_hard_sigmoids

X = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
Y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
THREE, SIX, SIXTH = 3.0, 6.0, 1 / 6


def model(nodes, **constants):
    """A graph from x to y."""
    arrays = {"three": THREE, "zero": 0.0, "six": SIX, "sixth": SIXTH, **constants}
    weights = [
        numpy_helper.from_array(np.asarray(value, np.float32), name)
        for name, value in arrays.items()
    ]
    graph = helper.make_graph(nodes, "g", [X], [Y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def hard_swish(*, scaled="Mul", by="sixth", swapped=False):
    """As exporters spell it: x * s * clip(x + 3, 0, 6)."""
    product = ["gate", "part"] if swapped else ["part", "gate"]
    return [
        helper.make_node("Add", ["three", "x"] if swapped else ["x", "three"], ["sum"]),
        helper.make_node("Clip", ["sum", "zero", "six"], ["gate"]),
        helper.make_node(scaled, ["x", by], ["part"]),
        helper.make_node("Mul", product, ["y"]),
    ]


def hard_sigmoid(last="Mul", by="sixth"):
    """clip(x + 3, 0, 6) / 6."""
    return [
        helper.make_node("Add", ["x", "three"], ["sum"]),
        helper.make_node("Clip", ["sum", "zero", "six"], ["gate"]),
        helper.make_node(last, ["gate", by], ["y"]),
    ]


def fused(proto):
    """How many were found, the operators left, and the new model."""
    simpler = ir.from_proto(proto)
    found = fuse_hard_sigmoids(simpler)
    simpler.graph.sort()
    common.RemoveUnusedNodesPass()(simpler)
    return found, [node.op_type for node in simpler.graph], ir.to_proto(simpler)


def run(proto, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    return session.run(None, {"x": x})[0]


SPELLINGS = [
    (hard_swish(), ["HardSigmoid", "Mul"]),
    (hard_swish(swapped=True), ["HardSigmoid", "Mul"]),
    (hard_swish(scaled="Div", by="six"), ["HardSigmoid", "Mul"]),
    (hard_sigmoid(), ["HardSigmoid"]),
    (hard_sigmoid("Div", "six"), ["HardSigmoid"]),
]


@pytest.mark.parametrize(("nodes", "left"), SPELLINGS)
def test_every_spelling_is_found(nodes, left):
    """Add, Clip and the scale become one HardSigmoid, whatever the order of the operands."""
    found, kinds, _ = fused(model(nodes))
    assert (found, kinds) == (1, left)


@pytest.mark.parametrize(("nodes", "left"), SPELLINGS)
@given(values=st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=30))
def test_the_values_stay(nodes, left, values):
    """The same numbers come out, to a rounding."""
    x = np.array(values, np.float32)
    before = model(nodes)
    _, kinds, after = fused(before)
    assert kinds == left
    np.testing.assert_allclose(run(after, x), run(before, x), rtol=1e-5, atol=1e-5)


HALF_SIXTH = float(np.float16(1 / 6))  # as files hold it that were stored in half precision
IMAGE = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4])


def convolution(source, name="y"):
    """A 1 x 1 convolution of two channels with weights of its own."""
    return helper.make_node("Conv", [source, f"{name}_weights"], [name])


def behind(*nodes):
    """A hard swish of two channels with a rounded factor as `swish`, and `nodes` behind it."""
    front = hard_swish()
    front[-1].output[0] = "swish"
    names = [node.input[1] for node in nodes if node.op_type == "Conv"]
    random = np.random.default_rng(1)
    weights = {name: random.normal(size=(2, 2, 1, 1)) for name in names}
    proto = model([*front, *nodes], sixth=HALF_SIXTH, **weights)
    proto.graph.input[0].CopyFrom(IMAGE)
    proto.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 4, 4])
    )
    return proto


SQUEEZED = [
    helper.make_node("GlobalAveragePool", ["swish"], ["mean"]),
    convolution("mean", "gate_of_channels"),
    helper.make_node("Mul", ["swish", "gate_of_channels"], ["excited"]),
    convolution("excited"),
]


@pytest.mark.parametrize("nodes", [[convolution("swish")], SQUEEZED], ids=["plain", "squeezed"])
def test_convolutions_take_up_a_rounded_factor(nodes):
    """A sixth that was stored as fp16 is 0.02 % small; the convolutions behind say so exactly."""
    before = behind(*nodes)
    found, kinds, after = fused(before)
    assert found == 1
    assert "Clip" not in kinds
    x = np.random.default_rng(2).uniform(-6, 6, (1, 2, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(run(after, x), run(before, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("Relu", ["swish"], ["y"])],
        [helper.make_node("Mul", ["swish", "swish"], ["both"]), convolution("both")],
        [
            helper.make_node("GlobalAveragePool", ["swish"], ["mean"]),
            helper.make_node("Mul", ["swish", "mean"], ["both"]),
            convolution("both"),
        ],
        [convolution("swish", "seen"), helper.make_node("Add", ["swish", "seen"], ["y"])],
        [
            helper.make_node("Conv", ["swish", "y_weights"], ["first"]),
            helper.make_node("Conv", ["first", "y_weights"], ["y"]),
        ],
    ],
    ids=["another reader", "its square", "its square, averaged", "a sum", "shared weights"],
)
def test_a_rounded_factor_that_nobody_can_take_up_stays(nodes):
    """Where the difference would be lost or counted twice, nothing is changed."""
    before = behind(*nodes)
    found, kinds, after = fused(before)
    assert found == 0
    assert kinds == [node.op_type for node in before.graph.node]
    x = np.random.default_rng(2).uniform(-6, 6, (1, 2, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(run(after, x), run(before, x))


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        (hard_swish(), {"sixth": 0.2}),
        (hard_swish(), {"zero": -1.0}),
        (hard_swish(), {"sixth": -1 / 6}),
        (hard_sigmoid(), {"six": 5.0}),
        ([helper.make_node("Mul", ["x", "x"], ["y"])], {}),
        (
            [
                helper.make_node("Add", ["x", "three"], ["sum"]),
                helper.make_node("Clip", ["sum", "zero", "six"], ["gate"]),
                helper.make_node("Neg", ["x"], ["other"]),
                helper.make_node("Mul", ["other", "sixth"], ["part"]),
                helper.make_node("Mul", ["part", "gate"], ["y"]),
            ],
            {},
        ),
    ],
)
def test_another_meaning_is_left_alone(nodes, constants):
    """Another scale, limit or operand is not a hard sigmoid."""
    before = model(nodes, **constants)
    found, kinds, _ = fused(before)
    assert found == 0
    assert kinds == [node.op_type for node in before.graph.node]


def test_an_inner_value_that_others_use_stays():
    """Who else reads the clipped value still gets it."""
    nodes = [*hard_sigmoid()[:2], helper.make_node("Mul", ["gate", "sixth"], ["scaled"])]
    nodes.append(helper.make_node("Sub", ["scaled", "gate"], ["y"]))
    before = model(nodes)
    found, kinds, after = fused(before)
    assert found == 1
    assert sorted(kinds) == ["Add", "Clip", "HardSigmoid", "Sub"]
    onnx.checker.check_model(after)
    x = np.linspace(-8, 8, 33, dtype=np.float32)
    np.testing.assert_allclose(run(after, x), run(before, x), rtol=1e-5, atol=1e-5)
