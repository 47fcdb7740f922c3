"""ONNX Runtime: the library, its sessions and its failures.

The library's telemetry is switched off by the environment before its import
(`appliance.settings.prepare_process`).
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from appliance.errors import EngineError
from appliance.values import ModelContract, Precision

MULTIPLIES = {
    "Conv",
    "ConvTranspose",
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "Gemm",
    "MatMul",
    "NhwcFusedConv",  # in half precision, on processors that have it
}
MULTIPLIES_INT8 = {
    "ConvInteger",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "QGemm",
    "QLinearConv",
    "QLinearMatMul",
}
PREAMBLE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed:)?")
_NUMBERS: Mapping[int, Precision] = {
    onnx.TensorProto.FLOAT: Precision.FP32,
    onnx.TensorProto.FLOAT16: Precision.FP16,
}
_TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)", "int32": "tensor(int32)"}


def library() -> Any:  # noqa: ANN401 - the library ships no types
    """The library.

    Raises:
        EngineError: it is not installed.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - heavy, and absent on boxes with another backend
    except ImportError as error:
        raise EngineError(
            "ONNX Runtime is not installed", hint="Install one extra: cpu, cuda, rtx or jetson."
        ) from error
    return onnxruntime


def version() -> str:
    """The library's version.

    Raises:
        EngineError: it is not installed.
    """
    return str(library().__version__)


def session(path: Path, options: Any, providers: Sequence[Any]) -> Any:  # noqa: ANN401
    """A session on `path`.

    Raises:
        EngineError: the library refuses the file.
    """
    runtime = library()
    try:
        return runtime.InferenceSession(str(path), options, providers=list(providers))
    except failures() as error:
        raise EngineError(
            f"{path.name}: ONNX Runtime cannot load it: {first_line(error)}",
            hint="Build it again: appliance build.",
        ) from error


def check_contract(session: Any, contract: ModelContract) -> None:  # noqa: ANN401
    """The file's own inputs and outputs must be the contract's.

    Raises:
        EngineError: they are not.
    """
    found = {
        value.name: (tuple(value.shape), value.type)
        for value in (*session.get_inputs(), *session.get_outputs())
    }
    wanted = {
        spec.name: (spec.shape, _TYPES[spec.dtype]) for spec in (contract.input, *contract.outputs)
    }
    if found != wanted:
        raise EngineError(
            f"engine: expected {wanted}, got {found}", hint="Build it again: appliance build."
        )


def failures() -> tuple[type[Exception], ...]:
    """The library's exceptions: a dozen types without a common base, and plain RuntimeError."""
    members = vars(library().capi.onnxruntime_pybind11_state).values()
    own = (m for m in members if isinstance(m, type) and issubclass(m, Exception))
    return (*own, RuntimeError)


def first_line(error: Exception) -> str:
    """What an exception says, without the rest, and without its number and the file's path."""
    return PREAMBLE.sub("", str(error).strip().partition("\n")[0])[:300]


def computes(path: Path) -> Mapping[str, int]:
    """Convolutions and matrix products with weights in a file, by the numbers they compute in.

    Of a file that the library itself has optimized: where it has no half-precision product, the
    weights stand there behind a Cast, and where it has none in int8, behind DequantizeLinear.

    Returns:
        As {"fp32": 12, "int8": 70}.
    """
    graph = onnx.load(path).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        if not node.input or node.input[0] not in types:
            continue  # no weights, but what is computed from the picture
        if node.op_type == "Cast":
            types[node.output[0]] = node.attribute[0].i
        elif node.op_type == "DequantizeLinear":
            types[node.output[0]] = types[node.input[1]]  # its scale's
    found: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type in MULTIPLIES_INT8:
            found[Precision.INT8] += 1
        elif node.op_type in MULTIPLIES and types.get(node.input[1]) in _NUMBERS:
            found[_NUMBERS[types[node.input[1]]]] += 1
    return {str(numbers): count for numbers, count in sorted(found.items())}
