"""The pipeline as the station puts it together: its sinks, and the memory that they need."""

import re
from pathlib import Path

import numpy as np
import pytest

from appliance import publish
from appliance.app.loading import frames_at_once
from appliance.app.pipeline import Pipeline, Surroundings
from appliance.pipeline.stats import CameraStats
from appliance.readings import StoreReading
from appliance.settings import load
from tests.support.fakes import counted_lease, result_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
OWN = ("stats", "start_up", "engines", "encoder", "burner", "collector", "snapshots")


class Told:
    """Takes notes for the audit log."""

    def note(self, what, **_):
        raise AssertionError(f"nothing to tell, got {what}")


@pytest.fixture
def make(tmp_path):
    """Makes pipelines of two cameras, which are never started."""

    def one(**changes):
        environ = {
            **{f"APPLIANCE_PATHS__{name}": str(tmp_path / name) for name in ("STATE", "CACHE")},
            **{f"APPLIANCE_CAMERAS__{key}__URL": "clip.mp4" for key in ("GATE", "DOCK")},
            **changes,
        }
        (tmp_path / "STATE").mkdir(exist_ok=True)
        around = Surroundings(
            publish=lambda _: None,
            publish_burned=lambda _: None,
            viewers=lambda: 0,
            log_lines=dict,
            audit=Told(),
            store=StoreReading,
            age_s=lambda: 1.0,
        )
        settings = load(environ, secrets_dir=tmp_path).settings
        return Pipeline(settings, around), settings

    return one


def slots_of(pipeline):
    """How many frame slots each camera is given."""
    return {camera._memory_options[0] for camera in pipeline._cameras.values()}


def test_every_part_that_gets_results_is_a_sink(make):
    """Those of the station and every publisher, each under a name that the document lists."""
    names = list(make()[0]._sinks.readings())
    assert sorted(names) == sorted([*OWN, *publish.known()])
    listed = re.search(r"`sink` one\s+of (.*?), `outcome`", DOCUMENT.read_text(), re.DOTALL)[1]
    assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(names)


def test_a_result_reaches_figures_metrics_and_the_start(make):
    """One result through all of them, and none complains."""
    pipeline, _ = make()
    lease, held = counted_lease(np.zeros((24, 32, 3), np.uint8))
    pipeline._sinks.offer(result_of("gate", lease), lease)
    assert {reading.failures for reading in pipeline._sinks.readings().values()} == {0}
    inferred = {camera.key: camera.inferred for camera in pipeline.station.reading().cameras}
    assert inferred == {"gate": 1, "dock": 0}
    assert pipeline.start_up.reached_s
    assert b'appliance_inference_seconds_count{camera="gate"} 1.0' in pipeline.metrics.render()
    assert held() == 1


def test_a_part_that_fails_is_told_by_health_and_metrics_and_the_others_go_on(make, monkeypatch):
    """Whoever looks at System, at readiness or at a dashboard sees which part gets no results."""

    def fail(_stats, _result):
        raise ZeroDivisionError

    monkeypatch.setattr(CameraStats, "record", fail)
    pipeline, _ = make()
    for sequence in (1, 2):
        lease, _ = counted_lease(np.zeros((24, 32, 3), np.uint8), sequence)
        pipeline._sinks.offer(result_of("gate", lease), lease)
    reading = pipeline.station.reading()
    assert "Some results do not reach stats (ZeroDivisionError)" in reading.reasons
    assert reading.sinks["stats"].failures == 2
    told = pipeline.metrics.render().decode()
    assert 'appliance_sink_failures_total{sink="stats"} 2.0' in told
    assert 'appliance_sink_failures_total{sink="encoder"} 0.0' in told
    assert 'appliance_inference_seconds_count{camera="gate"} 2.0' in told
    assert pipeline.start_up.reached_s


@pytest.mark.parametrize(("in_flight", "pictures", "slots"), [(1, 0, 7), (2, 0, 8), (4, 60, 12)])
def test_frame_slots_are_those_that_readers_may_hold_and_two(make, in_flight, pictures, slots):
    """One to write, the latest, those in flight, two of each encoder, two where pictures are kept.

    With six, as it was, readers could take the writer's.
    """
    pipeline, settings = make(
        APPLIANCE_ENGINE__IN_FLIGHT=str(in_flight), APPLIANCE_VERIFY__PICTURES=str(pictures)
    )
    assert frames_at_once(settings, 1) == in_flight
    assert slots_of(pipeline) == {slots}
