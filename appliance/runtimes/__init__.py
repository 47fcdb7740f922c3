"""The libraries that compute, each wrapped once, for the engines, which do not know each other."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
