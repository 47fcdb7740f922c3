"""What TensorRT's parser makes of an ONNX file."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.runtimes.tensorrt import library, listener
from appliance.runtimes.tensorrt.building import network_flags


@dataclass(frozen=True, slots=True)
class Network:
    """A parsed network.

    Attributes:
        products: convolutions and matrix products by the type that they read, as {"HALF": 70};
            "INT8" where both data and weights come out of Q/DQ.
        tensors: inputs and outputs by name: type and shape, as ("FLOAT", (1, 20, 4)).
        types: of every layer's first output, by the layer's name.
    """

    products: Mapping[str, int]
    tensors: Mapping[str, tuple[str, tuple[int, ...]]]
    types: Mapping[str, str]


def inspect_network(name: str, path: Path) -> Network:
    """Parse `path` with the library `name`."""
    trt = library(name)
    network = trt.Builder(listener(trt)).create_network(network_flags(trt))
    parser = trt.OnnxParser(network, listener(trt))
    assert parser.parse_from_file(str(path)), listener(trt).take()
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    kinds = {trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION, trt.LayerType.MATRIX_MULTIPLY}
    dequantizing = [each for each in layers if each.type == trt.LayerType.DEQUANTIZE]
    restored = {each.get_output(0).name for each in dequantizing}
    ends: list[Any] = [network.get_input(index) for index in range(network.num_inputs)]
    ends += [network.get_output(index) for index in range(network.num_outputs)]
    return Network(
        Counter(_numbers(each, restored) for each in layers if each.type in kinds),
        {each.name: (each.dtype.name, tuple(each.shape)) for each in ends},
        {each.name: each.get_output(0).dtype.name for each in layers},
    )


def _numbers(product: Any, restored: set[str]) -> str:
    data = product.get_input(0)
    both = product.num_inputs > 1 and {data.name, product.get_input(1).name} <= restored
    return "INT8" if both else data.dtype.name
