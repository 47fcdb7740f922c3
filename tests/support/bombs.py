"""Models that were made to keep a build busy for ever, or to take all memory."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.support.models import bright_spots

HUGE = 1 << 40


def _with(
    nodes: list[onnx.NodeProto], weights: Mapping[str, np.ndarray], last: str
) -> onnx.ModelProto:
    """The tiny detector, in whose middle stands what `last` says: times nothing, and added."""
    model = bright_spots()
    own = list(model.graph.node)
    place = next(index for index, node in enumerate(own) if node.output[0] == "lit")
    own[place].output[0] = "honest_lit"
    bomb = [
        *nodes,
        helper.make_node("Mul", [last, "none"], ["nothing"]),
        helper.make_node("Add", ["honest_lit", "nothing"], ["lit"]),
    ]
    del model.graph.node[:]
    model.graph.node.extend([*own[: place + 1], *bomb, *own[place + 1 :]])
    arrays = {"none": np.array(0, np.float32), **weights}
    tensors = [numpy_helper.from_array(each, name) for name, each in arrays.items()]
    model.graph.initializer.extend(tensors)
    return model


def huge_constant() -> onnx.ModelProto:
    """Terabytes of zeros, told in eight bytes."""
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
    ]
    return _with(nodes, {"size": np.array([HUGE], np.int64)}, "sum")


def huge_by_picture() -> onnx.ModelProto:
    """The same, but known only when a picture is there: no folding finds it."""
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["level"], keepdims=0),
        helper.make_node("Cast", ["level"], ["level_i"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["level_i", "one_axis"], ["level_1"]),
        helper.make_node("Add", ["level_1", "size"], ["size_now"]),
        helper.make_node("ConstantOfShape", ["size_now"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
    ]
    sizes = {"size": np.array([HUGE], np.int64), "one_axis": np.array([1], np.int64)}
    return _with(nodes, sizes, "sum")


def endless_loop() -> onnx.ModelProto:
    """A million million turns."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["goes_on"]),
            helper.make_node("Add", ["count", "count"], ["more"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("count", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("more", TensorProto.FLOAT, []),
        ],
    )
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["level"], keepdims=0),
        helper.make_node("Loop", ["turns", "", "level"], ["counted"], body=body),
        helper.make_node("Reshape", ["counted", "one_axis"], ["count_1"]),
    ]
    sizes = {"turns": np.array(HUGE, np.int64), "one_axis": np.array([1], np.int64)}
    return _with(nodes, sizes, "count_1")


def nested_ifs(depth: int = 15) -> onnx.ModelProto:
    """Two branches in each of two branches: 2^15 graphs."""

    def branch(level: int, name: str) -> onnx.GraphProto:
        out = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [])]
        if level == 0:
            one = helper.make_node("Identity", ["none"], [name])
            return helper.make_graph([one], name, [], out)
        inner = helper.make_node(
            "If", ["is_bright"], [name],
            then_branch=branch(level - 1, f"{name}t"), else_branch=branch(level - 1, f"{name}e"),
        )  # fmt: skip
        return helper.make_graph([inner], name, [], out)

    nodes = [
        helper.make_node("ReduceMax", ["images"], ["level"], keepdims=0),
        helper.make_node("Greater", ["level", "none"], ["is_bright"]),
        helper.make_node(
            "If", ["is_bright"], ["chosen"],
            then_branch=branch(depth - 1, "t"), else_branch=branch(depth - 1, "e"),
        ),
    ]  # fmt: skip
    return _with(nodes, {}, "chosen")


def huge_names() -> onnx.ModelProto:
    """Names of nodes and values of megabytes each."""
    nodes, last = [], "none"
    for index in range(20):
        name = f"{index}" + "x" * 1_000_000
        nodes.append(helper.make_node("Identity", [last], [name], name=name))
        last = name
    return _with(nodes, {}, last)


def many_tiny_nodes(count: int = 20_000_000) -> bytes:
    """40 MB of empty nodes, which are gigabytes once they are read."""
    return in_graph(_field(1) * count)


def crowds(count: int = 300_000) -> Mapping[str, bytes]:
    """Files with so many of a thing that takes two bytes there, or one."""

    def attribute(inner: bytes) -> bytes:
        return in_graph(_field(1, _field(5, inner)))

    return {
        "nodes": many_tiny_nodes(count),
        "attributes": in_graph(_field(1, _field(5) * count)),
        "graphs of an attribute": attribute(_field(11) * count),
        "tensors of an attribute": attribute(_field(10) * count),
        "numbers of an attribute": attribute(_field(8, b"\1" * count * 4)),
        "tensors": in_graph(_field(5) * count),
        "sizes of a tensor": in_graph(_field(5, _field(1, b"\1" * count * 4))),
        "numbers of a tensor": in_graph(_field(5, _field(5, b"\1" * count * 4))),
        "nodes for training": in_graph(b"") + _field(20, _field(1, _field(1) * count)),
        "functions": in_graph(b"") + _field(25) * count,
        "attributes of a function": in_graph(b"") + _field(25, _field(11) * count),
    }


def in_graph(inner: bytes) -> bytes:
    """A file with this graph."""
    return b"\x08\x08" + _field(7, inner)


def _field(number: int, inner: bytes = b"") -> bytes:
    """A field of protobuf that holds something."""
    return _varint(number << 3 | 2) + _varint(len(inner)) + inner


def _varint(value: int) -> bytes:
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def outside_weights(location: str) -> onnx.ModelProto:
    """Whose first weights lie where the file says."""
    model = bright_spots()
    tensor = model.graph.initializer[0]
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)
    return model


def write(path: Path, made: onnx.ModelProto | bytes) -> None:
    """As a model's file."""
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())


BOMBS: Mapping[str, Callable[[], onnx.ModelProto | bytes]] = {
    "a constant of terabytes": huge_constant,
    "terabytes by the picture": huge_by_picture,
    "a loop without an end": endless_loop,
    "32768 graphs in each other": nested_ifs,
    "names of megabytes": huge_names,
    "millions of tiny nodes": many_tiny_nodes,
    "weights in a device": lambda: outside_weights("zero"),
    "weights elsewhere": lambda: outside_weights("../../../../etc/passwd"),
}
