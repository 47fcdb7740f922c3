"""Memory on the GPU and on the host, and one tensor in both."""

import ctypes
import math
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from appliance.errors import DeviceError
from appliance.runtimes.cuda import Cuda
from appliance.runtimes.cuda.owned import Closing, Owned
from appliance.runtimes.cuda.work import Stream
from appliance.values import TensorSpec


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

    def upload(self, stream: Stream) -> None:
        """Queue the copy of the host's array to the GPU.

        Raises:
            EngineError: the GPU refuses, or something is closed.
        """
        if self._own:
            self._copy(self._own, self._host, "cudaMemcpyHostToDevice", stream)

    def download(self, stream: Stream) -> None:
        """Queue the copy of the GPU's tensor into the host's array.

        Raises:
            EngineError: the GPU refuses, or something is closed.
        """
        if self._own:
            self._copy(self._host, self._own, "cudaMemcpyDeviceToHost", stream)

    def _copy(self, into: Owned, source: Owned, kind: str, stream: Stream) -> None:
        way = getattr(self._cuda.runtime.cudaMemcpyKind, kind)
        size = self.size_bytes
        self._cuda.call("cudaMemcpyAsync", into.handle, source.handle, size, way, stream.handle)

    @override
    def close(self) -> None:
        """Give the memory back; idempotent. Nothing may be at work in it."""
        self._owned.close()
