"""Rewrites a foreign ONNX model into the canonical one: uint8 BGR frames in, typed tensors out.

Everything a foreign model wants done to its input (layout, channel order, scale, mean) becomes
part of the graph, and so does the head. The running process then knows one contract per task.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from appliance.catalog.card import Card
from appliance.errors import ModelError
from appliance.optimizer import graph as surgery
from appliance.optimizer.graph import Builder
from appliance.optimizer.heads import Head
from appliance.optimizer.simplify import fuse_hard_sigmoids
from appliance.values import ModelContract, TensorSpec

INPUT = "frames"
_DTYPES = {ir.DataType.FLOAT: "float32", ir.DataType.INT32: "int32"}


@dataclass(frozen=True, slots=True)
class Canonical:
    """A canonical model on disk.

    Attributes:
        path: the ONNX file.
        contract: its input and outputs.
    """

    path: Path
    contract: ModelContract


def canonicalize(foreign: Path, card: Card, head: Head, into: Path) -> Canonical:
    """Write the canonical model of `foreign` to `into`.

    Raises:
        ModelError: the graph does not fit the card or the head.
    """
    width, height = card.input.size_wh
    nhwc = card.input.layout == "nhwc"
    model = surgery.load(foreign, (1, height, width, 3) if nhwc else (1, 3, height, width))
    outputs = head.build(model, card)
    _prepend_input(model, card)
    fuse_hard_sigmoids(model)
    surgery.set_outputs(model, outputs)
    surgery.finish(model, into)
    return Canonical(into, _contract(into, head))


def _prepend_input(model: ir.Model, card: Card) -> None:
    """Put `frames` uint8 (1, H, W, 3) BGR in front of the foreign image input."""
    foreign = _image_input(model)
    width, height = card.input.size_wh
    frames = ir.val(INPUT, dtype=ir.DataType.UINT8, shape=[1, height, width, 3])
    build = Builder(model.graph, "input")
    value = build.op("Cast", frames, to=int(ir.DataType.FLOAT))
    if card.input.layout == "nchw":
        value = build.op("Transpose", value, perm=[0, 3, 1, 2])
    swapped_later = card.input.channels == "rgb" and _swap_in_first_convolution(foreign)
    if card.input.channels == "rgb" and not swapped_later:
        axis = 3 if card.input.layout == "nhwc" else 1
        order = build.constant(np.array([2, 1, 0], np.int64))
        value = build.op("Gather", value, order, axis=axis)
    value = _normalize(build, value, card, bgr=swapped_later)
    foreign.replace_all_uses_with(value)
    model.graph.inputs.remove(foreign)
    model.graph.inputs.insert(0, frames)


def _image_input(model: ir.Model) -> ir.Value:
    """The only input that is not an initializer, float32.

    Raises:
        ModelError: there are more, or it has another type.
    """
    inputs = [v for v in model.graph.inputs if v.name not in model.graph.initializers]
    if len(inputs) != 1:
        names = [value.name for value in inputs]
        raise ModelError(
            f"expected one image input, got {names}",
            hint="Export the model with the image as its only input.",
        )
    if inputs[0].dtype != ir.DataType.FLOAT:
        raise ModelError(
            f"{inputs[0].name}: expected float32, got {inputs[0].dtype}",
            hint="Export the model in single precision; the appliance lowers it itself.",
        )
    return inputs[0]


def _normalize(build: Builder, value: ir.Value, card: Card, *, bgr: bool) -> ir.Value:
    """(x - mean) / std per channel; nothing where it is nothing.

    `bgr`: the channels still stand in the frame's order, the card's figures in the model's.
    """
    shape = (1, 1, 1, 3) if card.input.layout == "nhwc" else (1, 3, 1, 1)
    mean, std = (
        np.array(figures[::-1] if bgr else figures, np.float32).reshape(shape)
        for figures in (card.input.mean, card.input.std)
    )
    if mean.any():
        value = build.op("Sub", value, build.constant(mean))
    if (std != 1).any():
        value = build.op("Mul", value, build.constant((1 / std).astype(np.float32)))
    return value


def _swap_in_first_convolution(image: ir.Value) -> bool:
    """Reorder the first convolution's weights instead of the picture's channels.

    Exact, and free at run time. Only where the image goes into one convolution, at most through a
    Transpose; anything else is left alone and answers False.
    """
    node = _only_user(image)
    if node is not None and node.op_type == "Transpose":
        node = _only_user(node.outputs[0])
    if node is None or node.op_type != "Conv" or node.attributes.get_int("group", 1) != 1:
        return False
    weights = node.inputs[1]
    if weights is None or weights.const_value is None or len(weights.uses()) != 1:
        return False
    swapped = np.ascontiguousarray(weights.const_value.numpy()[:, ::-1])
    weights.const_value = ir.tensor(swapped, name=weights.name)
    return True


def _only_user(value: ir.Value) -> ir.Node | None:
    users = list(value.uses())
    return users[0].node if len(users) == 1 else None


def _contract(path: Path, head: Head) -> ModelContract:
    """Read the contract back from the file that was written."""
    graph = ir.load(path).graph
    if len(graph.inputs) != 1:
        raise ModelError(f"canonical graph: expected one input, got {len(graph.inputs)}")
    shape = surgery.static_shape(graph.inputs[0])
    outputs = []
    for value in graph.outputs:
        dtype = _DTYPES.get(value.dtype) if value.dtype is not None else None
        if dtype is None or value.name is None:
            raise ModelError(f"canonical output {value.name}: {value.dtype} is not in the contract")
        outputs.append(TensorSpec(value.name, surgery.static_shape(value), dtype))
    return ModelContract(head.task, TensorSpec(INPUT, shape, "uint8"), tuple(outputs))
