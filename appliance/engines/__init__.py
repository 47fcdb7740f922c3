"""Engines run a canonical model through preallocated buffers.

An engine backend is one module with a constant ENGINE: it says what it runs on, builds an engine
file from a canonical ONNX, and loads it. Slots are the only way in and out: write the frame into
`slot.frames`, submit, wait, read the outputs, which stay valid until the slot's next submit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance.runtimes import (
    BuildOptions,
    Device,
    EngineOptions,
    EngineReport,
    EngineSlot,
    Progress,
)
from appliance.values import ModelContract, Precision


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
