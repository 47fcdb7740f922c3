"""What Prometheus scrapes."""

import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.publish.metrics import Metrics
from appliance.readings import CameraReading, EngineReading, StationReading
from appliance.values import CameraState, Detections, EngineState, FrameStamp, Health, Result

AWKWARD = 'He said "no" \\ twice\nand left'


def reading(health=Health.DEGRADED):
    cameras = (
        CameraReading("door", "Door", "m", CameraState.LIVE, 0.0, grabbed=9, inferred=7, dropped=2),
        CameraReading("yard", "Yard", "m", CameraState.OFFLINE, 0.0),
    )
    engines = (
        EngineReading(
            "m", EngineState.RUNNING, "auto", backend="onnxruntime", version="1", precision="fp32"
        ),
        EngineReading("n", EngineState.FAILED, "auto", version=AWKWARD),
    )
    return StationReading(0.0, health, (), cameras, engines, viewers=3)


@pytest.fixture
def metrics():
    """The metrics of a station with two cameras and two engines."""
    return Metrics(reading, version="1.2.3")


def samples(metrics):
    """Every sample by name and labels."""
    text = metrics.render().decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def result(*, inference_ms, age_ms):
    return Result(
        "door",
        FrameStamp(1, 0, 0.0),
        (64, 48),
        Detections.empty(),
        inference_ms,
        round(age_ms * 1e6),
    )


def test_the_station_is_told_in_figures(metrics):
    """Readiness, viewers, cameras and engines are there, each under its own labels."""
    found = samples(metrics)
    assert found["appliance_ready",] == 1
    assert found["appliance_viewers",] == 3
    assert found["appliance_frames_grabbed_total", ("camera", "door")] == 9
    assert found["appliance_frames_inferred_total", ("camera", "door")] == 7
    assert found["appliance_frames_dropped_total", ("camera", "door")] == 2
    assert found["appliance_frames_dropped_total", ("camera", "yard")] == 0
    assert found["appliance_engine_running", ("model", "m")] == 1
    assert found["appliance_engine_running", ("model", "n")] == 0
    assert found["appliance_build_info", ("version", "1.2.3")] == 1


def test_a_camera_is_in_exactly_one_state(metrics):
    """Each camera has all states, one of them set."""
    states = {key: v for key, v in samples(metrics).items() if key[0] == "appliance_camera_state"}
    assert len(states) == 2 * len(CameraState)
    on = {(dict(key[1:])["camera"], dict(key[1:])["state"]) for key, v in states.items() if v}
    assert on == {("door", "live"), ("yard", "offline")}


@pytest.mark.parametrize("health", Health)
def test_ready_follows_the_health(health):
    """Degraded is ready; starting and failed are not."""
    found = samples(Metrics(lambda: reading(health), version="1"))
    assert found["appliance_ready",] == (health in {Health.READY, Health.DEGRADED})


def test_times_are_in_seconds(metrics):
    """Results are counted in histograms of seconds, whatever unit they are measured in."""
    metrics.observe(result(inference_ms=15, age_ms=120))
    metrics.observe(result(inference_ms=45, age_ms=60))
    found = samples(metrics)
    door = ("camera", "door")
    assert found["appliance_inference_seconds_count", door] == 2
    assert found["appliance_inference_seconds_sum", door] == pytest.approx(0.06)
    assert found["appliance_result_age_seconds_sum", door] == pytest.approx(0.18)
    assert found["appliance_inference_seconds_bucket", door, ("le", "0.02")] == 1
    assert found["appliance_inference_seconds_bucket", door, ("le", "0.05")] == 2


def test_names_follow_the_conventions(metrics):
    """Counters end in _total, nothing else does, and every family has our prefix and a help."""
    metrics.observe(result(inference_ms=15, age_ms=120))
    families = list(text_string_to_metric_families(metrics.render().decode()))
    assert len(families) >= 9
    for family in families:
        assert family.name.startswith("appliance_")
        assert family.documentation
        totals = [sample.name.endswith("_total") for sample in family.samples]
        assert all(totals) if family.type == "counter" else not any(totals)


def test_any_text_may_stand_in_a_label(metrics):
    """Quotes, backslashes and line ends come back as they were."""
    versions = {dict(key[1:])["version"] for key in samples(metrics) if key[0].endswith("e_info")}
    assert versions == {"1", AWKWARD}


def test_prometheus_own_linter_has_nothing_to_say(metrics):
    """`promtool check metrics` accepts names, units and helps."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (package prometheus)")
    metrics.observe(result(inference_ms=15, age_ms=120))
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=metrics.render(), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stderr.decode()) == (0, "")
