"""What the System page says of the machine: its figures, and what the station takes of it."""

from collections.abc import Iterator
from dataclasses import dataclass

from appliance.pipeline.hardware import Gpu, HardwareReading, Temperature
from appliance.readings import StationReading
from appliance.resources import Limit
from appliance.texts import Texts

DISK_FULL = 0.9
GPU_BACKENDS = ("tensorrt", "cuda", "rtx")


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of the machine.

    Attributes:
        title: what is measured.
        figure: with its unit.
        rest: what follows in smaller letters.
        share: 0..1 for a bar; None draws none.
        tone: "warn" where it needs a look.
    """

    title: str
    figure: str
    rest: str = ""
    share: float | None = None
    tone: str = ""


def measures(
    hardware: HardwareReading, reading: StationReading, state_folder: str, texts: Texts
) -> Iterator[Measure]:
    """The machine, and what the station takes of it."""
    yield Measure(
        texts("Disk of {folder}", folder=state_folder),
        _gb(hardware.disk_free_bytes, texts),
        texts("GB free of {total} GB", total=_gb(hardware.disk_total_bytes, texts)),
        hardware.disk_used,
        "warn" if hardware.disk_used >= DISK_FULL else "",
    )
    yield Measure(
        texts("Memory of the machine"),
        _gb(hardware.memory_used_bytes, texts),
        texts("of {total} GB in use", total=_gb(hardware.memory_total_bytes, texts)),
        hardware.memory_used_bytes / hardware.memory_total_bytes,
    )
    yield from _allowed(hardware, texts)
    yield Measure(
        texts("Memory of the station"), texts.number(hardware.station_bytes / 1e6, 0), "MB"
    )
    first, *others = (texts.number(load, 1) for load in hardware.load)
    cores = texts.plural(
        "{loads} on {count} core",
        "{loads} on {count} cores",
        hardware.cores,
        loads=" ".join(others),
    )
    yield Measure(texts("Load of 1, 5, 15 min"), first, cores)
    for sensor in hardware.temperatures:
        yield _temperature(sensor, texts)
    for gpu in hardware.gpus:
        yield from _gpu(gpu, texts)
    if not hardware.gpus and any(
        backend in engine.asked for engine in reading.engines for backend in GPU_BACKENDS
    ):
        yield Measure("NVIDIA GPU", texts("none found"), tone="warn")
    yield Measure(texts("Open live views"), texts.whole(reading.viewers))


def _allowed(hardware: HardwareReading, texts: Texts) -> Iterator[Measure]:
    """What the station may use where that is less than the machine has, and by which limit."""
    memory, cores = hardware.own_memory, hardware.own_cores
    if memory.limit is Limit.GROUP:
        used_bytes = memory.total_bytes - memory.available_bytes
        yield Measure(
            texts("Memory that the station may take"),
            _gb(used_bytes, texts),
            texts(
                "of {total} GB in use; the limit of its container or service",
                total=_gb(memory.total_bytes, texts),
            ),
            used_bytes / memory.total_bytes,
        )
    if cores.limit is not Limit.MACHINE:
        count = texts.whole(cores.machine)
        yield Measure(
            texts("Cores that the station may use"),
            texts.whole(cores.logical),
            texts("of {count}; the limit of its container or service", count=count)
            if cores.limit is Limit.GROUP
            else texts("of {count}; its CPU affinity", count=count),
        )


def _temperature(sensor: Temperature, texts: Texts) -> Measure:
    high = sensor.high_celsius
    rest = "°C" if high is None else texts("°C, hot from {high}", high=texts.number(high, 0))
    return Measure(
        texts("Temperature, {sensor}", sensor=sensor.name),
        texts.number(sensor.celsius, 0),
        rest,
        tone="warn" if high is not None and sensor.celsius >= high else "",
    )


def _gpu(gpu: Gpu, texts: Texts) -> Iterator[Measure]:
    load = texts.number(None if gpu.load is None else gpu.load * 100, 0)
    heat = "" if gpu.celsius is None else f", {texts.number(gpu.celsius, 0)} °C"
    yield Measure(gpu.name, load, texts("% busy") + heat, gpu.load)
    if gpu.memory_used_bytes is not None and gpu.memory_total_bytes:
        yield Measure(
            texts("Memory of {name}", name=gpu.name),
            _gb(gpu.memory_used_bytes, texts),
            texts("of {total} GB in use", total=_gb(gpu.memory_total_bytes, texts)),
            gpu.memory_used_bytes / gpu.memory_total_bytes,
        )


def _gb(size_bytes: int, texts: Texts) -> str:
    return texts.number(size_bytes / 1e9, 1)
