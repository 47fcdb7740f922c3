"""Runs engines of TensorRT 10 and 11 and of TensorRT for RTX, which share what is used here.

Each slot has an execution context, a stream and buffers of its own, and a CUDA graph of copy in,
inference and copy out, so that one call queues a frame's work.

Written by the libraries' documentation; it never ran on a GPU.
"""

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from appliance.errors import EngineError
from appliance.runtimes import EngineOptions, EngineReport, EngineSlot, cuda, tensorrt
from appliance.runtimes.cuda.work import Stream
from appliance.runtimes.gpu_slot import GpuSlot
from appliance.values import ModelContract, Precision

REBUILD_HINT: Final = "The engine is built again."
MULTIPLIES: Final = ("conv", "gemm", "matmul", "matrixmultiply")
NUMBERS: Final = (
    ("int8", Precision.INT8),
    ("half", Precision.FP16),
    ("fp16", Precision.FP16),
    ("float16", Precision.FP16),
    ("float", Precision.FP32),
    ("fp32", Precision.FP32),
)
"""How a tensor's format names its numbers, in lower case; the first that fits."""


def load_engine(
    backend: str, name: str, path: Path, contract: ModelContract, options: EngineOptions
) -> "TensorRtEngine":
    """An engine on the first GPU.

    Args:
        backend: whose engine it is, for the report.
        name: of the library, `tensorrt` or `tensorrt_rtx`.
        path: the engine's file.
        contract: what it must take and give.
        options: how to load it.

    Raises:
        EngineError: see `TensorRtEngine`; or the library is not usable here.
    """
    gpu = cuda.find()
    return TensorRtEngine(tensorrt.library(name), gpu, path, contract, options, backend)


class TensorRtEngine:
    """A loaded engine of the TensorRT family.

    Args:
        library: the module `tensorrt` or `tensorrt_rtx`.
        gpu: found.
        path: the engine's file.
        contract: what it must take and give.
        options: how to load it.
        backend: whose engine it is, for the report.

    Raises:
        EngineError: the file is damaged, of another version or GPU, or of another contract.
        DeviceError: the GPU has no room, or fails.
    """

    def __init__(
        self,
        library: Any,  # noqa: ANN401
        gpu: cuda.Cuda,
        path: Path,
        contract: ModelContract,
        options: EngineOptions,
        backend: str,
    ) -> None:
        self._library = library
        self._gpu = gpu
        self._heard = tensorrt.listener(library)
        here = gpu.device()
        with ExitStack() as owned:
            owned.callback(self._forget)
            self._engine = self._load(path)
            _check_contract(library, self._engine, contract)
            self._slots: tuple[GpuSlot, ...] = ()
            notes: list[str] = []
            for _ in range(options.in_flight):
                stream = owned.enter_context(Stream(gpu))
                slot = owned.enter_context(GpuSlot(gpu, stream, contract))
                self._slots += (slot,)
                notes.append(slot.prepare(self._inference(slot, stream), capture=True))
            self.report = EngineReport(
                asked=options.asked,
                backend=backend,
                running=f"{tensorrt.TITLES[library.__name__]} on {here.name}",
                version=str(library.__version__),
                precision=options.precision,
                computes=computes(_information(library, self._engine)),
                memory_bytes=max(0, here.memory_free_bytes - gpu.memory()[0]),
                note=next(filter(None, notes), ""),
            )
            self._owned = owned.pop_all()
        self.slots = tuple(
            EngineSlot(index, slot.frames, slot.outputs) for index, slot in enumerate(self._slots)
        )

    def submit(self, slot: EngineSlot) -> None:
        """Queue the inference of the slot's frames.

        Raises:
            EngineError: the GPU or the engine refuses, or it is closed.
        """
        self._open(slot).submit()

    def wait(self, slot: EngineSlot, timeout_s: float | None = None) -> bool:
        """Whether the slot's outputs hold the results within `timeout_s`.

        Raises:
            EngineError: the inference failed, or the engine is closed.
        """
        return self._open(slot).wait(timeout_s)

    def close(self) -> None:
        """Wait for what runs, and free everything; idempotent."""
        self._owned.close()

    def _open(self, slot: EngineSlot) -> GpuSlot:
        if self._engine is None:
            raise EngineError("the engine is closed")
        return self._slots[slot.index]

    def _load(self, path: Path) -> Any:  # noqa: ANN401
        try:
            plan = path.read_bytes()
        except OSError as error:
            raise EngineError(
                f"engine: {path.name} cannot be read: {error.strerror}", hint=REBUILD_HINT
            ) from error
        self._heard.take()
        # The engine keeps its runtime, and a context its engine.
        engine = self._library.Runtime(self._heard).deserialize_cuda_engine(plan)
        if engine is None:
            raise self._failure(f"engine: {path.name} cannot be loaded", REBUILD_HINT)
        return engine

    def _inference(self, slot: GpuSlot, stream: Stream) -> partial[None]:
        context = self._engine.create_execution_context()
        if context is None:
            raise self._failure("engine: no execution context", REBUILD_HINT)
        for name, address in slot.addresses.items():
            if not context.set_tensor_address(name, address):
                raise self._failure(f"engine: {name}: its address is refused", REBUILD_HINT)
        return partial(self._execute, context, int(stream.handle))

    def _execute(self, context: Any, stream: int) -> None:  # noqa: ANN401
        self._heard.take()  # what was said before is not why
        if not context.execute_async_v3(stream):
            raise self._failure("the inference is refused")

    def _failure(self, what: str, hint: str = "") -> EngineError:
        """What went wrong and, where the library said it, why: the first of its errors.

        Raises:
            DeviceLostError: because the GPU is lost.
        """
        self._gpu.memory()
        return cuda.failure(": ".join([what, *self._heard.take()[:1]]), hint=hint)

    def _forget(self) -> None:
        self._slots = ()
        self._engine = None


