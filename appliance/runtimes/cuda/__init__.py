"""CUDA's runtime, as far as engines need it: the device here, memory and work beside it.

The calls follow the documentation of CUDA 13 and of `cuda.bindings.runtime`; what is tested here
is tested on a stand-in for it: this module never ran on a GPU.

Everything that is taken from the driver is owned by an object with `close`, which is idempotent;
an object that is closed raises EngineError when it is used. Only the first GPU is used:
CUDA_VISIBLE_DEVICES says which one that is.
"""

import ctypes
import importlib
import re
import uuid
from pathlib import Path
from typing import Any, Final

from appliance.errors import DeviceError, DeviceLostError, EngineError
from appliance.runtimes import Device

GPU: Final = 0
DRIVER_LIBRARY: Final = "libcuda.so.1"
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


def _name(code: Any) -> str:  # noqa: ANN401
    return str(getattr(code, "name", code))


def _dotted(version: int) -> str:
    """As 13020 to 13.2."""
    return f"{version // 1000}.{version % 1000 // 10}"
