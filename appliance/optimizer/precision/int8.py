"""Whole numbers in the products of the body, by ONNX Runtime's static quantization.

Only what goes into a product is rounded, never what comes out: engines join a product with the
activation behind it, and the network loses half as much. Convolutions with groups stay as they
are: they are a small part of the work, and with few weights for each channel they lose the most
(of three detectors, one fell to an F1 of 0.6 with them, and kept 0.99 without).
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnx_ir as ir

from appliance.errors import ModelError
from appliance.optimizer.precision.body import PRODUCTS, before_products
from appliance.values import U8

VERSION: Final = 1  # what is quantized
_KINDS = sorted(PRODUCTS - {"ConvTranspose"})
# Without it the library advises on its preparation, which canonical graphs have had.
_PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")


def to_int8(canonical: Path, into: Path, calibration: Iterable[U8]) -> None:
    """Write `canonical` to `into` with Q/DQ around its products' inputs.

    Args:
        canonical: the model in single precision.
        into: the file to write.
        calibration: frames (H, W, 3) uint8 BGR as they go into an engine's slot.

    Raises:
        ModelError: there is no frame, or nothing to quantize.
    """
    from onnxruntime import quantization  # noqa: PLC0415 - heavy, and wanted for this alone

    names = [str(node.name) for node in before_products(ir.load(canonical).graph) if _takes(node)]
    if not names:
        raise ModelError(
            "nothing in the model's graph gains from int8",
            hint="Set APPLIANCE_ENGINE__PRECISION=fp16 or fp32.",
        )
    with tempfile.TemporaryDirectory() as folder:
        prepared, quantized = Path(folder, "prepared.onnx"), Path(folder, "quantized.onnx")
        proto = onnx.load(canonical)
        name = proto.graph.input[0].name
        proto.metadata_props.add(key=_PREPARED[0], value=_PREPARED[1])
        onnx.save(proto, prepared)
        quantization.quantize_static(
            prepared,
            quantized,
            _Reader(name, calibration),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=_KINDS,
            nodes_to_quantize=names,
            per_channel=True,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": _KINDS,
            },
        )
        made = onnx.load(quantized)
    del made.metadata_props[:]
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, into)


def _takes(node: ir.Node) -> bool:
    """Whether a node is a product of the picture with weights, each of which is used often."""
    if node.op_type not in _KINDS or node.attributes.get_int("group", 1) != 1:
        return False
    data, weights = node.inputs[:2]
    return (
        data is not None
        and data.const_value is None
        and weights is not None
        and weights.const_value is not None
        and weights.dtype == ir.DataType.FLOAT
    )


class _Reader:
    """Frames as the library's calibration asks for them.

    Raises:
        ModelError: there is none.
    """

    def __init__(self, name: str, frames: Iterable[U8]) -> None:
        self._name = name
        self._frames: Iterator[U8] = iter(frames)
        self._first = next(self._frames, None)
        if self._first is None:
            raise ModelError(
                "int8 is calibrated on pictures, and there are none",
                hint="Put pictures of the scene into models/<name>/verify in the state folder, "
                "or set APPLIANCE_ENGINE__PRECISION=fp16.",
            )

    def get_next(self) -> dict[str, U8] | None:
        """The next feed, None after the last."""
        frame, self._first = self._first, None
        if frame is None:
            frame = next(self._frames, None)
        return None if frame is None else {self._name: np.ascontiguousarray(frame[None])}
