"""TensorRT for RTX: engines that the GPU's own machine compiles when it loads them.

So they may be built where there is no GPU. Never ran on a GPU.
"""

from functools import partial
from typing import Final

from appliance.engines import Backend
from appliance.errors import EngineError
from appliance.runtimes import BuildOptions, Device, cuda, tensorrt
from appliance.runtimes.tensorrt.building import build_engine
from appliance.runtimes.tensorrt.running import load_engine
from appliance.values import Precision

VERSION: Final = 1  # what is built
LIBRARY = "tensorrt_rtx"
# What its engines are for unless they are built for sm_75 alone, which would be another file.
ARCHS = ("sm_80", "sm_86", "sm_89", "sm_120", "sm_121")


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
    load=partial(load_engine, "rtx", LIBRARY),
)
