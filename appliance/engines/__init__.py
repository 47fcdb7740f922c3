"""Engines run a canonical model through preallocated buffers.

An engine backend is one module with a constant ENGINE. Slots are the only way in and out:
write the frame into `slot.frames`, submit, wait, read the outputs, which stay valid until the
slot's next submit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from appliance.values import U8, ModelContract


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
        precision: as "fp32".
        threads: CPU threads per inference; 0 where that means nothing.
        note: why what runs differs from what was asked; empty when it does not.
    """

    asked: str
    backend: str
    running: str
    version: str
    precision: str
    threads: int = 0
    note: str = ""


class Engine(Protocol):
    """A loaded engine with two slots or more.

    Used by one thread. `overlaps` tells whether submit returns before the work is done: then
    the next frame can be fitted into the other slot meanwhile.
    """

    slots: tuple[EngineSlot, ...]
    report: EngineReport
    overlaps: bool

    def submit(self, slot: EngineSlot) -> None:
        """Start the inference of `slot.frames`. May block where nothing can overlap.

        Raises:
            EngineError: the engine refused or failed.
        """

    def wait(self, slot: EngineSlot) -> None:
        """Return when `slot.outputs` hold the submitted frame's results.

        Raises:
            EngineError: the engine failed.
        """

    def close(self) -> None:
        """Free everything; idempotent. A submit after it raises EngineError."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to load an engine.

    Attributes:
        asked: the setting's word, for the report.
        precision: what the file was built as.
        threads: CPU threads; 0 means one per physical core.
        shared_cores: another engine lives in this process: do not spin while waiting.
    """

    asked: str = "auto"
    precision: str = "fp32"
    threads: int = 0
    shared_cores: bool = False


@dataclass(frozen=True, slots=True)
class Backend:
    """One engine backend.

    Attributes:
        name: as settings and sidecars say it.
        version: of the library, or an EngineError's message where it cannot be imported.
        load: engine file, contract and options to a loaded engine; raises EngineError.
    """

    name: str
    version: Callable[[], str]
    load: Callable[[Path, ModelContract, EngineOptions], Engine]
