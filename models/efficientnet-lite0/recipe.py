"""EfficientNet-Lite0: the network of the published weights, written as ONNX.

The weights come without their graph, so it is built here (Tan and Le, "EfficientNet"; the Lite
variant has no squeeze-and-excitation, and ReLU6 for Swish): a convolution of stride 2, sixteen
inverted bottlenecks, a convolution to 1,280 planes, their means, one layer to 1,000 logits. Each
batch normalization becomes part of the convolution before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from appliance.catalog.card import CARD_FILE, read_card
from appliance.catalog.pytorch import Array, read_weights
from appliance.errors import ModelError

FILE: Final = "efficientnet-lite0.pth"
OPSET: Final = 17
IR_VERSION: Final = 9
EPSILON: Final = 1e-3  # of the batch normalizations
STRIDES: Final = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)  # of the bottlenecks
MULTIPLE: Final = 32  # the input's sides are halved five times
CLASSES: Final = 1000


def convert(files: Mapping[str, Path], destination: Path) -> None:
    """Write the ONNX model for the card's input size; the same files give the same bytes.

    Args:
        files: "efficientnet-lite0.pth", PyTorch's weights.
        destination: the .onnx file to write.

    Raises:
        ModelError: the size does not suit the network, or the weights are not its own.
    """
    size_wh = read_card(Path(__file__).with_name(CARD_FILE)).input.size_wh
    if any(side % MULTIPLE for side in size_wh):
        raise ModelError(
            f"input.size_wh: expected multiples of {MULTIPLE}, got {list(size_wh)}",
            hint="choose 224 in the model's card",
        )
    network = _Network(read_weights(files[FILE]))
    model = network.written(size_wh)
    onnx.checker.check_model(model, full_check=True)
    destination.write_bytes(model.SerializeToString(deterministic=True))


@dataclass(slots=True)
class _Network:
    """The graph under construction; values are named by the layer that makes them."""

    weights: Mapping[str, Array]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    kept: list[onnx.TensorProto] = field(default_factory=list)

    def written(self, size_wh: tuple[int, int]) -> onnx.ModelProto:
        """The whole model, `images` (1, 3, h, w) to `logits` (1, 1000)."""
        self._keep("zero", np.float32(0))
        self._keep("six", np.float32(6))
        value = self._relu6(self._convolved("images", "_conv_stem", "_bn0", stride=2))
        for number, stride in enumerate(STRIDES):
            value = self._bottleneck(value, f"_blocks.{number}.", stride)
        value = self._relu6(self._convolved(value, "_conv_head", "_bn1"))
        value = self._node("GlobalAveragePool", [value], "means")
        value = self._node("Flatten", [value], "features")
        layer = [self._keep(name, self._weight(name)) for name in ("_fc.weight", "_fc.bias")]
        self._node("Gemm", [value, *layer], "logits", transB=1)
        width, height = size_wh
        graph = helper.make_graph(
            self.nodes,
            "efficientnet-lite0",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, (1, 3, height, width))],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, CLASSES))],
            self.kept,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)

    def _bottleneck(self, source: str, at: str, stride: int) -> str:
        """Wider, filtered, narrower; and the source on top where both are of one shape."""
        value, inputs = source, len(self._weight(f"{at}_depthwise_conv.weight"))
        if f"{at}_expand_conv.weight" in self.weights:
            value = self._relu6(self._convolved(value, f"{at}_expand_conv", f"{at}_bn0"))
            inputs = self._weight(f"{at}_expand_conv.weight").shape[1]
        inner = self._convolved(value, f"{at}_depthwise_conv", f"{at}_bn1", stride=stride)
        narrow = self._convolved(self._relu6(inner), f"{at}_project_conv", f"{at}_bn2")
        if stride > 1 or inputs != len(self._weight(f"{at}_project_conv.weight")):
            return narrow
        return self._node("Add", [narrow, source], f"{at}sum")

    def _convolved(self, source: str, layer: str, norm: str, *, stride: int = 1) -> str:
        """A convolution without a bias, and the batch normalization behind it, as one."""
        kernel = self._weight(f"{layer}.weight")
        gamma, beta, mean, variance = (
            self._weight(f"{norm}.{name}").astype(np.float64)
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        factor = gamma / np.sqrt(variance + EPSILON)
        side = kernel.shape[2]
        # TensorFlow's SAME on an even side: as little as it takes, the odd pixel right and below.
        total = side - stride
        before, after = total // 2, total - total // 2
        folded = self._keep(f"{layer}.weight", kernel * factor[:, None, None, None])
        bias = self._keep(f"{layer}.bias", beta - mean * factor)
        return self._node(
            "Conv",
            [source, folded, bias],
            layer,
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=len(kernel) if kernel.shape[1] == 1 else 1,
        )

    def _relu6(self, value: str) -> str:
        return self._node("Clip", [value, "zero", "six"], f"{value}.relu6")

    def _weight(self, name: str) -> Array:
        if name not in self.weights:
            raise ModelError(
                f"{FILE}: expected {name}, got weights without", hint="pull the model again"
            )
        return self.weights[name]

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def _keep(self, name: str, array: Array | np.float32) -> str:
        self.kept.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
        return name