def computes(information: str) -> Mapping[str, int]:
    """Convolutions and matrix products by the numbers that they read.

    Args:
        information: the engine inspector's JSON. It has more than names only where the engine
            was built with detailed profiling.

    Returns:
        As {"fp16": 70, "fp32": 2}; empty where nothing is told.
    """
    try:
        layers = json.loads(information).get("Layers", [])
    except (ValueError, AttributeError):
        return {}  # no JSON, or no object: an engine that tells nothing
    found: Counter[str] = Counter()
    for layer in layers:
        if isinstance(layer, dict) and _multiplies(layer):
            found.update(_numbers(layer))
    return dict(sorted(found.items()))


def _multiplies(layer: Mapping[str, Any]) -> bool:
    kind = f"{layer.get('LayerType', '')} {layer.get('ParameterType', '')}".lower()
    return any(word in kind for word in MULTIPLIES)


def _numbers(layer: Mapping[str, Any]) -> list[str]:
    """Of its first input, the data: one, or none where that is not told."""
    for tensor in layer.get("Inputs", [])[:1]:
        form = str(tensor.get("Format/Datatype", "")).lower()
        return [str(numbers) for word, numbers in NUMBERS if word in form][:1]
    return []


def _information(library: Any, engine: Any) -> str:  # noqa: ANN401
    inspector = engine.create_engine_inspector()
    return str(inspector.get_engine_information(library.LayerInformationFormat.JSON))


def _check_contract(library: Any, engine: Any, contract: ModelContract) -> None:  # noqa: ANN401
    """The engine's own inputs and outputs must be the contract's.

    Raises:
        EngineError: they are not.
    """
    types = {
        library.DataType.UINT8: "uint8",
        library.DataType.FLOAT: "float32",
        library.DataType.INT32: "int32",
    }
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    found = {
        name: (
            engine.get_tensor_mode(name) == library.TensorIOMode.INPUT,
            tuple(engine.get_tensor_shape(name)),
            types.get(engine.get_tensor_dtype(name), str(engine.get_tensor_dtype(name))),
        )
        for name in names
    }
    wanted = {
        spec.name: (spec is contract.input, spec.shape, spec.dtype)
        for spec in (contract.input, *contract.outputs)
    }
    if found != wanted:
        raise EngineError(f"engine: expected {wanted}, got {found}", hint=REBUILD_HINT)
