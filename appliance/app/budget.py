"""The memory that all engines together may take of the devices that they run on."""

import threading
from collections.abc import Mapping

from appliance.engines import Backend
from appliance.errors import DeviceError

MIB = 1024 * 1024
SETTING = "APPLIANCE_ENGINE__MEMORY_MB"


class Budget:
    """Grants memory to engines before they are loaded, and takes it back; from any thread.

    Args:
        limit_mb: MiB of one device for all engines on it; 0 is what is free when asked.
    """

    def __init__(self, limit_mb: int) -> None:
        self._limit_bytes = limit_mb * MIB
        self._granted: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def grant(self, model: str, backend: Backend, needed_bytes: int) -> None:
        """Note what an engine is about to take; a model's engine takes the place of its old one.

        Args:
            model: whose engine it is.
            backend: what runs it.
            needed_bytes: what it held when it was verified; 0 where that is unknown.

        Raises:
            DeviceError: there is no room, with the figures.
        """
        device = backend.device()
        others = self._others(model, device.serial)
        if self._limit_bytes and sum(others.values()) + needed_bytes > self._limit_bytes:
            parts = {**others, model: needed_bytes}
            told = " + ".join(f"{name} {_mb(size)}" for name, size in parts.items())
            raise DeviceError(
                f"{model}: engines on {device.name} would take {told} = "
                f"{_mb(sum(parts.values()))} MB, {SETTING} allows {_mb(self._limit_bytes)} MB",
                hint=f"Raise {SETTING}, or use fewer or smaller models.",
            )
        if needed_bytes > device.memory_free_bytes:
            raise DeviceError(
                f"{model}: needs {_mb(needed_bytes)} MB of {device.name}, where "
                f"{_mb(device.memory_free_bytes)} of {_mb(device.memory_bytes)} MB are free",
                hint="Use fewer or smaller models, or end what else uses this memory.",
            )
        with self._lock:
            self._granted[model, device.serial] = needed_bytes

    def release(self, model: str) -> None:
        """A model's engines are gone, whatever they ran on."""
        with self._lock:
            self._granted = {key: size for key, size in self._granted.items() if key[0] != model}

    def _others(self, model: str, serial: str) -> Mapping[str, int]:
        with self._lock:
            return {
                name: size
                for (name, place), size in self._granted.items()
                if place == serial and name != model
            }


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / MIB:,.0f}"
