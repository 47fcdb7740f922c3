"""Writes a TF.js graph model as ONNX, with numpy and onnx alone.

TensorFlow keeps feature maps as NHWC, ONNX as NCHW. Everything between the input and the
outputs stays NCHW, so the graph has one Transpose behind the input and one before each
output, and none between convolutions. Padding, resizing and half-precision weights follow
TensorFlow to the letter.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from appliance.catalog.tfjs.padding import padding
from appliance.catalog.tfjs.reader import HINT, Array, Json, Node, needed, read_weights
from appliance.errors import ModelError

OPSET: Final = 17
IR_VERSION: Final = 8  # goes with opset 17


def build(
    document: Json, weights: bytes, size_wh: tuple[int, int], outputs: Mapping[str, str]
) -> onnx.ModelProto:
    """The ONNX model of a TF.js graph model.

    Args:
        document: the parsed model.json.
        weights: the weight file's bytes.
        size_wh: the input's size in pixels; upsampling targets scale with it.
        outputs: ONNX output name to TF node name.

    Raises:
        ModelError: an operator, attribute or weight type is unknown, or a node is missing.
    """
    nodes = {entry["name"]: Node.read(entry) for entry in document["modelTopology"]["node"]}
    used = needed(nodes, outputs.values())
    constants = read_weights(document["weightsManifest"], weights)
    consumers = Counter([name for node in used for name in node.inputs] + [*outputs.values()])
    converter = Converter(constants, size_wh, consumers)
    for node in used:
        converter.take(node)
    model = converter.finish(outputs)
    onnx.checker.check_model(model, full_check=True)
    return model


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """A tensor of the ONNX graph: its name and NCHW shape."""

    name: str
    shape: tuple[int, int, int, int]


class Converter:
    """Turns nodes, given in topological order, into one NCHW ONNX graph.

    Args:
        constants: every constant by its node's name.
        size_wh: the input's size in pixels.
        consumers: how many nodes and outputs read each node.
    """

    def __init__(
        self, constants: Mapping[str, Array], size_wh: tuple[int, int], consumers: Counter[str]
    ) -> None:
        self._constants = dict(constants)
        self._size_wh = size_wh
        self._consumers = consumers
        self._maps: dict[str, FeatureMap] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, NDArray[np.float32]] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._resize = (1.0, 1.0)  # height and width of this input by the exported one's
        self._rules: Mapping[str, Callable[[Node], FeatureMap]] = {
            "Placeholder": self._placeholder,
            "Identity": lambda node: self._map(node.inputs[0]),
            "Conv2D": self._conv,
            "_FusedConv2D": self._conv,
            "DepthwiseConv2dNative": self._conv,
            "FusedDepthwiseConv2dNative": self._conv,
            "Relu": self._activation,
            "Relu6": self._activation,
            "Sigmoid": self._activation,
            "Add": self._binary,
            "AddV2": self._binary,
            "Mul": self._binary,
            "Mean": self._mean,
            "ResizeBilinear": self._upsample,
            "ConcatV2": self._concat,
        }

    def take(self, node: Node) -> None:
        """Convert one node; its inputs were taken before.

        Raises:
            ModelError: the operator, or how it is used, is unknown.
        """
        if node.op == "Const":
            return
        if node.op not in self._rules:
            raise ModelError(f"{node.name}: unknown operator {node.op}", hint=HINT)
        self._maps[node.name] = self._rules[node.op](node)

    def finish(self, outputs: Mapping[str, str]) -> onnx.ModelProto:
        """The model, with each output back in NHWC under its short name."""
        infos = []
        for name, source in outputs.items():
            n, c, h, w = self._map(source).shape
            self._emit("Transpose", [self._map(source).name], name, perm=[0, 2, 3, 1])
            infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [n, h, w, c]))
        weights = [numpy_helper.from_array(a, name) for name, a in self._initializers.items()]
        graph = helper.make_graph(self._nodes, "tfjs", self._inputs, infos, weights)
        return helper.make_model(
            graph,
            producer_name="vision-appliance",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )

    def _emit(
        self, op: str, inputs: Sequence[str], output: str, **attributes: int | str | Sequence[int]
    ) -> str:
        node = helper.make_node(op, inputs, [output], name=output)
        node.attribute.extend(helper.make_attribute(k, v) for k, v in sorted(attributes.items()))
        self._nodes.append(node)
        return output

    def _map(self, name: str) -> FeatureMap:
        if name not in self._maps:
            raise ModelError(f"{name}: expected a feature map, got a constant", hint=HINT)
        return self._maps[name]

    def _constant(self, name: str) -> Array:
        if name not in self._constants:
            raise ModelError(f"{name}: expected a constant, got a feature map", hint=HINT)
        return self._constants[name]

    def _keep(self, name: str, array: Array) -> str:
        self._initializers[name] = np.ascontiguousarray(array, np.float32)
        return name

    def _placeholder(self, node: Node) -> FeatureMap:
        sizes = [int(d["size"]) for d in node.attributes["shape"]["shape"]["dim"]]
        node.expect("fixed RGB input", expected=True, actual=min(sizes) > 0 and sizes[3] == 3)
        width, height = self._size_wh
        self._resize = (height / sizes[1], width / sizes[2])
        name = node.name.rsplit("/", 1)[-1]
        shape = [1, height, width, 3]
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        output = self._emit("Transpose", [name], f"{node.name}/nchw", perm=[0, 3, 1, 2])
        return FeatureMap(output, (1, 3, height, width))

    def _conv(self, node: Node) -> FeatureMap:
        node.expect("data_format", expected="NHWC", actual=node.text("data_format", "NHWC"))
        source, kernel = self._map(node.inputs[0]), self._constant(node.inputs[1])
        depthwise = "Depthwise" in node.op
        if depthwise:  # (h, w, channels, multiplier)
            weights = kernel.transpose(2, 3, 0, 1).reshape(-1, 1, *kernel.shape[:2])
        else:  # (h, w, in, out)
            weights = kernel.transpose(3, 2, 0, 1)
        strides, dilations = node.spatial("strides"), node.spatial("dilations")
        pads, size_hw = padding(node, source.shape[2:], kernel.shape[:2])
        inputs = [source.name, self._keep(f"{node.name}/weights", weights)]
        fused = node.texts("fused_ops")
        if fused and fused[0] == "BiasAdd":
            fused.pop(0)
            inputs.append(self._keep(f"{node.name}/bias", self._constant(node.inputs[2])))
        output = self._emit(
            "Conv",
            inputs,
            node.name,
            group=source.shape[1] if depthwise else 1,
            kernel_shape=kernel.shape[:2],
            strides=strides,
            dilations=dilations,
            pads=pads,
        )
        for activation in fused:
            output = self._activate(activation, output, f"{output}/{activation}")
        return FeatureMap(output, (1, weights.shape[0], *size_hw))

    def _activation(self, node: Node) -> FeatureMap:
        source = self._map(node.inputs[0])
        return FeatureMap(self._activate(node.op, source.name, node.name), source.shape)

    def _activate(self, kind: str, source: str, output: str) -> str:
        if kind in {"Relu", "Sigmoid"}:
            return self._emit(kind, [source], output)
        if kind == "Relu6":
            limits = [
                self._keep("relu6/min", np.array(0)),
                self._keep("relu6/max", np.array(6)),
            ]
            return self._emit("Clip", [source, *limits], output)
        raise ModelError(f"{output}: unknown activation {kind}", hint=HINT)

    def _binary(self, node: Node) -> FeatureMap:
        op = "Mul" if node.op == "Mul" else "Add"
        scalars = [self._constants[name] for name in node.inputs if name in self._constants]
        if not scalars:
            left, right = (self._map(name) for name in node.inputs)
            n, c, h, w = np.broadcast_shapes(left.shape, right.shape)
            return FeatureMap(self._emit(op, [left.name, right.name], node.name), (n, c, h, w))
        node.expect("constant's size", expected=1, actual=scalars[0].size)
        name = next((name for name in node.inputs if name not in self._constants), node.inputs[0])
        source = self._map(name)
        if op == "Mul" and self._scale_conv(name, scalars[0]):
            return source
        constant = self._keep(f"{node.name}/constant", scalars[0].reshape(()))
        return FeatureMap(self._emit(op, [source.name, constant], node.name), source.shape)

    def _scale_conv(self, tf_name: str, factor: Array) -> bool:
        """Multiply a Conv's own weights by `factor` where nobody else reads its output."""
        producer = next((node for node in self._nodes if node.output[0] == tf_name), None)
        if producer is None or producer.op_type != "Conv" or self._consumers[tf_name] != 1:
            return False
        for parameter in producer.input[1:]:
            self._keep(parameter, self._initializers[parameter] * factor.reshape(()))
        return True

    def _mean(self, node: Node) -> FeatureMap:
        axes = sorted(int(axis) % 4 for axis in self._constant(node.inputs[1]).reshape(-1))
        node.expect("axes", expected=[1, 2], actual=axes)
        node.expect("keep_dims", expected=True, actual=node.flag("keep_dims"))
        source = self._map(node.inputs[0])
        output = self._emit("GlobalAveragePool", [source.name], node.name)
        return FeatureMap(output, (1, source.shape[1], 1, 1))

    def _upsample(self, node: Node) -> FeatureMap:
        for key in ("align_corners", "half_pixel_centers"):
            node.expect(key, expected=False, actual=node.flag(key))
        source = self._map(node.inputs[0])
        target = self._constant(node.inputs[1]).reshape(-1) * np.array(self._resize)
        size_hw = int(target[0]), int(target[1])
        scales = np.array([1, 1, size_hw[0] / source.shape[2], size_hw[1] / source.shape[3]])
        output = self._emit(
            "Resize",
            [source.name, "", self._keep(f"{node.name}/scales", scales.astype(np.float32))],
            node.name,
            mode="linear",
            coordinate_transformation_mode="asymmetric",
        )
        return FeatureMap(output, (1, source.shape[1], *size_hw))

    def _concat(self, node: Node) -> FeatureMap:
        axis = int(self._constant(node.inputs[-1]).reshape(())) % 4
        node.expect("axis", expected=3, actual=axis)
        sources = [self._map(i) for i in node.inputs[:-1]]
        output = self._emit("Concat", [source.name for source in sources], node.name, axis=1)
        channels = sum(source.shape[1] for source in sources)
        return FeatureMap(output, (1, channels, *sources[0].shape[2:]))
