"""The dashboard and the alert rules ask for what a station really tells, and for all of it."""

import json
import re
from pathlib import Path

import pytest

from tests.support.metrics import OUR_METRIC, exported, family_of, promtool

FOLDER = Path(__file__).parents[2] / "docs" / "grafana"
ALERTS = FOLDER / "alerts.yaml"
NOT_SHOWN = {
    "appliance_process_virtual_memory_bytes",  # says nothing about what a box has left
    # Nothing to watch: the station says so itself, and is degraded, while entries wait or fail.
    "appliance_database_waiting",
    "appliance_database_entries_total",
    "appliance_saving_paused",
    "appliance_sink_failures_total",
    # The page says who has overridden what, and until when; this is for rules of one's own.
    "appliance_override_active",
}


@pytest.fixture(scope="module")
def dashboard():
    """docs/grafana/station.json."""
    return json.loads((FOLDER / "station.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def families():
    """What a station exports, by name."""
    return exported()


def expressions(dashboard):
    """Every query of every panel, with Grafana's variables replaced as Grafana does."""
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    values = {"$station": "192.0.2.20:8080", "$__rate_interval": "1m"}
    for variable, value in values.items():
        found = [expression.replace(variable, value) for expression in found]
    assert [expression for expression in found if "$" in expression] == []
    return found


def strangers(text, families):
    """Metrics of ours in `text` that no station exports."""
    return {name for name in OUR_METRIC.findall(text) if family_of(name, families) is None}


def test_every_metric_that_a_panel_asks_for_is_exported(dashboard, families):
    """No panel stays empty because of a name."""
    asked = expressions(dashboard)
    assert len(asked) > 15
    assert [e for e in asked if not OUR_METRIC.search(e) or strangers(e, families)] == []


def test_every_metric_that_is_exported_is_shown(dashboard, families):
    """Or stands on the list of those that are not, with the reason."""
    shown = {
        family_of(name, families)
        for expression in expressions(dashboard)
        for name in OUR_METRIC.findall(expression)
    }
    assert set(families) - shown == NOT_SHOWN


def test_a_name_that_no_station_exports_is_found(families):
    """Neither a typing error nor a histogram without its suffix passes."""
    assert strangers("rate(appliance_frames_infered_total[5m])", families)
    assert strangers("appliance_inference_seconds > 1", families)
    assert strangers("appliance_ready_bucket", families)
    assert not strangers("appliance_inference_seconds_bucket", families)


def test_prometheus_understands_every_expression(dashboard, tmp_path):
    """`promtool check rules` parses each of them."""
    asked = expressions(dashboard)
    rules = [{"record": f"panel:{i}", "expr": asked[i]} for i in range(len(asked))]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(asked)} rules found" in promtool("check", "rules", str(file))


def test_labels_are_asked_for_by_values_that_exist(dashboard, families):
    """`state`, `reason` and the like in a query match what the series carry."""
    known = {
        (label, value)
        for family in families.values()
        for sample in family.samples
        for label, value in sample.labels.items()
    }
    asked = {
        pair
        for text in [*expressions(dashboard), ALERTS.read_text(encoding="utf-8")]
        for label, values in re.findall(r'(state|reason|level|stage)=~?"([^"]*)"', text)
        for pair in ((label, value) for value in values.split("|"))
    }
    assert len(asked) >= 5
    assert asked - known == set()


def test_every_panel_has_a_number_of_its_own_and_a_place_of_its_own(dashboard):
    """Grafana tells panels apart by id, and draws them where they do not overlap."""
    panels = dashboard["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    cells = [
        (grid["x"] + dx, grid["y"] + dy)
        for grid in (panel["gridPos"] for panel in panels)
        for dx in range(grid["w"])
        for dy in range(grid["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_the_dashboard_fits_any_prometheus_and_any_station(dashboard):
    """Source and station are variables, which every query uses; nothing names one of ours."""
    names = {v["name"]: v["type"] for v in dashboard["templating"]["list"]}
    assert names == {"datasource": "datasource", "station": "query"}
    assert dashboard["schemaVersion"] >= 41
    assert dashboard["id"] is None
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            selectors = re.findall(r"appliance_\w+(\{[^}]*\})?", target["expr"])
            assert all('instance="$station"' in selector for selector in selectors)


def test_the_rows_cover_what_a_person_asks(dashboard):
    """How it is, what the cameras do, what the box has left; each panel has a unit or a mapping."""
    rows = [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"]
    assert rows == ["Overview", "Cameras", "Box"]
    kinds = {panel["title"]: panel["type"] for panel in dashboard["panels"]}
    assert kinds["State of each camera"] == "state-timeline"
    assert {"row", "stat", "timeseries", "state-timeline"} == set(kinds.values())


def test_the_alert_rules_are_sound_and_ask_for_what_is_exported(families):
    """`promtool check rules` accepts them, and no alert is silent because of a name."""
    assert "6 rules found" in promtool("check", "rules", str(ALERTS))
    text = ALERTS.read_text(encoding="utf-8")
    assert OUR_METRIC.search(text)
    assert strangers(text, families) == set()


def state_series(camera, **values):
    """The states of one camera over time, in promtool's notation."""
    return [
        {
            "series": f'appliance_camera_state{{instance="s", camera="{camera}", state="{state}"}}',
            "values": values.get(state, "0x20"),
        }
        for state in ("live", "offline", "ended")
    ]


def alert(name, severity, **labels):
    """An alert that is expected, in promtool's notation."""
    return {"exp_labels": {"alertname": name, "severity": severity, "instance": "s", **labels}}


def rules_without_annotations():
    """The rules; promtool would compare their sentences too, word for word."""
    text = ALERTS.read_text(encoding="utf-8")
    return re.sub(r"^ {8}annotations:\n(?: {10}.*\n)+", "", text, flags=re.MULTILINE)


def test_alerts_fire_for_what_they_name_and_for_nothing_else(tmp_path):
    """Prometheus itself runs the rules over twenty minutes in which everything goes wrong.

    `gone` goes offline, `mute` is live without results, `over` is a file that has ended, `fine`
    has a result every minute. The model `m` runs on another engine than was asked for, for hours:
    while one is built a spare may serve.
    """
    last = "appliance_last_result_timestamp_seconds"
    fallback = 'appliance_engine_fallback{{instance="s", model="{}", asked="cuda", running="cpu"}}'
    series = [
        {"series": 'up{job="appliance", instance="s"}', "values": "1x20"},
        {"series": 'up{job="appliance", instance="dark"}', "values": "0x20"},
        {"series": 'appliance_ready{instance="s"}', "values": "1x20"},
        {"series": 'appliance_ready{instance="broken"}', "values": "0x20"},
        {"series": 'appliance_state_disk_used_ratio{instance="s"}', "values": "0.95x20"},
        {"series": 'appliance_state_disk_used_ratio{instance="broken"}', "values": "0.5x20"},
        {"series": fallback.format("m"), "values": "1x180"},
        {"series": fallback.format("n"), "values": "0x180"},
        *state_series("gone", offline="1x20"),
        *state_series("mute", live="1x20"),
        *state_series("over", ended="1x20"),
        *state_series("fine", live="1x20"),
        {"series": f'{last}{{instance="s", camera="gone"}}', "values": "0x20"},
        {"series": f'{last}{{instance="s", camera="mute"}}', "values": "0x20"},
        {"series": f'{last}{{instance="s", camera="over"}}', "values": "0x20"},
        {"series": f'{last}{{instance="s", camera="fine"}}', "values": "0+60x20"},
    ]
    fired = {
        "StationUnreachable": [
            alert("StationUnreachable", "critical", job="appliance", instance="dark")
        ],
        "StationNotReady": [alert("StationNotReady", "critical", instance="broken")],
        "CameraAway": [alert("CameraAway", "warning", camera="gone", state="offline")],
        "CameraWithoutResults": [alert("CameraWithoutResults", "critical", camera="mute")],
        "EngineFallback": [
            alert("EngineFallback", "warning", model="m", asked="cuda", running="cpu")
        ],
        "DiskFillsUp": [alert("DiskFillsUp", "warning")],
    }
    late = {name: "3h" if name == "EngineFallback" else "20m" for name in fired}
    (tmp_path / "rules.yaml").write_text(rules_without_annotations())
    tests = [
        {"eval_time": at, "alertname": name, "exp_alerts": alerts if at == late[name] else []}
        for name, alerts in fired.items()
        for at in ("0m", late[name])
    ]
    document = {
        "rule_files": ["rules.yaml"],
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": tests}],
    }
    (tmp_path / "test.yaml").write_text(json.dumps(document))
    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / "test.yaml"))
