"""Rewrites a foreign ONNX model into the canonical one: uint8 BGR frames in, typed tensors out.

Everything a foreign model wants done to its input (layout, channel order, scale, mean) becomes
part of the graph, and so does the head. The running process then knows one contract per task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir

from appliance.catalog.card import Card
from appliance.catalog.inspection import TensorInfo, inspect_onnx
from appliance.errors import ModelError
from appliance.optimizer import graph as surgery
from appliance.optimizer import heads
from appliance.optimizer.feeding import feed_of
from appliance.optimizer.graph import Builder
from appliance.optimizer.heads import Head
from appliance.optimizer.simplify import fuse_hard_sigmoids
from appliance.registry import plugins
from appliance.values import ModelContract, TensorSpec

VERSION: Final = 1  # the form of the graph
INPUT = "frames"
TOLD_TASKS = {  # by Ultralytics' exporter, in its words
    "classify": "classification",
    "detect": "detection",
    "obb": "oriented_detection",
    "pose": "pose",
    "segment": "instance_segmentation",
}
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
    inspection = inspect_onnx(foreign)
    feed = feed_of(inspection.inputs, card)
    width, height = card.input.size_wh
    nhwc = card.input.layout == "nhwc"
    shape = (1, height, width, 3) if nhwc else (1, 3, height, width)
    model = surgery.load(inspection, feed.image.name, shape, feed.extras)
    outputs = _append_head(model, card, head)
    _prepend_input(model, card, feed.image)
    fuse_hard_sigmoids(model)
    surgery.set_outputs(model, outputs)
    surgery.finish(model, into)
    return Canonical(into, _contract(into, head))


def _append_head(model: ir.Model, card: Card, head: Head) -> Mapping[str, ir.Value]:
    """Build the head; where it does not fit, say which one would.

    Raises:
        ModelError: the model does another task, or the outputs are not the head's.
    """
    told = model.metadata_props.get("task", "")
    if TOLD_TASKS.get(told, card.task) != card.task:
        raise ModelError(
            f"the file says of itself that its task is {told}, the card says {card.task}",
            hint=f"Bring a model that was trained for {card.task}, or correct the card's task.",
        )
    try:
        return head.build(model, card)
    except ModelError as error:
        others = plugins(heads, "HEAD", Head)
        fitting = [
            name
            for name, other in others.items()
            if other.task == card.task and name != head.name and other.match(model, card)
        ]
        if not fitting:
            raise
        names = " or ".join(f'head = "{name}"' for name in fitting)
        raise ModelError(str(error), hint=f"These outputs fit {names} in model.toml.") from error


def _prepend_input(model: ir.Model, card: Card, image: TensorInfo) -> None:
    """Put `frames` uint8 (1, H, W, 3) BGR in front of the foreign image input.

    The first thing is a Cast: engines take uint8 into nothing else.
    """
    foreign = next(value for value in model.graph.inputs if value.name == image.name)
    width, height = card.input.size_wh
    frames = ir.val(INPUT, dtype=ir.DataType.UINT8, shape=[1, height, width, 3])
    build = Builder(model.graph, "input")
    value = build.cast(frames, ir.DataType.FLOAT)
    if card.input.layout == "nchw":
        value = build.op("Transpose", value, perm=[0, 3, 1, 2])
    rgb = card.input.channels == "rgb"
    weights = _first_convolution(foreign)
    if weights is not None:
        _fold_into(weights, card, swap=rgb)
    elif rgb:
        axis = 3 if card.input.layout == "nhwc" else 1
        order = build.constant(np.array([2, 1, 0], np.int64))
        value = build.op("Gather", value, order, axis=axis)
    value = _normalize(build, value, card, folded=weights is not None)
    if foreign.dtype is not None and foreign.dtype != ir.DataType.FLOAT:
        value = build.cast(value, foreign.dtype)
    foreign.replace_all_uses_with(value)
    model.graph.inputs.remove(foreign)
    model.graph.inputs.insert(0, frames)


def _normalize(build: Builder, value: ir.Value, card: Card, *, folded: bool) -> ir.Value:
    """(x - mean) / std per channel; nothing where it is nothing.

    A mean stays even where the rest is folded: at the border, where the convolution pads with
    zeros, it would not be the same.

    Args:
        build: to append to.
        value: the picture in float.
        card: the figures, in the model's channel order.
        folded: the first convolution swaps and scales; the channels stand in the frame's order.
    """
    shape = (1, 1, 1, 3) if card.input.layout == "nhwc" else (1, 3, 1, 1)
    swapped = folded and card.input.channels == "rgb"
    mean, std = (
        np.array(figures[::-1] if swapped else figures, np.float32).reshape(shape)
        for figures in (card.input.mean, card.input.std)
    )
    if mean.any():
        value = build.op("Sub", value, build.constant(mean))
    if (std != 1).any() and not folded:
        value = build.op("Mul", value, build.constant((1 / std).astype(np.float32)))
    return value


def _first_convolution(image: ir.Value) -> ir.Value | None:
    """The weights of the convolution that the image goes into, where they may be changed.

    Only where the image goes into that one, at most through a Transpose, and in fp32: in half
    precision a scale of 1/255 would leave weights without digits.
    """
    node = _only_user(image)
    if node is not None and node.op_type == "Transpose":
        node = _only_user(node.outputs[0])
    if node is None or node.op_type != "Conv" or node.attributes.get_int("group", 1) != 1:
        return None
    weights = node.inputs[1]
    if weights is None or weights.const_value is None or len(weights.uses()) != 1:
        return None
    return weights if weights.const_value.dtype == ir.DataType.FLOAT else None


def _fold_into(weights: ir.Value, card: Card, *, swap: bool) -> None:
    """Scale and, where asked, reorder the input channels of weights (out, 3, h, w): free at run."""
    if weights.const_value is None:
        return
    std = np.array(card.input.std).reshape(1, 3, 1, 1)
    scaled = (weights.const_value.numpy() / std).astype(np.float32)
    folded = np.ascontiguousarray(scaled[:, ::-1] if swap else scaled)
    weights.const_value = ir.tensor(folded, name=weights.name)


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
