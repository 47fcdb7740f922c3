"""Values that travel through the appliance: frozen, validated where they are made.

Arrays inside a value belong to the value; nobody writes into them afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from appliance.errors import ApplianceError

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


@dataclass(frozen=True, slots=True)
class Detections:
    """What a detector saw in one frame, best first.

    Attributes:
        boxes_xyxy_px: (N, 4) float32, source pixels, clipped to the frame.
        scores: (N,) float32 in 0..1.
        class_ids: (N,) int32.
    """

    boxes_xyxy_px: F32
    scores: F32
    class_ids: I32

    def __post_init__(self) -> None:
        count = len(self.scores)
        for name, array, shape in (
            ("boxes_xyxy_px", self.boxes_xyxy_px, (count, 4)),
            ("scores", self.scores, (count,)),
            ("class_ids", self.class_ids, (count,)),
        ):
            if array.shape != shape:
                raise ApplianceError(f"{name}: expected {shape}, got {array.shape}")

    def __len__(self) -> int:
        return len(self.scores)

    def names(self, labels: Sequence[str]) -> list[str]:
        """The class name of each; an id without one is shown as such.

        Args:
            labels: class names in the order of class ids.
        """
        known = dict(enumerate(labels))
        return [known.get(class_id) or f"class_{class_id}" for class_id in self.class_ids.tolist()]

    @classmethod
    def empty(cls) -> "Detections":
        """No detections."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32))


@dataclass(frozen=True, slots=True)
class Result:
    """One frame, inferred.

    Attributes:
        camera: the camera's key.
        stamp: when the frame was taken.
        size_wh: the frame's size in pixels.
        detections: in source pixels.
        inference_ms: from the engine's submit to its outputs being ready.
        finished_ns: monotonic clock when the detections were ready.
        labels: the model's class names in the order of class ids.
        unknown: why nothing is known of the frame, though there are no detections; else empty.
    """

    camera: str
    stamp: FrameStamp
    size_wh: tuple[int, int]
    detections: Detections
    inference_ms: float
    finished_ns: int
    labels: tuple[str, ...] = ()
    unknown: str = ""

    def names(self) -> list[str]:
        """The class name of each detection."""
        return self.detections.names(self.labels)

    @property
    def age_ms(self) -> float:
        """From the grab to the finished detections."""
        return (self.finished_ns - self.stamp.captured_ns) / 1e6
