"""How a start goes, told by the real process: what people wait for, in the log and in figures."""

import re
from datetime import datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.process import TOKEN, started, station_environ, write_clip

pytestmark = pytest.mark.slow

TOLD = re.compile(r"(first result|page: ready) after (\d+\.\d) s\n")
STAGES = {"first result": "first_result", "page: ready": "page"}


def told(station):
    """What the log says of the start, in its order, as (what, seconds)."""
    return [(what, float(seconds)) for what, seconds in TOLD.findall(station.log.read_text())]


def start_seconds(station):
    """The same from the metrics, by stage."""
    text = station.get("/metrics", Authorization=f"Bearer {TOKEN}").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = families["appliance_start_seconds"].samples
    return {sample.labels["stage"]: sample.value for sample in samples}


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    """A station with one camera, whose engine was built before and whose page is up."""
    folder = tmp_path_factory.mktemp("station")
    environ = station_environ(
        folder, APPLIANCE_CAMERAS__GATE__URL=str(write_clip(folder / "clip.avi"))
    )
    with started(environ, folder / "log") as process:
        process.wait_until(lambda: len(told(process)) == 2)
        yield process


def test_the_first_result_does_not_wait_for_the_page(station):
    """Detections are in flight while Gradio is still being imported, and each is told once."""
    assert [what for what, _ in told(station)] == ["first result", "page: ready"]
    seconds = [after_s for _, after_s in told(station)]
    assert 0 < seconds[0] <= seconds[1]


def test_the_times_in_the_log_are_those_in_the_metrics(station):
    """One measurement, told twice."""
    found = start_seconds(station)
    assert {STAGES[what]: after_s for what, after_s in told(station)} == {
        stage: round(seconds, 1) for stage, seconds in found.items()
    }


def test_the_time_runs_from_the_start_of_the_process(station):
    """What passed before the first line of the log, such as imports, counts too."""
    lines = station.log.read_text().splitlines()
    at = {
        what: datetime.fromisoformat(line.split()[0])
        for what in ("starts", "page: ready")
        for line in lines
        if what in line
    }
    since_first_line_s = (at["page: ready"] - at["starts"]).total_seconds()
    assert start_seconds(station)["page"] > since_first_line_s


def test_a_station_without_cameras_has_a_page_and_no_first_result(tmp_path):
    """A stage that is not reached is missing; it is no zero."""
    with started(station_environ(tmp_path), tmp_path / "log") as bare:
        bare.wait_until(lambda: told(bare))
        assert [what for what, _ in told(bare)] == ["page: ready"]
        assert set(start_seconds(bare)) == {"page"}
        assert bare.stop() == 0
