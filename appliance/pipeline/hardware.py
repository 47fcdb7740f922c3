"""What the machine is doing: disk, memory, load, heat, and NVIDIA GPUs where there are any.

Read when somebody looks, never in the way of a frame. The part about GPUs is written against the
documented interface of nvidia-ml-py and tested against a fake of it; it never ran on a GPU.
"""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import psutil
from loguru import logger

from appliance import resources
from appliance.resources import Cores, Memory

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Temperature:
    """The hottest sensor of one chip.

    Attributes:
        name: the chip's, as the kernel says it.
        celsius: now.
        high_celsius: from which its maker calls it hot; None where unknown.
    """

    name: str
    celsius: float
    high_celsius: float | None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU; None is what its driver does not tell.

    Attributes:
        name: the product's.
        load: share of the time in which it computed, 0..1.
        memory_used_bytes: by all programs.
        memory_total_bytes: all there is.
        celsius: now.
    """

    name: str
    load: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    celsius: float | None


@dataclass(frozen=True, slots=True)
class HardwareReading:
    """The machine at this moment.

    Attributes:
        disk_free_bytes: that this process may still write, on the state folder's disk.
        disk_total_bytes: of that disk.
        disk_used: share of it in use, 0..1.
        station_bytes: resident memory of this process.
        memory_used_bytes: of the whole machine, without what it can give back at once.
        memory_total_bytes: of the whole machine.
        load: programs that wanted a core, means of the last 1, 5 and 15 minutes.
        cores: logical ones.
        own_memory: what the station may take of the memory.
        own_cores: what it may use of the cores.
        temperatures: one for each chip that has a sensor; many machines show none.
        gpus: empty where there is no NVIDIA GPU or its driver does not answer.
    """

    disk_free_bytes: int
    disk_total_bytes: int
    disk_used: float
    station_bytes: int
    memory_used_bytes: int
    memory_total_bytes: int
    load: tuple[float, float, float]
    cores: int
    own_memory: Memory
    own_cores: Cores
    temperatures: tuple[Temperature, ...] = ()
    gpus: tuple[Gpu, ...] = ()


def find_nvml() -> ModuleType | None:
    """NVIDIA's library of readings, ready for use; None where it or the driver is missing."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        logger.info("hardware: no NVIDIA driver answers: {}", error)
        return None
    return nvml


class Hardware:
    """Reads the machine.

    Args:
        state_folder: whose disk is read.
        find: gives NVIDIA's library; asked once, when first needed.
    """

    def __init__(
        self, state_folder: Path, *, find: Callable[[], ModuleType | None] = find_nvml
    ) -> None:
        self._state_folder = state_folder
        self._find = find

    def reading(self) -> HardwareReading:
        """Everything at this moment; takes some milliseconds."""
        disk = psutil.disk_usage(str(self._state_folder))
        memory = psutil.virtual_memory()
        own_cores = resources.cores()
        return HardwareReading(
            disk_free_bytes=disk.free,
            disk_total_bytes=disk.total,
            disk_used=disk.percent / 100,
            station_bytes=psutil.Process().memory_info().rss,
            memory_used_bytes=memory.total - memory.available,
            memory_total_bytes=memory.total,
            load=os.getloadavg(),
            cores=own_cores.machine,
            own_memory=resources.memory(),
            own_cores=own_cores,
            temperatures=read_temperatures(),
            gpus=() if self._nvml is None else read_gpus(self._nvml),
        )

    @cached_property
    def _nvml(self) -> ModuleType | None:
        return self._find()


def read_temperatures() -> tuple[Temperature, ...]:
    """The hottest sensor of each chip; empty where the system shows none."""
    if not hasattr(psutil, "sensors_temperatures"):  # as on systems other than Linux
        return ()
    hottest = [
        (chip, max(sensors, key=lambda sensor: sensor.current))
        for chip, sensors in psutil.sensors_temperatures().items()
    ]
    return tuple(Temperature(chip, one.current, one.high or None) for chip, one in hottest)


def read_gpus(nvml: ModuleType) -> tuple[Gpu, ...]:
    """Each GPU that NVIDIA's library knows."""
    try:
        count = nvml.nvmlDeviceGetCount()
        return tuple(_gpu(nvml, index) for index in range(count))
    except nvml.NVMLError as error:  # a driver that was replaced, a board that fell off the bus
        logger.debug("hardware: the NVIDIA driver does not answer: {}", error)
        return ()


def _gpu(nvml: ModuleType, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)

    def told(ask: Callable[..., T], *words: object) -> T | None:
        """Boards without a sensor, or without memory of their own, refuse single questions."""
        try:
            return ask(handle, *words)
        except nvml.NVMLError_NotSupported:
            return None

    rates = told(nvml.nvmlDeviceGetUtilizationRates)
    memory = told(nvml.nvmlDeviceGetMemoryInfo)
    return Gpu(
        name=nvml.nvmlDeviceGetName(handle),
        load=None if rates is None else rates.gpu / 100,
        memory_used_bytes=None if memory is None else memory.used,
        memory_total_bytes=None if memory is None else memory.total,
        celsius=told(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
    )
