"""The machine in figures. No GPU is here: NVIDIA's library is a fake with its documented words."""

import json
import sys
from dataclasses import asdict
from types import ModuleType, SimpleNamespace

import psutil
import pytest

from appliance.pipeline.hardware import Gpu, Hardware, Temperature, find_nvml, read_temperatures


class NvmlError(Exception):
    pass


class NotSupportedError(NvmlError):
    pass


def fake_nvml(boards):
    """The part of pynvml that is used; a value that is an exception is raised."""
    nvml = ModuleType("pynvml")
    nvml.asked = 0

    def tell(value):
        if isinstance(value, Exception):
            raise value
        return value

    def count():
        nvml.asked += 1
        return tell(boards if isinstance(boards, Exception) else len(boards))

    vars(nvml).update(
        NVMLError=NvmlError,
        NVMLError_NotSupported=NotSupportedError,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=count,
        nvmlDeviceGetHandleByIndex=lambda index: boards[index],
        nvmlDeviceGetName=lambda board: board["name"],
        nvmlDeviceGetUtilizationRates=lambda board: SimpleNamespace(gpu=tell(board["busy"])),
        nvmlDeviceGetMemoryInfo=lambda board: tell(board["memory"]),
        nvmlDeviceGetTemperature=lambda board, _: tell(board["celsius"]),
    )
    return nvml


BOARD = {
    "name": "NVIDIA T1000",
    "busy": 38,
    "memory": SimpleNamespace(used=1_900_000_000, total=4_000_000_000),
    "celsius": 61,
}


def test_the_machine_is_read(tmp_path):
    """Disk, memory, load and cores of the machine that this runs on, and it can be written down."""
    reading = Hardware(tmp_path, find=lambda: None).reading()
    assert 0 < reading.disk_free_bytes <= reading.disk_total_bytes
    assert 0 <= reading.disk_used <= 1
    assert 0 < reading.station_bytes < reading.memory_total_bytes
    assert 0 < reading.memory_used_bytes <= reading.memory_total_bytes
    assert len(reading.load) == 3
    assert reading.cores >= 1
    assert reading.gpus == ()
    assert json.loads(json.dumps(asdict(reading)))["cores"] == reading.cores


def test_each_chip_tells_its_hottest_sensor(monkeypatch):
    """Ten cores make one line; a limit of 0 is what a kernel says that knows none."""
    sensor = SimpleNamespace
    found = {
        "coretemp": [sensor(current=51.0, high=80.0), sensor(current=63.0, high=80.0)],
        "acpitz": [sensor(current=27.8, high=0.0)],
        "nvme": [sensor(current=40.0, high=None)],
    }
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: found, raising=False)
    assert read_temperatures() == (
        Temperature("coretemp", 63.0, 80.0),
        Temperature("acpitz", 27.8, None),
        Temperature("nvme", 40.0, None),
    )


def test_a_machine_without_sensors_has_no_temperatures(monkeypatch):
    """Containers and virtual machines show none, and some systems not even the question."""
    monkeypatch.setattr(psutil, "sensors_temperatures", dict, raising=False)
    assert read_temperatures() == ()
    monkeypatch.delattr(psutil, "sensors_temperatures")
    assert read_temperatures() == ()


def test_a_gpu_is_read_whole(tmp_path):
    """Name, load, memory and temperature, by the library that is found once."""
    finds = []
    nvml = fake_nvml([BOARD, {**BOARD, "name": "NVIDIA L4"}])
    hardware = Hardware(tmp_path, find=lambda: finds.append(1) or nvml)
    first, second = hardware.reading().gpus
    assert first == Gpu("NVIDIA T1000", 0.38, 1_900_000_000, 4_000_000_000, 61)
    assert second.name == "NVIDIA L4"
    hardware.reading()
    assert (len(finds), nvml.asked) == (1, 2)


def test_what_a_board_does_not_tell_is_unknown(tmp_path):
    """A Jetson has no memory of its own and refuses the question; the rest is told."""
    board = {**BOARD, "busy": NotSupportedError(), "memory": NotSupportedError()}
    (gpu,) = Hardware(tmp_path, find=lambda: fake_nvml([board])).reading().gpus
    assert gpu == Gpu("NVIDIA T1000", None, None, None, 61)


@pytest.mark.parametrize("boards", [NvmlError("driver/library version mismatch"), []])
def test_a_driver_that_does_not_answer_is_no_gpu_and_no_end(tmp_path, boards):
    """A driver that was replaced under the station takes the GPU's figures, not the page."""
    assert Hardware(tmp_path, find=lambda: fake_nvml(boards)).reading().gpus == ()


def test_a_board_that_is_lost_while_it_is_read_is_no_end(tmp_path):
    """A board that fell off the bus fails with an error of its own."""
    lost = {**BOARD, "celsius": NvmlError("GPU is lost")}
    assert Hardware(tmp_path, find=lambda: fake_nvml([lost])).reading().gpus == ()


def test_without_nvidias_library_there_is_none(monkeypatch):
    """The package is no requirement: where it is missing, there is no GPU to tell of."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert find_nvml() is None


def test_without_a_driver_there_is_none(monkeypatch):
    """The package without a driver below it is a machine without a GPU."""
    nvml = fake_nvml([])

    def fail():
        raise NvmlError("NVML Shared Library Not Found")

    nvml.nvmlInit = fail
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert find_nvml() is None
    nvml.nvmlInit = lambda: None
    assert find_nvml() is nvml
