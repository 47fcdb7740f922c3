"""ONNX Runtime on the CPU, with inputs and outputs bound once.

Binding buys stable addresses: no array is made per frame, and the outputs are always in the
same memory. Frames in flight share the cores: two inferences with half the cores each finish
more frames than one with all of them, which waits at every operator for its slowest thread.
"""

import hashlib
import platform
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from numpy.typing import NDArray

from appliance.engines import Backend
from appliance.errors import EngineError
from appliance.resources import cores, memory
from appliance.runtimes import (
    BuildOptions,
    Device,
    EngineOptions,
    EngineReport,
    EngineSlot,
    Progress,
    onnxruntime,
)
from appliance.values import ModelContract, Precision

VERSION: Final = 1  # what is built
PROVIDER = "CPUExecutionProvider"
ENGINE_FILE = "engine.onnx"


class CpuEngine:
    """A session on the CPU, and a thread for each frame in flight."""

    def __init__(self, path: Path, contract: ModelContract, options: EngineOptions) -> None:
        at_once = options.in_flight * options.engines
        threads = options.threads or max(1, cores().physical // at_once)
        before_bytes = psutil.Process().memory_info().rss
        self._failures = onnxruntime.failures()
        self._session = onnxruntime.session(
            path, _session_options(threads, alone=at_once == 1), [PROVIDER]
        )
        onnxruntime.check_contract(self._session, contract)
        self._run_options = onnxruntime.library().RunOptions()
        self._bindings: list[Any] = []
        self.slots = tuple(self._bind(contract, index) for index in range(options.in_flight))
        self._runs: dict[int, Future[None]] = {}
        self._runners = ThreadPoolExecutor(options.in_flight, thread_name_prefix="engine")
        running = self._session.get_providers()
        self.report = EngineReport(
            asked=options.asked,
            backend="cpu",
            running=_title(running),
            version=onnxruntime.version(),
            precision=options.precision,
            computes=onnxruntime.computes(path),
            memory_bytes=max(0, psutil.Process().memory_info().rss - before_bytes),
            threads=threads,
            note="" if running == [PROVIDER] else f"asked for {PROVIDER}, runs {running}",
        )

    def _bind(self, contract: ModelContract, index: int) -> EngineSlot:
        values = onnxruntime.library().OrtValue
        binding = self._session.io_binding()
        arrays: dict[str, NDArray[Any]] = {}
        for spec in (contract.input, *contract.outputs):
            array = np.zeros(spec.shape, np.dtype(spec.dtype))
            value = values.ortvalue_from_numpy(array)
            if value.data_ptr() != array.ctypes.data:
                raise EngineError(
                    f"{spec.name}: ONNX Runtime copied the buffer instead of using it"
                )
            if spec is contract.input:
                binding.bind_ortvalue_input(spec.name, value)
            else:
                binding.bind_ortvalue_output(spec.name, value)
            arrays[spec.name] = array
        self._bindings.append(binding)
        frames = arrays.pop(contract.input.name)
        return EngineSlot(index, frames, arrays)

    def submit(self, slot: EngineSlot) -> None:
        """Let a thread run the session on `slot`."""
        if self._session is None:
            raise EngineError("the engine is closed")
        run = self._session.run_with_iobinding
        binding = self._bindings[slot.index]
        self._runs[slot.index] = self._runners.submit(run, binding, self._run_options)

    def wait(self, slot: EngineSlot, timeout_s: float | None = None) -> bool:
        """Whether the run is over."""
        try:
            self._runs[slot.index].result(timeout_s)
        except TimeoutError:
            return False
        except self._failures as error:
            raise EngineError(f"inference failed: {onnxruntime.first_line(error)}") from error
        return True

    def close(self) -> None:
        """Break off every run, at its next operator; drop the session and its bindings."""
        self._run_options.terminate = True
        self._runners.shutdown()
        self._runs.clear()
        self._bindings.clear()
        self._session = None


def device() -> Device:
    """The processor. Its serial is the same on all of its kind: they compute alike."""
    name, flags = _processor()
    free = memory()
    return Device(
        name=name,
        arch=platform.machine(),
        software="",
        serial=hashlib.sha256(f"{name} {flags}".encode()).hexdigest()[:16],
        memory_bytes=free.total_bytes,
        memory_free_bytes=free.available_bytes,
    )


def bound_to(_options: BuildOptions) -> str:
    """The architecture: what a processor can do beyond it is used when the engine is loaded."""
    return platform.machine()


def build(canonical: Path, folder: Path, _options: BuildOptions, progress: Progress) -> Path:
    """The graph as ONNX Runtime has optimized it, without what only this very processor could run.

    Raises:
        EngineError: ONNX Runtime refuses the graph.
    """
    progress("Optimizing the graph", None)
    made = folder / ENGINE_FILE
    options = _session_options(1, alone=False)
    options.graph_optimization_level = (
        onnxruntime.library().GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    )
    options.optimized_model_filepath = str(made)
    onnxruntime.session(canonical, options, [PROVIDER])
    return made


def _processor() -> tuple[str, str]:
    """Its name and its instruction sets, as Linux tells them; less where it tells less."""
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    name = facts.get("model name") or facts.get("Model") or platform.machine()
    return name, facts.get("flags") or facts.get("Features") or ""


def _session_options(threads: int, *, alone: bool) -> Any:  # noqa: ANN401
    result = onnxruntime.library().SessionOptions()
    result.intra_op_num_threads = threads
    result.inter_op_num_threads = 1
    result.log_severity_level = 4  # what goes wrong is raised as well
    if not alone:  # a thread that spins takes a core from the neighbor
        result.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return result


def _title(providers: list[str]) -> str:
    return f"ONNX Runtime {providers[0].removesuffix('ExecutionProvider')}"


ENGINE = Backend(
    name="cpu",
    title="ONNX Runtime on the processor",
    rungs=(Precision.FP32,),
    version=onnxruntime.version,
    device=device,
    bound_to=bound_to,
    build=build,
    load=CpuEngine,
)
