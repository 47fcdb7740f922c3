"""A real Prometheus scrapes a real station, as docs/metrics.md says."""

import json
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.metrics import exported, families_of, promtool
from tests.support.process import TOKEN, free_port, seeing

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"
WAITING_OR_IN_FLIGHT = 8  # frames between the camera and the count of results


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    """A station whose page is up, with a camera that plays a clip and one that is away."""
    with seeing(
        tmp_path_factory.mktemp("station"),
        APPLIANCE_CAMERAS__DOCK__URL=f"rtsp://127.0.0.1:{free_port()}/x",
    ) as process:
        yield process


def scraped(station):
    """The text of one scrape."""
    return station.get("/metrics", Authorization=f"Bearer {TOKEN}").text


@contextmanager
def prometheus(station, folder):
    """Prometheus with the configuration of the document, on this station; gives its API."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed")
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    (config,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    changes = {
        "192.0.2.20:8080": station.origin.removeprefix("http://"),
        "/etc/prometheus/appliance-token": str(folder / "token"),
        "15s": "1s",
    }
    for told, here in changes.items():
        assert told in config
        config = config.replace(told, here)
    (folder / "token").write_text(TOKEN)
    (folder / "prometheus.yml").write_text(config)
    address = f"127.0.0.1:{free_port()}"
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    ]
    child = subprocess.Popen(command)
    try:
        with httpx.Client(base_url=f"http://{address}/api/v1") as api:
            yield api
    finally:
        child.terminate()
        child.wait(10)


def asked(api, expression):
    """The series that an expression gives now; none while Prometheus is still starting."""
    try:
        answer = api.get("/query", params={"query": expression})
    except httpx.TransportError:
        return []
    return answer.json()["data"]["result"] if answer.status_code == 200 else []


def test_a_real_station_tells_what_the_document_lists(station):
    """Neither more nor less, and Prometheus' linter has nothing to say."""
    text = scraped(station)
    assert promtool("check", "metrics", text=text) == ""
    assert set(families_of(text)) == set(exported())


def test_every_frame_is_accounted_for(station):
    """What was grabbed was inferred or dropped, but for the few that are on their way."""
    families = families_of(scraped(station))

    def total(name):
        samples = families[name].samples
        return sum(sample.value for sample in samples if sample.labels["camera"] == "gate")

    grabbed, inferred, dropped = (
        total(f"appliance_frames_{what}_total") for what in ("grabbed", "inferred", "dropped")
    )
    assert inferred > 0
    assert -WAITING_OR_IN_FLIGHT <= grabbed - inferred - dropped <= WAITING_OR_IN_FLIGHT


def test_every_panel_of_the_dashboard_has_something_to_show(station, tmp_path):
    """Each query gives series from a real station, scraped as the document says."""
    dashboard = json.loads((DOCS / "grafana" / "station.json").read_text(encoding="utf-8"))
    expressions = [
        target["expr"]
        .replace("$station", station.origin.removeprefix("http://"))
        .replace("$__rate_interval", "1m")
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]
    with prometheus(station, tmp_path) as api:
        station.wait_until(lambda: asked(api, "count_over_time(appliance_ready[1m]) >= 2"))
        assert [e for e in expressions if not asked(api, e)] == []
        (up,) = asked(api, 'up{job="appliance"}')
        assert up["value"][1] == "1"
        assert asked(api, 'appliance_camera_state{camera="dock", state="live"} == 1') == []
