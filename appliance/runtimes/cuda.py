"""CUDA's runtime, as far as engines need it: the device, memory, streams, events and graphs.

The calls follow the documentation of CUDA 13 and of `cuda.bindings.runtime`; what is tested here
is tested on a stand-in for it: this module never ran on a GPU.

Everything that is taken from the driver is owned by an object with `close`, which is idempotent;
an object that is closed raises EngineError when it is used. Only the first GPU is used:
CUDA_VISIBLE_DEVICES says which one that is.
"""

import ctypes
import importlib
import math
import re
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from appliance.errors import DeviceError, DeviceLostError, EngineError
from appliance.runtimes import Device
from appliance.values import TensorSpec

GPU: Final = 0
DRIVER_LIBRARY: Final = "libcuda.so.1"
SHORTEST_PAUSE_S: Final = 0.00005
LONGEST_PAUSE_S: Final = 0.0005
MEMORY_HINT: Final = (
    "Take a smaller model or fewer models, set APPLIANCE_ENGINE__IN_FLIGHT=1, or end what else "
    "uses this GPU; APPLIANCE_ENGINE__MEMORY_MB says how much all engines may take."
)
LOST_HINT: Final = (
    "Restart the appliance. If it happens again, look at the GPU's power, heat and driver."
)
PACKAGE_HINT: Final = "Install one extra: cuda, rtx or jetson."
DRIVER_HINT: Final = (
    "Install NVIDIA's driver, or a newer one; in a container, give it the GPU (--gpus all)."
)
LOST: Final = frozenset(
    f"cudaError{name}"
    for name in (
        # "The process must be terminated and relaunched", says the documentation.
        "Assert",
        "Contained",
        "ExternalDevice",
        "HardwareStackError",
        "IllegalAddress",
        "IllegalInstruction",
        "InvalidAddressSpace",
        "InvalidPc",
        "LaunchFailure",
        "LaunchTimeout",
        "MisalignedAddress",
        "MpsClientTerminated",
        "TensorMemoryLeak",
        # What a GPU that broke or fell off its bus is known to answer with.
        "ContextIsDestroyed",
        "ECCUncorrectable",
        "NvlinkUncorrectable",
        "Unknown",
    )
)
"""After one of these every call of this process fails."""

_NO_ROOM = re.compile(r"out of memory|outofmemory|could not be allocated|failed to allocate", re.I)


def find() -> "Cuda":
    """The first GPU.

    Raises:
        EngineError: the package is not installed.
        DeviceError: there is no GPU, or no driver that is new enough.
    """
    if not has_driver():  # the package takes 11 MB to find that out
        raise DeviceError("there is no NVIDIA driver", hint=DRIVER_HINT)
    try:
        runtime = importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise EngineError("cuda-bindings is not installed", hint=PACKAGE_HINT) from error
    return Cuda(runtime)


def has_driver() -> bool:
    """Whether the driver's library is here, whatever it can do."""
    try:
        ctypes.CDLL(DRIVER_LIBRARY)
    except OSError:
        return False
    return True


def failure(what: str, *, hint: str = "") -> EngineError:
    """The error for what a library says, which may be that it had no room."""
    if _NO_ROOM.search(what):
        return DeviceError(what, hint=MEMORY_HINT)
    return EngineError(what, hint=hint)


