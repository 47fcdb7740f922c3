"""What a station tells Prometheus, and Prometheus' own tools to check it with."""

import re
import shutil
import subprocess

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from appliance.predictions import Instances, Result
from appliance.publish.metrics import Metrics
from appliance.readings import (
    CameraReading,
    EngineReading,
    PictureReading,
    SinkReading,
    StationReading,
    StoreReading,
)
from appliance.values import (
    CameraState,
    Drop,
    EngineState,
    FrameStamp,
    Health,
    Skip,
    Stage,
)

AWKWARD = 'He said "no" \\ twice\nand left'
DROPS = {Drop.NEWER: 2, Drop.BROKEN: 1}
OUR_METRIC = re.compile(r"\bappliance_[a-z0-9_]+")


def reading(health: Health = Health.DEGRADED) -> StationReading:
    """A station with two cameras and two engines, where everything has a figure."""
    cameras = (
        CameraReading(
            "door",
            "Door",
            "m",
            CameraState.LIVE,
            0.0,
            grabbed=10,
            inferred=7,
            dropped=3,
            drops=DROPS,
            reconnects=4,
        ),
        CameraReading("yard", "Yard", "m", CameraState.OFFLINE, 0.0),
    )
    engines = (
        EngineReading(
            "m",
            EngineState.RUNNING,
            "tensorrt",
            backend="cpu",
            version="1",
            precision="fp32",
            fallback="TensorRT is being built",
            sentence="Comparing with the original",
            progress=0.25,
            failures=6,
            replacements=1,
        ),
        EngineReading("n", EngineState.FAILED, "auto", version=AWKWARD),
    )
    return StationReading(
        0.0,
        health,
        (),
        cameras,
        engines,
        viewers=3,
        disk_used=0.25,
        log_lines={"info": 90, "warning": 5},
        start_s={Stage.FIRST_RESULT: 0.5},
        pictures={"door": PictureReading(sent=40, skips={Skip.VIEWER: 2})},
        saving={"verify_pictures": "Saving is paused"},
        sinks={"metrics": SinkReading(), "collector": SinkReading(3, "Some results are lost")},
        store=StoreReading(waiting=4, committed=50, failed=1, dropped=2),
    )


def result(*, inference_ms: float, age_ms: float) -> Result:
    """A result of the camera `door`, whose frame was taken at 1000 s."""
    stamp = FrameStamp(1, 0, 1000.0)
    return Result(
        "door", stamp, (64, 48), "detection", Instances.empty(), inference_ms, round(age_ms * 1e6)
    )


def families_of(text: str) -> dict[str, Metric]:
    """Every family by the name under which Prometheus knows it."""
    families = list(text_string_to_metric_families(text))
    return {
        family.name + ("_total" if family.type == "counter" else ""): family for family in families
    }


def exported() -> dict[str, Metric]:
    """Every family of a station that has had a result."""
    metrics = Metrics(reading, version="1.2.3")
    metrics.publish(result(inference_ms=15, age_ms=120))
    return families_of(metrics.render().decode())


def family_of(name: str, families: dict[str, Metric]) -> str | None:
    """The family that the series `name` belongs to: a histogram has three kinds of series."""
    if name in families and families[name].type != "histogram":
        return name
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    is_series = base != name and base in families and families[base].type == "histogram"
    return base if is_series else None


def promtool(*words: str, text: str = "") -> str:
    """What promtool has to say; it must find nothing wrong."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (package prometheus)")
    done = subprocess.run([tool, *words], input=text, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
