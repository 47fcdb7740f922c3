"""The libraries that compute, each wrapped once, for the engines, which do not know each other.

Here, what both speak of: the device, how to build and how to load, a slot, a report.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from appliance.values import U8, Precision

Progress = Callable[[str, float | None], None]
"""Told while something is made: what is being done, and 0..1 or None where unknown."""


@dataclass(frozen=True, slots=True)
class Device:
    """What engines of one backend run on, here and now.

    Attributes:
        name: for a person, as "NVIDIA RTX A2000" or the processor's name.
        arch: as "sm_86" or "x86_64".
        software: what lies between library and device, as "driver 580.65, CUDA 13.0"; may be empty.
        serial: tells this one from others of its kind; a proof holds for one serial only.
        memory_bytes: all that it has.
        memory_free_bytes: what engines may still take.
    """

    name: str
    arch: str
    software: str
    serial: str
    memory_bytes: int
    memory_free_bytes: int


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How to build an engine; all of it is part of the cache's key but the timing cache.

    Attributes:
        workspace_mb: memory that the builder's candidates may use, MiB; 0 sets no limit.
        optimization_level: 0 is the fastest build, 5 the fastest engine.
        compatibility: "none" for this GPU alone, "ampere_plus" for all from Ampere on,
            "same_compute_capability" for all of its kind.
        timings: file in which the builder keeps what it measured; None keeps nothing.
    """

    workspace_mb: int = 0
    optimization_level: int = 3
    compatibility: str = "none"
    timings: Path | None = None


@dataclass(frozen=True, slots=True)
class EngineSlot:
    """Memory of one inference, owned by its engine.

    Attributes:
        index: the slot's place in `Engine.slots`.
        frames: (N, H, W, 3) uint8 BGR, written by the loop before each submit.
        outputs: the canonical outputs by name; valid from wait until the next submit.
    """

    index: int
    frames: U8
    outputs: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What was asked for and what runs, read back from the engine itself.

    Attributes:
        asked: the setting's word, as "auto".
        backend: the backend's name, as "onnxruntime".
        running: for a person, as "ONNX Runtime CPU".
        version: of the library that runs.
        precision: what the file was built as.
        computes: convolutions and matrix products by the numbers they compute in, as the engine
            itself tells; empty where it does not.
        memory_bytes: what the engine holds on its device; 0 where that cannot be told.
        threads: CPU threads per inference; 0 where that means nothing.
        note: why what runs differs from what was asked; empty when it does not.
    """

    asked: str
    backend: str
    running: str
    version: str
    precision: str
    computes: Mapping[str, int] = field(default_factory=dict)
    memory_bytes: int = 0
    threads: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to load an engine.

    Attributes:
        asked: the setting's word, for the report.
        precision: what the file was built as.
        threads: CPU threads of one inference; 0 is its share of the physical cores.
        in_flight: frames that the engine works on at once.
        engines: how many engines share the box, this one included.
    """

    asked: str = "auto"
    precision: Precision = Precision.FP32
    threads: int = 0
    in_flight: int = 1
    engines: int = 1