class Cuda:
    """The first GPU, found.

    Args:
        runtime: the module `cuda.bindings.runtime`.
        root: of the file system that tells the driver's version.

    Attributes:
        runtime: the module.
        integrated: the GPU computes in the host's own memory.

    Raises:
        DeviceError: there is no GPU, or no driver that is new enough.
    """

    def __init__(self, runtime: Any, *, root: Path = Path("/")) -> None:  # noqa: ANN401
        self.runtime = runtime
        self._root = root
        self._success = runtime.cudaError_t.cudaSuccess
        self._count_devices()
        self._properties = self.call("cudaGetDeviceProperties", GPU)
        facts = self._properties
        self.integrated = bool(facts.integrated and facts.canMapHostMemory)

    def call(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401
        """What a call returns beside its code: nothing, a value or several.

        Raises:
            DeviceLostError: this process can use the GPU no more.
            DeviceError: any other code than success.
        """
        code, *results = getattr(self.runtime, name)(*arguments)
        self.check(name, code)
        return results[0] if len(results) == 1 else tuple(results)

    def check(self, call: str, code: Any) -> None:  # noqa: ANN401
        """Turn a call's code into an error, unless it is success.

        Raises:
            DeviceLostError: this process can use the GPU no more.
            DeviceError: any other code than success.
        """
        if code == self._success:
            return
        name = _name(code)
        if name in LOST:
            raise DeviceLostError(f"the GPU is lost: {call}: {name}", hint=LOST_HINT)
        if name == "cudaErrorMemoryAllocation":
            raise DeviceError(f"the GPU has no room: {call}: {name}", hint=MEMORY_HINT)
        raise DeviceError(f"the GPU refuses: {call}: {name}", hint=LOST_HINT)

    def release(self, name: str, handle: Any) -> None:  # noqa: ANN401
        """Give back what was taken.

        Raises:
            DeviceError: the driver refuses.
        """
        try:
            self.call(name, handle)
        except DeviceLostError:
            return  # with the device went everything that was on it

    def memory(self) -> tuple[int, int]:
        """Free and total bytes.

        Raises:
            DeviceError: the GPU does not answer.
        """
        free_bytes, total_bytes = self.call("cudaMemGetInfo")
        return free_bytes, total_bytes

    def device(self) -> Device:
        """What it is, and what is free.

        Raises:
            DeviceError: the GPU does not answer.
        """
        facts = self._properties
        free_bytes, total_bytes = self.memory()
        return Device(
            name=facts.name.decode(),
            arch=f"sm_{facts.major}{facts.minor}",
            software=self._software(),
            serial=f"GPU-{uuid.UUID(bytes=bytes(facts.uuid.bytes))}",
            memory_bytes=total_bytes,
            memory_free_bytes=free_bytes,
        )

    def _count_devices(self) -> None:
        code, count = self.runtime.cudaGetDeviceCount()
        if code == self._success and count:
            return
        if _name(code) != "cudaErrorUnknown" and _name(code) in LOST:
            self.check("cudaGetDeviceCount", code)
        version = self.call("cudaDriverGetVersion")  # 0 where there is none; needs no GPU
        driver = f"the driver is for CUDA {_dotted(version)}" if version else "there is no driver"
        raise DeviceError(f"CUDA finds no GPU, {driver} ({_name(code)})", hint=DRIVER_HINT)

    def _software(self) -> str:
        driver = self._text("sys/module/nvidia/version")
        tegra = re.search(r"R(\d+).*REVISION: ([\d.]+)", self._text("etc/nv_tegra_release"))
        parts = (
            f"driver {driver}" if driver else "",
            f"CUDA {_dotted(self.call('cudaDriverGetVersion'))}",
            f"L4T {tegra[1]}.{tegra[2]}" if tegra else "",
        )
        return ", ".join(part for part in parts if part)

    def _text(self, path: str) -> str:
        """A small file of the system's; empty where this system has none."""
        file = self._root / path
        return file.read_text(encoding="utf-8", errors="replace").strip() if file.is_file() else ""


class Closing:
    """What must be closed, and is when its `with` ends."""

    def close(self) -> None:
        """Give everything back; idempotent."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Owned(Closing):
    """Something of the driver's, given back once."""

    def __init__(self, cuda: Cuda, handle: Any, *, release: str) -> None:  # noqa: ANN401
        self._cuda = cuda
        self._handle = handle
        self._release = release

    @property
    def handle(self) -> Any:  # noqa: ANN401
        """As the driver's calls take it.

        Raises:
            EngineError: it is closed.
        """
        if self._handle is None:
            raise EngineError(f"{type(self).__name__.lower()}: used after it was closed")
        return self._handle

    @override
    def close(self) -> None:
        """Give it back; idempotent.

        Raises:
            DeviceError: the driver refuses.
        """
        handle, self._handle = self._handle, None
        if handle is not None:
            self._cuda.release(self._release, handle)


class DeviceMemory(Owned):
    """Bytes on the GPU; the handle is their address.

    Raises:
        DeviceError: there is no room.
    """

    def __init__(self, cuda: Cuda, size_bytes: int) -> None:
        super().__init__(cuda, cuda.call("cudaMalloc", size_bytes), release="cudaFree")


class HostMemory(Owned):
    """Bytes of the host's that the GPU copies by itself; the handle is their address.

    On an integrated GPU they are mapped: it computes in them.

    Attributes:
        device_address: where the GPU finds them; 0 where it must copy.

    Raises:
        DeviceError: there is no room.
    """

    def __init__(self, cuda: Cuda, size_bytes: int) -> None:
        flags = cuda.runtime.cudaHostAllocMapped if cuda.integrated else 0
        address = cuda.call("cudaHostAlloc", size_bytes, flags)
        super().__init__(cuda, address, release="cudaFreeHost")
        self.size_bytes = size_bytes
        self.device_address = 0
        if cuda.integrated:
            try:
                self.device_address = int(cuda.call("cudaHostGetDevicePointer", address, 0))
            except DeviceError:
                self.close()
                raise

    def array(self, spec: TensorSpec) -> NDArray[Any]:
        """The bytes as a tensor of zeros, valid until this is closed."""
        data = (ctypes.c_uint8 * self.size_bytes).from_address(self.handle)
        result = np.ctypeslib.as_array(data).view(spec.dtype).reshape(spec.shape)
        result.fill(0)
        return result


class Buffer(Closing):
    """One tensor as both sides see it: the host's array, and where the GPU has it.

    Args:
        cuda: the GPU.
        spec: the tensor.

    Attributes:
        spec: the tensor.
        array: of the spec's shape and dtype, in pinned memory; valid until this is closed.
        address: where the GPU computes: in memory of its own, or, if it is integrated, in the
            array itself; then there is nothing to copy.

    Raises:
        DeviceError: there is no room.
    """

    def __init__(self, cuda: Cuda, spec: TensorSpec) -> None:
        self._cuda = cuda
        self.spec = spec
        self.size_bytes = math.prod(spec.shape) * np.dtype(spec.dtype).itemsize
        with ExitStack() as owned:
            self._host = owned.enter_context(HostMemory(cuda, self.size_bytes))
            self._own: DeviceMemory | None = None
            self.address = self._host.device_address
            if not self.address:
                self._own = owned.enter_context(DeviceMemory(cuda, self.size_bytes))
                self.address = int(self._own.handle)
            self.array = self._host.array(spec)
            self._owned = owned.pop_all()

    def upload(self, stream: "Stream") -> None:
        """Queue the copy of the host's array to the GPU.

        Raises:
            EngineError: the GPU refuses, or something is closed.
        """
        if self._own:
            self._copy(self._own, self._host, "cudaMemcpyHostToDevice", stream)

    def download(self, stream: "Stream") -> None:
        """Queue the copy of the GPU's tensor into the host's array.

        Raises:
            EngineError: the GPU refuses, or something is closed.
        """
        if self._own:
            self._copy(self._host, self._own, "cudaMemcpyDeviceToHost", stream)

    def _copy(self, into: Owned, source: Owned, kind: str, stream: "Stream") -> None:
        way = getattr(self._cuda.runtime.cudaMemcpyKind, kind)
        size = self.size_bytes
        self._cuda.call("cudaMemcpyAsync", into.handle, source.handle, size, way, stream.handle)

    @override
    def close(self) -> None:
        """Give the memory back; idempotent. Nothing may be at work in it."""
        self._owned.close()


class Stream(Owned):
    """Work in the order in which it was queued, beside that of other streams.

    Raises:
        DeviceError: the GPU refuses.
    """

    def __init__(self, cuda: Cuda) -> None:
        flags = cuda.runtime.cudaStreamNonBlocking
        handle = cuda.call("cudaStreamCreateWithFlags", flags)
        super().__init__(cuda, handle, release="cudaStreamDestroy")

    def synchronize(self) -> None:
        """Wait for all that is queued.

        Raises:
            EngineError: some of it failed, or the stream is closed.
        """
        self._cuda.call("cudaStreamSynchronize", self.handle)

    def drain(self) -> None:
        """Wait until nothing is at work, whether it succeeds or not; also on a closed stream.

        Raises:
            DeviceError: the GPU refuses.
        """
        if self._handle is None:
            return
        try:
            self.synchronize()
        except DeviceLostError:
            return  # nothing works on a GPU that is lost

    def capture(self, work: Callable[[], None]) -> "Graph":
        """What `work` queues on this stream, as a graph; nothing of it runs.

        Other threads may use the GPU meanwhile.

        Raises:
            EngineError: some of it cannot be captured; the stream is as it was before.
        """
        mode = self._cuda.runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._cuda.call("cudaStreamBeginCapture", self.handle, mode)
        try:
            work()
        except BaseException:
            self._abandon_capture()
            raise
        graph = self._cuda.call("cudaStreamEndCapture", self.handle)
        try:
            return Graph(self._cuda, graph, self)
        finally:
            self._cuda.release("cudaGraphDestroy", graph)

    def _abandon_capture(self) -> None:
        """End it. The driver may say again that it failed, which is known."""
        success = self._cuda.runtime.cudaError_t.cudaSuccess
        code, graph = self._cuda.runtime.cudaStreamEndCapture(self.handle)
        if code == success and graph is not None:
            self._cuda.release("cudaGraphDestroy", graph)

    @override
    def close(self) -> None:
        """Wait for what runs, and give the stream back; idempotent."""
        try:
            self.drain()
        finally:
            super().close()


class Graph(Owned):
    """Work that was captured, to be queued again and again by one call.

    Args:
        cuda: the GPU.
        graph: what was captured; still the caller's.
        stream: where it is launched.

    Raises:
        DeviceError: the GPU refuses.
    """

    def __init__(self, cuda: Cuda, graph: Any, stream: Stream) -> None:  # noqa: ANN401
        handle = cuda.call("cudaGraphInstantiate", graph, 0)
        super().__init__(cuda, handle, release="cudaGraphExecDestroy")
        self._stream = stream

    def launch(self) -> None:
        """Queue it.

        Raises:
            EngineError: the GPU refuses, or something is closed.
        """
        self._cuda.call("cudaGraphLaunch", self.handle, self._stream.handle)

    @override
    def close(self) -> None:
        """Wait for what runs, and give the graph back; idempotent."""
        try:
            self._stream.drain()
        finally:
            super().close()


class Event(Owned):
    """A mark in a stream's work.

    Raises:
        DeviceError: the GPU refuses.
    """

    def __init__(self, cuda: Cuda) -> None:
        flags = cuda.runtime.cudaEventDisableTiming
        handle = cuda.call("cudaEventCreateWithFlags", flags)
        super().__init__(cuda, handle, release="cudaEventDestroy")

    def record(self, stream: Stream) -> None:
        """Put the mark behind what is queued now.

        Raises:
            EngineError: the GPU refuses, or something is closed.
        """
        self._cuda.call("cudaEventRecord", self.handle, stream.handle)

    def done(self) -> bool:
        """Whether the work before the mark is over.

        Raises:
            EngineError: some of it failed, or the event is closed.
        """
        (code,) = self._cuda.runtime.cudaEventQuery(self.handle)
        if code == self._cuda.runtime.cudaError_t.cudaErrorNotReady:
            return False
        self._cuda.check("cudaEventQuery", code)
        return True

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether the work before the mark is over within `timeout_s`; None waits for it.

        It sleeps between questions: a wait of the driver's own would keep a core busy.

        Raises:
            EngineError: some of it failed, or the event is closed.
        """
        deadline_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        pause_s = SHORTEST_PAUSE_S
        while not self.done():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return True


def _name(code: Any) -> str:  # noqa: ANN401
    return str(getattr(code, "name", code))


def _dotted(version: int) -> str:
    """As 13020 to 13.2."""
    return f"{version // 1000}.{version % 1000 // 10}"
