"""TensorRT: engines for one GPU, or for its relatives. Never ran on a GPU."""

from functools import partial
from pathlib import Path

from appliance.engines import Backend, EngineOptions, EngineReport, EngineSlot
from appliance.runtimes import BuildOptions, Device, cuda, tensorrt
from appliance.runtimes.tensorrt.building import build_engine
from appliance.runtimes.tensorrt.running import Runner
from appliance.values import ModelContract, Precision

LIBRARY = "tensorrt"


class TensorRtEngine(Runner):
    """An engine and a stream of work for each frame in flight."""

    def __init__(self, path: Path, contract: ModelContract, options: EngineOptions) -> None:
        gpu = cuda.find()
        name = gpu.device().name
        super().__init__(tensorrt.library(LIBRARY), gpu, path, contract, options.in_flight)
        self.slots = tuple(
            EngineSlot(index, slot.frames, slot.outputs)
            for index, slot in enumerate(self.gpu_slots)
        )
        self.report = EngineReport(
            asked=options.asked,
            backend="tensorrt",
            running=f"{tensorrt.TITLES[LIBRARY]} on {name}",
            version=tensorrt.version(LIBRARY),
            precision=options.precision,
            computes=self.computes,
            memory_bytes=self.memory_bytes,
            note=self.note,
        )


def device() -> Device:
    """The first GPU."""
    return cuda.find().device()


def bound_to(options: BuildOptions) -> str:
    """The GPU, or its relatives, and what lies below the library."""
    here = device()
    kind = {
        "none": f"{here.name} {here.arch}",
        "same_compute_capability": f"same_compute_capability {here.arch}",
    }
    return f"{kind.get(options.compatibility, options.compatibility)} {here.software}"


ENGINE = Backend(
    name="tensorrt",
    title=tensorrt.TITLES[LIBRARY],
    rungs=(Precision.FP16, Precision.FP32),
    version=partial(tensorrt.version, LIBRARY),
    device=device,
    bound_to=bound_to,
    build=partial(build_engine, LIBRARY),
    load=TensorRtEngine,
)
