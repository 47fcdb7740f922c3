"""What Prometheus scrapes."""

import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.publish.metrics import Metrics
from appliance.readings import EngineReading
from appliance.values import CameraState, Drop, EngineState, Health, Skip
from tests.support.metrics import AWKWARD, exported, promtool, reading, result
from tests.support.web import TOKEN, make_web

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(appliance_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", re.MULTILINE)


@pytest.fixture
def metrics():
    """The metrics of a station with two cameras and two engines."""
    return Metrics(reading, version="1.2.3")


def samples(metrics):
    """Every sample by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_the_station_is_told_in_figures(metrics):
    """Readiness, viewers, cameras and engines are there, each under its own labels."""
    found = samples(metrics)
    assert found["appliance_ready",] == 1
    assert found["appliance_viewers",] == 3
    assert found["appliance_state_disk_used_ratio",] == 0.25
    assert found["appliance_frames_grabbed_total", ("camera", "door")] == 10
    assert found["appliance_frames_inferred_total", ("camera", "door")] == 7
    assert found["appliance_camera_reconnects_total", ("camera", "door")] == 4
    assert found["appliance_override_active",] == 0
    assert found["appliance_saving_paused", ("kind", "verify_pictures")] == 1
    assert found["appliance_engine_running", ("model", "m")] == 1
    assert found["appliance_engine_running", ("model", "n")] == 0
    assert found["appliance_build_info", ("version", "1.2.3")] == 1


def test_a_fallback_is_told_with_what_was_asked_for_and_what_runs(metrics):
    """An alert can ask for it; the other engine, which has failed, is none."""
    fallbacks = {
        tuple(dict(key[1:])[label] for label in ("model", "asked", "running")): value
        for key, value in samples(metrics).items()
        if key[0] == "appliance_engine_fallback"
    }
    assert fallbacks == {("m", "tensorrt", "cpu"): 1, ("n", "auto", ""): 0}


def test_engines_that_fail_are_replaced_and_are_built_have_their_figures(metrics):
    """Failures and replacements are counted by model; a build shows how far it is."""
    found = samples(metrics)
    for model, figures in {"m": (6, 1, 0.25), "n": (0, 0, 1)}.items():
        label = ("model", model)
        assert figures == (
            found["appliance_engine_failures_total", label],
            found["appliance_engine_replacements_total", label],
            found["appliance_engine_build_progress_ratio", label],
        )


@pytest.mark.parametrize(
    ("engine", "progress"),
    [
        (EngineReading("m", EngineState.WAITING, "auto"), 0),
        (EngineReading("m", EngineState.BUILDING, "auto", sentence="Loading"), 0),
        (EngineReading("m", EngineState.BUILDING, "auto", sentence="x", progress=0.5), 0.5),
        (EngineReading("m", EngineState.RUNNING, "auto"), 1),
    ],
)
def test_nothing_under_way_counts_as_done(engine, progress):
    """What waits or tells no share stands at 0, what is done at 1: the series has no holes."""
    now = replace(reading(), engines=(engine,))
    found = samples(Metrics(lambda: now, version="1"))
    assert found["appliance_engine_build_progress_ratio", ("model", "m")] == progress


def test_live_pictures_are_counted_for_every_camera_from_the_start(metrics):
    """Sent, and skipped by reason; a camera that nobody has watched stands at 0."""
    found = samples(metrics)
    for camera, sent, skips in (("door", 40, {Skip.VIEWER: 2, Skip.ENCODER: 0}), ("yard", 0, {})):
        label = ("camera", camera)
        assert found["appliance_pictures_sent_total", label] == sent
        for reason in Skip:
            key = ("appliance_pictures_skipped_total", label, ("reason", reason))
            assert found[key] == skips.get(reason, 0)


def test_every_reason_of_a_drop_has_its_series_from_the_start(metrics):
    """A rate over a series that appears with its first count would miss that count."""
    found = samples(metrics)
    drops = {
        camera: {
            reason: found["appliance_frames_dropped_total", ("camera", camera), ("reason", reason)]
            for reason in Drop
        }
        for camera in ("door", "yard")
    }
    nothing = dict.fromkeys(Drop, 0)
    assert drops == {"door": {**nothing, Drop.NEWER: 2, Drop.BROKEN: 1}, "yard": nothing}


def test_warnings_and_worse_are_counted_by_level(metrics):
    """Each level that an alert may ask for is there, before its first line too."""
    lines = {
        dict(key[1:])["level"]: value
        for key, value in samples(metrics).items()
        if key[0] == "appliance_log_lines_total"
    }
    assert lines == {"warning": 5, "error": 0, "critical": 0}


def test_what_becomes_of_the_databases_entries_is_counted(metrics):
    """Those that wait, and what was lost, from the start."""
    found = samples(metrics)
    assert found["appliance_database_waiting",] == 4
    assert found["appliance_database_entries_total", ("outcome", "committed")] == 50
    assert found["appliance_database_entries_total", ("outcome", "failed")] == 1
    assert found["appliance_database_entries_total", ("outcome", "dropped")] == 2


def test_results_that_a_part_did_not_take_are_counted_by_part(metrics):
    """Each part has its series from the start; one that fails stands out."""
    found = samples(metrics)
    for sink, failures in {"metrics": 0, "collector": 3}.items():
        assert found["appliance_sink_failures_total", ("sink", sink)] == failures


def test_a_stage_that_was_not_reached_is_missing(metrics):
    """No made-up zero: the page is not up yet."""
    stages = [key for key in samples(metrics) if key[0] == "appliance_start_seconds"]
    assert stages == [("appliance_start_seconds", ("stage", "first_result"))]


def test_the_last_result_is_told_by_the_wall_clock(metrics):
    """When the result was there, not when its frame was taken; 0 where there was none."""
    metrics.publish(result(inference_ms=15, age_ms=250))
    found = samples(metrics)
    assert found["appliance_last_result_timestamp_seconds", ("camera", "door")] == 1000.25
    assert found["appliance_last_result_timestamp_seconds", ("camera", "yard")] == 0


def test_the_process_is_measured(metrics):
    """Memory, processor time, descriptors and start of this very process."""
    found = samples(metrics)
    for name in ("resident_memory_bytes", "cpu_seconds_total", "open_fds", "start_time_seconds"):
        assert found[f"appliance_process_{name}",] > 0


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
    metrics.publish(result(inference_ms=15, age_ms=120))
    metrics.publish(result(inference_ms=45, age_ms=60))
    found = samples(metrics)
    door = ("camera", "door")
    assert found["appliance_inference_seconds_count", door] == 2
    assert found["appliance_inference_seconds_sum", door] == pytest.approx(0.06)
    assert found["appliance_result_age_seconds_sum", door] == pytest.approx(0.18)
    assert found["appliance_inference_seconds_bucket", door, ("le", "0.02")] == 1
    assert found["appliance_inference_seconds_bucket", door, ("le", "0.05")] == 2


def test_names_follow_the_conventions():
    """Counters end in _total, nothing else does, and every family has our prefix and a help."""
    families = exported()
    assert len(families) > 15
    for family in families.values():
        assert family.name.startswith("appliance_")
        assert family.documentation
        totals = [sample.name.endswith("_total") for sample in family.samples]
        assert all(totals) if family.type == "counter" else not any(totals)


def test_any_text_may_stand_in_a_label(metrics):
    """Quotes, backslashes and line ends come back as they were."""
    versions = {dict(key[1:])["version"] for key in samples(metrics) if key[0].endswith("e_info")}
    assert versions == {"1", AWKWARD}


def test_more_results_bring_no_more_series(metrics):
    """What a scrape costs depends on the settings, not on how long the station has run."""
    metrics.publish(result(inference_ms=15, age_ms=120))
    before = set(samples(metrics))
    for index in range(200):
        metrics.publish(result(inference_ms=0.7**index, age_ms=1.1**index))
    assert set(samples(metrics)) == before


def test_prometheus_own_linter_has_nothing_to_say(metrics):
    """`promtool check metrics` accepts names, units and helps."""
    metrics.publish(result(inference_ms=15, age_ms=120))
    assert promtool("check", "metrics", text=metrics.render().decode()) == ""


def test_a_scrape_does_not_hold_up_the_event_loop(monkeypatch):
    """The disk and the process table are asked in another thread: a slow one delays nobody."""
    web, asked_in = make_web(), []

    def render():
        asked_in.append(threading.current_thread())
        return b""

    monkeypatch.setattr(web.parts.metrics, "render", render)
    answer = web.ask("GET", "/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert len(asked_in) == 1
    assert asked_in[0] is not threading.current_thread()


def labels_of(family):
    """All labels of a family's series, as the document writes them."""
    names = {name for sample in family.samples for name in sample.labels if name != "le"}
    return ", ".join(f"`{name}`" for name in sorted(names))


def test_the_document_lists_every_metric_as_it_is():
    """Name, type, labels and meaning in docs/metrics.md are those of the code."""
    told = ROW.findall(DOCUMENT.read_text(encoding="utf-8"))
    made = [
        (name, family.type, labels_of(family), family.documentation)
        for name, family in exported().items()
    ]
    assert told == made


@pytest.mark.parametrize(
    ("title", "reasons"), [("Why frames are dropped", Drop), ("Why pictures are skipped", Skip)]
)
def test_the_document_explains_every_reason(title, reasons):
    """Each reason has its row, and there is none that does not exist."""
    text = DOCUMENT.read_text(encoding="utf-8").partition(f"## {title}")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE) == [str(each) for each in reasons]
