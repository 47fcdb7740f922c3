"""Engines run a canonical model through preallocated buffers.

An engine backend is one module with a constant ENGINE: it says what it runs on, builds an engine
file from a canonical ONNX, and loads it. Slots are the only way in and out: write the frame into
`slot.frames`, submit, wait, read the outputs, which stay valid until the slot's next submit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from appliance.runtimes import BuildOptions, Device, Progress
from appliance.values import U8, ModelContract, Precision


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


class Engine(Protocol):
    """A loaded engine with a slot for each frame that it works on at once.

    Used by one thread. Submit returns before the work is done: the next frame can be fitted
    into another slot meanwhile.
    """

    slots: tuple[EngineSlot, ...]
    report: EngineReport

    def submit(self, slot: EngineSlot) -> None:
        """Start the inference of `slot.frames`.

        Raises:
            EngineError: the engine refused or is closed.
        """

    def wait(self, slot: EngineSlot, timeout_s: float | None = None) -> bool:
        """Whether `slot.outputs` hold the submitted frame's results, within `timeout_s`.

        None waits for as long as it takes. After False the slot is still at work.

        Raises:
            EngineError: the inference failed; the slot is free again.
        """

    def close(self) -> None:
        """Free everything, the slots' arrays too; idempotent. A submit after it raises EngineError.

        Whoever holds an array of a slot lets go of it before.
        """


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


@dataclass(frozen=True, slots=True)
class Backend:
    """One engine backend.

    Attributes:
        name: as settings and sidecars say it.
        title: for a person.
        rungs: the precisions that "auto" tries, the best first.
        version: of the library; raises EngineError where it cannot be imported.
        device: what its engines run on here; raises EngineError where nothing does.
        bound_to: what an engine built here is tied to; empty where it runs on every device of
            the backend. Raises EngineError as `device` does.
        build: a canonical ONNX to an engine file in a folder; raises EngineError.
        load: engine file, contract and options to a loaded engine; raises EngineError.
    """

    name: str
    title: str
    rungs: tuple[Precision, ...]
    version: Callable[[], str]
    device: Callable[[], Device]
    bound_to: Callable[[BuildOptions], str]
    build: Callable[[Path, Path, BuildOptions, Progress], Path]
    load: Callable[[Path, ModelContract, EngineOptions], Engine]
