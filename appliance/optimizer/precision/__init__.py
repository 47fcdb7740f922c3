"""Writes a canonical model in the numbers that an engine is to compute with.

Engines compute in the types that the graph has (TensorRT knows no other way any more), so a
precision is a rewriting. Inputs and outputs stay as the contract has them.
"""

from collections.abc import Iterable
from pathlib import Path

from appliance.optimizer.precision.fp16 import to_half
from appliance.optimizer.precision.int8 import to_int8
from appliance.values import U8, Precision


def rewrite(
    canonical: Path, precision: Precision, into: Path, calibration: Iterable[U8] = ()
) -> Path:
    """The model in this precision: for fp32 `canonical` itself, else a new file `into`.

    Args:
        canonical: a model that `canonicalize` has made.
        precision: of its body; the head stays fp32.
        into: the file to write.
        calibration: for int8: frames (H, W, 3) uint8 BGR as they go into an engine's slot.

    Raises:
        ModelError: the numbers do not fit this precision, or it needs frames and has none.
    """
    match precision:
        case Precision.FP32:
            return canonical
        case Precision.FP16:
            to_half(canonical, into)
        case Precision.INT8:
            to_int8(canonical, into, calibration)
    return into
