"""What a foreign graph must be before it is rewritten: plain operators, and the card's input.

What would be refused later by a runtime, in its own words and after a whole build, is refused here
in a sentence: with the operator, the axis, or the key of the card that helps.
"""

from collections.abc import Sequence

import onnx
from onnx import inliner

from appliance.errors import ModelError

OWN_DOMAINS = ("", "ai.onnx")
# ONNX Runtime brings these; a backend without one of their operators refuses it by its name.
RUNTIME_DOMAINS = ("com.microsoft", "ai.onnx.ml")


def inlined(proto: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with each call of a function that it defines replaced by the function's nodes.

    Raises:
        ModelError: they cannot be, as where a function calls itself.
    """
    if not proto.functions:
        return proto
    try:
        return inliner.inline_local_functions(proto, convert_version=True)
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"{name}: its functions cannot be written out: {_first_line(error)}",
            hint="Export the model again without functions (in PyTorch: dynamo=False).",
        ) from error


def check_operators(proto: onnx.ModelProto, name: str) -> None:
    """Refuse operators that nothing here knows.

    Raises:
        ModelError: names them.
    """
    opsets = {opset.domain: opset.version for opset in proto.opset_import}
    version = max((opsets.get(domain, 0) for domain in OWN_DOMAINS), default=0)
    unknown = {
        f"{node.domain}.{node.op_type}".lstrip(".")
        for node in proto.graph.node
        if node.domain not in RUNTIME_DOMAINS
        if node.domain not in OWN_DOMAINS or not onnx.defs.has(node.op_type, version)
    }
    if unknown:
        raise ModelError(
            f"{name}: operators that no runtime here knows: {', '.join(sorted(unknown))}",
            hint="Export the model with ONNX's own operators alone; the exporter may have a switch "
            "for it.",
        )


def fix_shape(image: onnx.ValueInfoProto, shape: Sequence[int], name: str) -> None:
    """Give the image input the card's size.

    Raises:
        ModelError: the file declares another one; says which axis, and what helps.
    """
    tensor = image.type.tensor_type
    if not tensor.HasField("shape"):  # the file leaves even the number of axes open
        tensor.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in shape)
    dims = tensor.shape.dim
    declared = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in dims]
    told = [dim.dim_value or dim.dim_param or "?" for dim in dims]
    if not _fits(declared, shape):
        raise ModelError(
            f"{name}: input is {told}, the card says {list(shape)}",
            hint=_way_out(declared, shape),
        )
    for dim, size in zip(dims, shape, strict=True):
        dim.dim_value = size


def _fits(declared: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether the sizes that are declared are those of the card; 0 and -1 declare nothing."""
    return len(declared) == len(shape) and all(
        size in {wanted, 0, -1} for size, wanted in zip(declared, shape, strict=True)
    )


def _way_out(declared: Sequence[int], shape: Sequence[int]) -> str:
    """What helps where the file's input is not what the card says."""
    if len(declared) != len(shape):
        return (
            "Bring a model whose image input has 4 dimensions: pictures, channels, height, width."
        )
    channels_last = shape[3] == 3 and shape[1] != 3
    channels = 3 if channels_last else 1
    if declared[0] > 1:
        return (
            f"The model takes {declared[0]} pictures at once, the appliance gives it one: export "
            "it with a batch size of 1, or with a free first axis."
        )
    other = 1 if channels_last else 3
    if declared[other] == 3 and declared[channels] != 3:
        layout = "nchw" if channels_last else "nhwc"
        return f'Set input.layout = "{layout}" in model.toml, and check input.size_wh.'
    if declared[channels] not in {3, 0, -1}:
        return (
            f"The appliance gives a model 3 channels, and this one takes {declared[channels]}: "
            "bring a model for color pictures."
        )
    height, width = [size for axis, size in enumerate(declared) if axis not in {0, channels}]
    return f"Set input.size_wh = [{width}, {height}] in model.toml."


def check_convolutions(proto: onnx.ModelProto, name: str) -> None:
    """Refuse what shape inference lets pass: convolutions that get other channels than they take.

    Raises:
        ModelError: the first of them, as where the card says the wrong layout.
    """
    graph = proto.graph
    channels = {
        value.name: value.type.tensor_type.shape.dim[1].dim_value
        for value in (*graph.input, *graph.value_info)
        if len(value.type.tensor_type.shape.dim) > 2
    }
    kernels = {tensor.name: tensor.dims for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "Conv" or node.input[1] not in kernels:
            continue
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        taken, given = kernels[node.input[1]][1] * groups, channels.get(node.input[0], 0)
        if given and given != taken:
            raise ModelError(
                f"{name}: the convolution {node.name or node.output[0]} takes {taken} channels and "
                f"gets {given}",
                hint="Correct input.layout in model.toml: nhwc where the channels come last.",
            )


def check_sizes(proto: onnx.ModelProto, name: str) -> None:
    """Refuse a runtime's own operators where the file does not say what size they put out.

    Raises:
        ModelError: names them; behind them no size is known, and no head fits.
    """
    known = {value.name for value in proto.graph.value_info if value.type.tensor_type.shape.dim}
    unknown = {
        f"{node.domain}.{node.op_type}"
        for node in proto.graph.node
        if node.domain in RUNTIME_DOMAINS and known.isdisjoint(node.output)
    }
    if unknown:
        raise ModelError(
            f"{name}: operators whose output has no known size: {', '.join(sorted(unknown))}",
            hint="Export the model again, without ONNX Runtime's own optimizations.",
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
