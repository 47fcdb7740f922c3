"""Values that travel through the appliance: frozen, validated where they are made.

Arrays inside a value belong to the value; nobody writes into them afterwards.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
I32: TypeAlias = NDArray[np.int32]
U8: TypeAlias = NDArray[np.uint8]


class CameraState(StrEnum):
    """What a camera is doing, as the page says it."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    OFFLINE = "offline"
    ENDED = "ended"


class Drop(StrEnum):
    """Why a frame that was grabbed is never inferred: each one for exactly one reason.

    What was grabbed is either taken for inference, or waits for it, or was dropped. Only a frame
    whose decoding never returns, with the connection it came by, is in none of these counts.
    """

    NEWER = "newer"  # replaced before anyone took it
    NO_SLOT = "no_slot"  # readers held every slot when it came
    BROKEN = "broken"  # could not be decoded
    IDLE = "idle"  # not decoded: nobody was asking for frames, as while an engine is built


class Skip(StrEnum):
    """Why a viewer does not see a picture that it was to see."""

    ENCODER = "encoder"  # a newer one came before the encoder was free; counted once for all
    VIEWER = "viewer"  # a newer one came before this viewer had drawn the one before


class Health(StrEnum):
    """The station as a whole. A degraded station is still ready."""

    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    FAILED = "failed"


class Stage(StrEnum):
    """What people wait for when the station starts."""

    FIRST_RESULT = "first_result"
    PAGE = "page"


class EngineState(StrEnum):
    """What a model's engine is doing."""

    WAITING = "waiting"
    BUILDING = "building"
    RUNNING = "running"
    FAILED = "failed"


class Precision(StrEnum):
    """Numbers that an engine computes with, the body of its graph at least."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a canonical model.

    Attributes:
        name: as in the graph.
        shape: fixed sizes, no free axes.
        dtype: numpy's name, as "uint8".
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class ModelContract:
    """What a canonical model takes and gives.

    Attributes:
        task: as "detection".
        input: `frames`, uint8 (N, H, W, 3) BGR, already fitted to the input size.
        outputs: the task's outputs, each of fixed size.
    """

    task: str
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]

    @property
    def input_wh(self) -> tuple[int, int]:
        """The input's size in pixels."""
        return self.input.shape[2], self.input.shape[1]


@dataclass(frozen=True, slots=True)
class FrameStamp:
    """When a frame was taken.

    Attributes:
        sequence: counts frames of one camera since the process started, from 1.
        captured_ns: monotonic clock right after the grab; the only base for intervals.
        captured_at_s: wall clock, seconds since 1970; a label, never a base for intervals.
    """

    sequence: int
    captured_ns: int
    captured_at_s: float
