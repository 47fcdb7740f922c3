"""TensorRT for RTX: engines that the GPU's own machine compiles when it loads them.

So they may be built where there is no GPU. Never ran on a GPU.
"""

from functools import partial
from pathlib import Path

from appliance.engines import Backend, EngineOptions, EngineReport, EngineSlot
from appliance.errors import EngineError
from appliance.runtimes import BuildOptions, Device, cuda, tensorrt
from appliance.runtimes.tensorrt.building import build_engine
from appliance.runtimes.tensorrt.running import Runner
from appliance.values import ModelContract, Precision

LIBRARY = "tensorrt_rtx"
ARCHS = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_120", "sm_121")


class RtxEngine(Runner):
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
            backend="rtx",
            running=f"{tensorrt.TITLES[LIBRARY]} on {name}",
            version=tensorrt.version(LIBRARY),
            precision=options.precision,
            computes=self.computes,
            memory_bytes=self.memory_bytes,
            note=self.note,
        )


def device() -> Device:
    """The first GPU.

    Raises:
        EngineError: there is none, or the library does not know its kind.
    """
    found = cuda.find().device()
    if found.arch not in ARCHS:
        raise EngineError(
            f"TensorRT for RTX runs on {', '.join(ARCHS)}; {found.name} is {found.arch}",
            hint="Set APPLIANCE_ENGINE__BACKEND=auto, tensorrt or cuda.",
        )
    return found


def bound_to(_options: BuildOptions) -> str:
    """Nothing: one file serves every GPU that the library knows."""
    return ""


ENGINE = Backend(
    name="rtx",
    title=tensorrt.TITLES[LIBRARY],
    rungs=(Precision.FP16, Precision.FP32),
    version=partial(tensorrt.version, LIBRARY),
    device=device,
    bound_to=bound_to,
    build=partial(build_engine, LIBRARY),
    load=RtxEngine,
)
