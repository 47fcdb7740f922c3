"""TensorRT: engines for one GPU, or for its relatives. Never ran on a GPU."""

from functools import partial
from typing import Final

from appliance.engines import Backend
from appliance.runtimes import BuildOptions, Device, cuda, tensorrt
from appliance.runtimes.tensorrt.building import build_engine
from appliance.runtimes.tensorrt.running import load_engine
from appliance.values import Precision

VERSION: Final = 1  # what is built
LIBRARY = "tensorrt"


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
    load=partial(load_engine, "tensorrt", LIBRARY),
)
