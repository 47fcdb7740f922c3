"""ONNX Runtime on CUDA: slower than TensorRT, but it takes any model and builds nothing.

The whole of a frame's work is queued on one stream, copies included; the library is told not to
wait for it at the end of a run. Never ran on a GPU.
"""

import ctypes
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from appliance.engines import Backend
from appliance.errors import EngineError
from appliance.runtimes import (
    BuildOptions,
    Device,
    EngineOptions,
    EngineReport,
    EngineSlot,
    Progress,
    cuda,
    onnxruntime,
)
from appliance.runtimes.cuda.work import Stream
from appliance.runtimes.gpu_slot import GpuSlot
from appliance.values import ModelContract, Precision

VERSION: Final = 1  # what is built
PROVIDER = "CUDAExecutionProvider"
MEMORY = "cuda"
ENGINE_FILE = "engine.onnx"
INSTALL_HINT = "Install the extra cuda or jetson: it brings ONNX Runtime with CUDA and its parts."


class CudaEngine:
    """A session on the GPU, its inputs and outputs bound to memory of the slots."""

    def __init__(self, path: Path, contract: ModelContract, options: EngineOptions) -> None:
        _check_provider()
        self._gpu = cuda.find()
        self._failures = onnxruntime.failures()
        here = self._gpu.device()
        with ExitStack() as owned:
            stream = owned.enter_context(Stream(self._gpu))
            owned.callback(self._forget)
            self._session, computes = self._load(path, stream, options)
            onnxruntime.check_contract(self._session, contract)
            self._run_options = onnxruntime.library().RunOptions()
            self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")
            self._slots: list[GpuSlot] = []
            for _ in range(options.in_flight):
                slot = owned.enter_context(GpuSlot(self._gpu, stream, contract))
                self._slots.append(slot)
                slot.prepare(partial(self._run, self._bind(contract, slot)), capture=False)
            memory_bytes = max(0, here.memory_free_bytes - self._gpu.memory()[0])
            self._owned = owned.pop_all()
        self.slots = tuple(
            EngineSlot(index, slot.frames, slot.outputs) for index, slot in enumerate(self._slots)
        )
        self.report = EngineReport(
            asked=options.asked,
            backend="cuda",
            running=f"ONNX Runtime CUDA on {here.name}",
            version=onnxruntime.version(),
            precision=options.precision,
            computes=computes,
            memory_bytes=memory_bytes,
        )

    def submit(self, slot: EngineSlot) -> None:
        """Queue the slot's work."""
        self._open(slot).submit()

    def wait(self, slot: EngineSlot, timeout_s: float | None = None) -> bool:
        """Whether the slot's work is over."""
        return self._open(slot).wait(timeout_s)

    def close(self) -> None:
        """Wait for what runs; drop the session and free the slots."""
        self._owned.close()

    def _open(self, slot: EngineSlot) -> GpuSlot:
        if self._session is None:
            raise EngineError("the engine is closed")
        return self._slots[slot.index]

    def _load(
        self, path: Path, stream: Stream, options: EngineOptions
    ) -> tuple[Any, Mapping[str, int]]:
        """The session, and what the library's own version of the graph computes in."""
        library = onnxruntime.library()
        if hasattr(library, "preload_dlls"):  # else it looks for CUDA's parts in the system only
            library.preload_dlls()
        settings = library.SessionOptions()
        settings.intra_op_num_threads = options.threads or 1  # the few nodes that stay behind
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 4  # what goes wrong is raised as well
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        provider = {
            "device_id": str(cuda.GPU),
            "user_compute_stream": str(int(stream.handle)),
            "arena_extend_strategy": "kSameAsRequested",  # memory is shared with other engines
            "use_tf32": "0",  # what is to stay fp32 would be rounded as fp16 is
        }
        with tempfile.TemporaryDirectory() as folder:
            optimized = Path(folder) / ENGINE_FILE
            settings.optimized_model_filepath = str(optimized)
            session = _session(path, settings, [(PROVIDER, provider)])
            return session, onnxruntime.computes(optimized)

    def _bind(self, contract: ModelContract, slot: GpuSlot) -> Any:  # noqa: ANN401
        binding = self._session.io_binding()
        for spec in (contract.input, *contract.outputs):
            bind = binding.bind_input if spec is contract.input else binding.bind_output
            address = slot.addresses[spec.name]
            bind(spec.name, MEMORY, cuda.GPU, np.dtype(spec.dtype), spec.shape, address)
        return binding

    def _run(self, binding: Any) -> None:  # noqa: ANN401
        try:
            self._session.run_with_iobinding(binding, self._run_options)
        except self._failures as error:
            self._gpu.memory()  # says so where the GPU is lost
            what = f"inference failed: {onnxruntime.first_line(error)}"
            raise cuda.failure(what) from error

    def _forget(self) -> None:
        self._session = None


def _session(path: Path, settings: Any, providers: list[Any]) -> Any:  # noqa: ANN401
    """A session that computes on the GPU.

    Raises:
        EngineError: the file is refused, or the library would compute on the processor.
        DeviceError: the GPU has no room.
    """
    try:
        session = onnxruntime.session(path, settings, providers)
    except EngineError as error:
        raise cuda.failure(str(error), hint=error.hint) from error
    running = session.get_providers()
    if running[0] != PROVIDER:
        raise EngineError(
            f"ONNX Runtime computes on {running[0]} instead of CUDA: {_missing()}",
            hint=INSTALL_HINT,
        )
    return session


def _check_provider() -> None:
    """Whether this build of ONNX Runtime has the provider; not whether that can be loaded.

    Raises:
        EngineError: it has none.
    """
    if PROVIDER not in onnxruntime.library().get_available_providers():
        raise EngineError("this ONNX Runtime was built without CUDA", hint=INSTALL_HINT)


def _missing() -> str:
    """Why the provider cannot be loaded: the library itself tells only its log."""
    place = Path(onnxruntime.library().__file__).parent / "capi"
    try:
        ctypes.CDLL(str(place / "libonnxruntime_providers_cuda.so"))
    except OSError as error:
        return str(error)
    return "it does not say why"


def device() -> Device:
    """The first GPU.

    Raises:
        EngineError: there is none, or this build of ONNX Runtime cannot use it.
    """
    _check_provider()
    return cuda.find().device()


def bound_to(_options: BuildOptions) -> str:
    """Nothing: the library optimizes the graph for the GPU when it loads it."""
    return ""


def build(canonical: Path, folder: Path, _options: BuildOptions, progress: Progress) -> Path:
    """The canonical graph as it is."""
    progress("Copying the graph", None)
    made = folder / ENGINE_FILE
    if made != canonical:
        shutil.copyfile(canonical, made)
    return made


ENGINE = Backend(
    name="cuda",
    title="ONNX Runtime on CUDA",
    rungs=(Precision.FP16, Precision.FP32),
    version=onnxruntime.version,
    device=device,
    bound_to=bound_to,
    build=build,
    load=CudaEngine,
)
