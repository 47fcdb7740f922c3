"""TensorFlow's padding in ONNX's terms."""

from collections.abc import Sequence

from appliance.catalog.tfjs.reader import Node


def padding(
    node: Node, size_hw: Sequence[int], kernel_hw: Sequence[int]
) -> tuple[list[int], tuple[int, int]]:
    """ONNX pads [top, left, bottom, right] and the output's (height, width).

    TensorFlow's SAME pads as little as gives ceil(size / stride) outputs, and puts the
    odd pixel below and right: with stride 2 on an even side that is one sided padding.

    Raises:
        ModelError: the node pads in another way.
    """
    mode = node.text("padding", "")
    if mode not in {"SAME", "VALID"}:
        node.expect("padding", expected="SAME or VALID", actual=mode)
    before, after, result = [], [], []
    steps = zip(node.spatial("strides"), node.spatial("dilations"), strict=True)
    for size, kernel, (stride, dilation) in zip(size_hw, kernel_hw, steps, strict=True):
        reach = (kernel - 1) * dilation + 1
        count = -(-size // stride) if mode == "SAME" else (size - reach) // stride + 1
        total = max((count - 1) * stride + reach - size, 0) if mode == "SAME" else 0
        before.append(total // 2)
        after.append(total - total // 2)
        result.append(count)
    return [*before, *after], (result[0], result[1])
