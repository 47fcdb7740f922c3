"""ONNX Runtime on the CPU, with inputs and outputs bound once.

Binding buys stable addresses: no array is made per frame, and the outputs are always in the
same memory. Frames in flight share the cores: two inferences with half the cores each finish
more frames than one with all of them, which waits at every operator for its slowest thread.
The library's telemetry is switched off by the environment before its import
(`appliance.settings.prepare_process`).
"""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from appliance.engines import Backend, EngineOptions, EngineReport, EngineSlot
from appliance.errors import EngineError
from appliance.values import ModelContract

PROVIDER = "CPUExecutionProvider"


def version() -> str:
    """The library's version.

    Raises:
        EngineError: it is not installed.
    """
    return str(_library().__version__)


def _library() -> Any:  # noqa: ANN401 - the library ships no types
    try:
        import onnxruntime  # noqa: PLC0415 - heavy, and absent on boxes with another backend
    except ImportError as error:
        raise EngineError(
            "ONNX Runtime is not installed", hint="Install one extra: cpu, cuda, rtx or jetson."
        ) from error
    return onnxruntime


class OnnxRuntimeEngine:
    """A session on the CPU, and a thread for each frame in flight."""

    def __init__(self, path: Path, contract: ModelContract, options: EngineOptions) -> None:
        library = _library()
        cores = psutil.cpu_count(logical=False) or 1
        at_once = options.in_flight * options.engines
        threads = options.threads or max(1, cores // at_once)
        self._failures = _failures(library)
        try:
            self._session = library.InferenceSession(
                str(path),
                _session_options(library, threads, alone=at_once == 1),
                providers=[PROVIDER],
            )
        except self._failures as error:
            raise EngineError(
                f"{path.name}: ONNX Runtime cannot load it: {_first_line(error)}",
                hint="Build it again: appliance build.",
            ) from error
        self._check(contract)
        self._bindings: list[Any] = []
        self.slots = tuple(
            self._bind(library, contract, index) for index in range(options.in_flight)
        )
        self._runs: dict[int, Future[None]] = {}
        self._runners = ThreadPoolExecutor(options.in_flight, thread_name_prefix="engine")
        running = self._session.get_providers()
        self.report = EngineReport(
            asked=options.asked,
            backend="onnxruntime",
            running=_title(running),
            version=str(library.__version__),
            precision=options.precision,
            threads=threads,
            note="" if running == [PROVIDER] else f"asked for {PROVIDER}, runs {running}",
        )

    def _check(self, contract: ModelContract) -> None:
        """The file's own inputs and outputs must be the contract's."""
        found = {
            value.name: (tuple(value.shape), value.type)
            for value in (*self._session.get_inputs(), *self._session.get_outputs())
        }
        wanted = {
            spec.name: (spec.shape, _ONNX_TYPES[spec.dtype])
            for spec in (contract.input, *contract.outputs)
        }
        if found != wanted:
            raise EngineError(
                f"engine: expected {wanted}, got {found}", hint="Build it again: appliance build."
            )

    def _bind(self, library: Any, contract: ModelContract, index: int) -> EngineSlot:  # noqa: ANN401
        binding = self._session.io_binding()
        arrays: dict[str, NDArray[Any]] = {}
        for spec in (contract.input, *contract.outputs):
            array = np.zeros(spec.shape, np.dtype(spec.dtype))
            value = library.OrtValue.ortvalue_from_numpy(array)
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
        self._runs[slot.index] = self._runners.submit(run, self._bindings[slot.index])

    def wait(self, slot: EngineSlot, timeout_s: float | None = None) -> bool:
        """Whether the run is over."""
        try:
            self._runs[slot.index].result(timeout_s)
        except TimeoutError:
            return False
        except self._failures as error:
            raise EngineError(f"inference failed: {_first_line(error)}") from error
        return True

    def close(self) -> None:
        """Let every run end; drop the session and its bindings."""
        self._runners.shutdown()
        self._runs.clear()
        self._bindings.clear()
        self._session = None


_ONNX_TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)", "int32": "tensor(int32)"}


def _session_options(library: Any, threads: int, *, alone: bool) -> Any:  # noqa: ANN401
    result = library.SessionOptions()
    result.intra_op_num_threads = threads
    result.inter_op_num_threads = 1
    result.log_severity_level = 3
    if not alone:  # a thread that spins takes a core from the neighbor
        result.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return result


def _failures(library: Any) -> tuple[type[Exception], ...]:  # noqa: ANN401
    """The library's exceptions: a dozen types without a common base."""
    members = vars(library.capi.onnxruntime_pybind11_state).values()
    return tuple(m for m in members if isinstance(m, type) and issubclass(m, Exception))


def _title(providers: list[str]) -> str:
    return f"ONNX Runtime {providers[0].removesuffix('ExecutionProvider')}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]


ENGINE = Backend("onnxruntime", version, OnnxRuntimeEngine)
