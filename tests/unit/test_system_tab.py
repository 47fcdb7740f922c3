"""The System page in words: what is as it should be, what is not, and what to do."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from gradio.state_holder import SessionState

from appliance.delivery.results import UpdateResult
from appliance.logs import LogLine
from appliance.pipeline.hardware import Gpu, Temperature
from appliance.pipeline.history import History
from appliance.readings import OverrideReading
from appliance.resources import Cores, Limit, Memory
from appliance.settings import Row
from appliance.values import CameraState, EngineState, Health
from appliance.web.tabs.system.machine import measures
from appliance.web.tabs.system.overview import Overview
from appliance.web.tabs.system.page import LOG_LINES, render_fixed, render_log, render_overview
from appliance.web.templates import Pages
from tests.support.fakes import Clock
from tests.support.gradios import NOTHING, blocks_of, call, tab_of
from tests.support.web import (
    CAMERA,
    ENGINE,
    ENGLISH_TEXTS,
    HARDWARE,
    READING,
    tab_context,
    whole_web,
)

OVERVIEW = Overview(ENGLISH_TEXTS)
HOSTILE = "<script>alert(1)</script>\n\n    & *x*"


def context(reading=READING):
    pages = Pages(base="/cam", station_name="Hall 3", version="0.0")
    return tab_context(pages, reading, base="/cam")


def updated(**changes):
    """The last update, as the System page tells it."""
    result = UpdateResult(
        "2026-11-28T17:00:00+00:00", "hall.bundle", is_done=True, version="1.1", message="it runs"
    )
    shown = tab_context(
        Pages(base="", station_name="", version="0.0"), last_update=replace(result, **changes)
    )
    return render_fixed(shown, is_admin=False)


def lines(**changes):
    return {line.title: line for line in OVERVIEW.health_lines(replace(READING, **changes))}


def figures(reading=READING, **changes):
    """The Machine panel as `title: figure and unit`, and the tones in it."""
    found = list(measures(replace(HARDWARE, **changes), reading, "/state", ENGLISH_TEXTS))
    shown = {measure.title: f"{measure.figure} {measure.rest}".strip() for measure in found}
    return shown, {measure.title: measure.tone for measure in found if measure.tone}


def test_a_healthy_station_says_so_without_colors():
    """Nothing is marked where nothing needs a look."""
    found = lines(uptime_s=28380)
    assert found["Station"].text == "Runs for 7 h 53 min."
    assert found["Engine"].text == "ONNX Runtime CPU 1.0 fp32, asked: auto."
    assert found["Cameras"].text == "1 of 1 live."
    assert {line.tone for line in found.values()} == {""}


def test_what_needs_a_person_soon_has_a_line_of_its_own():
    """Marked, though the station is as it should be."""
    line = lines(notices=("The token prom expires on 2027-01-31",))["Soon"]
    assert (line.text, line.tone) == ("The token prom expires on 2027-01-31.", "warn")


def test_an_override_says_who_since_when_and_how_to_keep_it():
    """Beside what is as it should be, in the color of what is under way; else no line at all."""
    assert "Override" not in lines()
    override = OverrideReading(0.45, "", "otto", 2000.0, ("APPLIANCE_DETECTION__CONFIDENCE=0.45",))
    line = lines(override=override)["Override"]
    assert line.text.startswith("By otto since ")
    assert line.text.endswith("gone at the next start: APPLIANCE_DETECTION__CONFIDENCE=0.45.")
    assert line.tone == "busy"


@pytest.mark.parametrize(
    ("health", "tone"),
    [(Health.STARTING, "busy"), (Health.DEGRADED, "warn"), (Health.FAILED, "fault")],
)
def test_every_reason_stands_on_the_page(health, tone):
    """What makes the station less than ready is told first, each reason as a sentence."""
    line = lines(health=health, reasons=("Dock is offline", "Disk is full"))["Station"]
    assert line.text.startswith("Dock is offline. Disk is full. Runs for")
    assert line.tone == tone


def test_an_engine_with_a_report_links_it(tmp_path):
    """The way to the pictures stands beside the verdict, below the base path; else none does."""
    report = tmp_path / "report.html"
    shown = replace(context(), reports=lambda model: report if model == ENGINE.model else None)
    assert "/report" not in render_overview(shown)  # the file is gone, or not there yet
    report.touch()
    assert 'href="/cam/api/system/reports/bright-spots"' in render_overview(shown)


def test_a_camera_that_is_away_is_named_with_its_next_step():
    """Reason and advice stand on the page; the worst state gives the shape."""
    dock = replace(
        CAMERA,
        name="Dock",
        state=CameraState.OFFLINE,
        sentence="The camera refuses the password",
        next_step="Check APPLIANCE_CAMERAS__DOCK__PASSWORD.",
    )
    line = lines(cameras=(CAMERA, replace(CAMERA, state=CameraState.STALLED), dock))["Cameras"]
    assert line.text.startswith("1 of 3 live.")
    assert "Dock: The camera refuses the password. Check APPLIANCE_CAMERAS" in line.text
    assert (line.shape, line.tone) == ("offline", "fault")


def test_without_cameras_the_page_says_that_none_is_configured():
    """An empty station is no healthy one, and the rest of the page is there all the same."""
    assert lines(cameras=())["Cameras"].text == "None is configured."
    assert "nothing is known" in render_overview(context(replace(READING, cameras=())))


@pytest.mark.parametrize(
    ("changes", "text", "tone"),
    [
        ({"state": EngineState.WAITING}, "Waiting", "busy"),
        (
            {"state": EngineState.BUILDING, "sentence": "Comparing", "progress": 0.43},
            "Building bright-spots, 43 %: Comparing.",
            "busy",
        ),
        (
            {"doubt": "The engine has not answered for 12 s"},
            "ONNX Runtime CPU 1.0 fp32. The engine has not answered for 12 s.",
            "warn",
        ),
        (
            {"fallback": "no GPU here", "next_step": "Plug one in."},
            "ONNX Runtime CPU 1.0 fp32. no GPU here. Plug one in.",
            "warn",
        ),
        (
            {"fallback": "cuda is being built", "sentence": "Comparing", "progress": 0.43},
            "ONNX Runtime CPU 1.0 fp32. cuda is being built. "
            "Building bright-spots, 43 %: Comparing.",
            "warn",
        ),
        (
            {"sentence": "Comparing"},
            "ONNX Runtime CPU 1.0 fp32, asked: auto. Building bright-spots: Comparing.",
            "busy",
        ),
        (
            {"notice": "labels: one is missing"},
            "ONNX Runtime CPU 1.0 fp32, asked: auto. Labels: one is missing.",
            "",
        ),
        (
            {
                "state": EngineState.FAILED,
                "sentence": "weights are missing",
                "next_step": "run: appliance models pull x",
            },
            "weights are missing. run: appliance models pull x",
            "fault",
        ),
    ],
)
def test_the_engines_line_says_what_is_under_way_or_wrong(changes, text, tone):
    """Building shows progress, a fallback its reason, a failure the next step."""
    line = lines(engines=(replace(ENGINE, **changes),))["Engine"]
    assert (line.text, line.tone) == (text, tone)


def test_the_engines_row_says_what_was_asked_runs_and_was_proven():
    """Asked, running, precision, verdict with figures, and the model's time on its cameras."""
    proof = "proven: F1 0.997 over 1203 objects of the original"
    reading = replace(READING, cameras=(replace(CAMERA, inference_ms=11.42),))
    row = OVERVIEW.engine_row(replace(ENGINE, proof=proof), reading)
    assert row["asked"] == "auto"
    assert row["running"] == "ONNX Runtime CPU 1.0"
    assert row["precision"] == "fp32"
    assert row["proof"] == "Proven: F1 0.997 over 1203 objects of the original"
    assert row["inference_ms"] == "11.4"
    assert (row["state"], row["tone"]) == ("Running", "")
    fallback = replace(ENGINE, fallback="no CUDA device")
    row = OVERVIEW.engine_row(fallback, reading)
    assert (row["state"], row["tone"]) == ("Fallback", "warn")
    row = OVERVIEW.engine_row(replace(fallback, sentence="Comparing", progress=0.43), reading)
    assert (row["state"], row["progress"]) == ("Fallback, building 43 %", 0.43)
    assert row["running"] == "ONNX Runtime CPU 1.0"


def test_an_engine_that_is_built_shows_how_far_it_is_and_nothing_that_is_not_known():
    """A bar and a share; dashes for what runs and what was proven."""
    engine = replace(
        ENGINE,
        state=EngineState.BUILDING,
        running="",
        version="",
        precision="",
        proof="",
        progress=0.43,
    )
    row = OVERVIEW.engine_row(engine, READING)
    assert row["state"] == "Building 43 %"
    assert {row[key] for key in ("running", "precision", "proof", "inference_ms")} == {"–"}
    text = render_overview(context(replace(READING, engines=(engine,))))
    assert 'aria-valuenow="43"' in text


def test_a_loop_that_stands_still_is_a_fault():
    """The line turns when the loop has not ticked for a while."""
    assert lines(loop_age_s=0.4)["Loop"].tone == ""
    stuck = lines(loop_age_s=61.0)["Loop"]
    assert (stuck.text, stuck.tone) == ("Has not ticked for 61 s.", "fault")


def test_what_is_unknown_of_a_camera_is_a_dash():
    """Never 0: nothing was measured."""
    row = OVERVIEW.camera_row(CAMERA)
    assert (row["fps"], row["age"], row["gets"]) == ("–", "–", "– fps")


def test_the_machine_is_told_in_units_that_people_know():
    """Free disk, memory of machine and station, load on how many cores, who is watching."""
    shown, tones = figures(replace(READING, viewers=2))
    assert shown == {
        "Disk of /state": "12.3 GB free of 100.0 GB",
        "Memory of the machine": "1.9 of 7.6 GB in use",
        "Memory of the station": "310 MB",
        "Load of 1, 5, 15 min": "0.5 0.4 0.3 on 4 cores",
        "Open live views": "2",
    }
    assert tones == {}


def test_a_limit_that_holds_is_told_with_what_it_leaves():
    """A container's memory and its share of the cores, or an affinity; else no word of it."""
    shown, _ = figures(
        own_memory=Memory(700_000_000, 300_000_000, 7_600_000_000, Limit.GROUP),
        own_cores=Cores(1, 1, 4, Limit.GROUP),
    )
    assert shown["Memory that the station may take"] == (
        "0.4 of 0.7 GB in use; the limit of its container or service"
    )
    assert shown["Cores that the station may use"] == (
        "1 of 4; the limit of its container or service"
    )
    shown, _ = figures(own_cores=Cores(1, 2, 4, Limit.AFFINITY))
    assert shown["Cores that the station may use"] == "2 of 4; its CPU affinity"


def test_heat_and_a_full_disk_are_marked():
    """From its maker's limit on, a chip is hot; from nine tenths on, a disk is full."""
    sensors = (Temperature("coretemp", 61.4, 80.0), Temperature("nvme", 84.0, 82.0))
    shown, tones = figures(temperatures=(*sensors, Temperature("acpitz", 99, None)), disk_used=0.93)
    assert shown["Temperature, coretemp"] == "61 °C, hot from 80"
    assert shown["Temperature, acpitz"] == "99 °C"
    assert tones == {"Disk of /state": "warn", "Temperature, nvme": "warn"}


def test_a_gpu_is_shown_where_there_is_one():
    """Load, heat and memory, with dashes for what its driver does not tell."""
    whole = Gpu("NVIDIA T1000", 0.38, 1_900_000_000, 4_000_000_000, 61)
    shown, _ = figures(gpus=(whole, Gpu("Orin", None, None, None, None)))
    assert shown["NVIDIA T1000"] == "38 % busy, 61 °C"
    assert shown["Memory of NVIDIA T1000"] == "1.9 of 4.0 GB in use"
    assert shown["Orin"] == "– % busy"


def test_a_missing_gpu_is_told_only_where_an_engine_asks_for_one():
    """A plain CPU host lacks nothing; a host that was to run TensorRT does."""
    assert "NVIDIA GPU" not in figures()[0]
    asking = replace(READING, engines=(replace(ENGINE, asked="tensorrt"),))
    shown, tones = figures(asking)
    assert shown["NVIDIA GPU"] == "none found"
    assert tones["NVIDIA GPU"] == "warn"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 0 s"),
        (3600 * 7 + 53 * 60 + 12, "7 h 53 min"),
        (86400 * 40, "40 d 0 h"),
    ],
)
def test_durations_have_two_units(seconds, text):
    """As exact as a person needs, and no more."""
    assert ENGLISH_TEXTS.duration(seconds) == text


def test_rate_age_and_latency_are_plotted_for_each_camera():
    """Three pictures with one line for each camera, and the same figures as a table."""
    clock = Clock()
    history = History(["gate", "dock"], clock)
    history.add("gate", 25.0, 38.0, 11.0)
    dock = replace(CAMERA, key="dock", name="Dock")
    drawn = OVERVIEW.plots(replace(READING, cameras=(CAMERA, dock)), history.hour())
    assert [plot.title for plot in drawn] == ["Rate", "Age", "Latency"]
    assert [plot.rows[0].last for plot in drawn] == ["25.0", "38.0", "11.0"]
    for plot in drawn:
        picture = ET.fromstring(plot.svg)  # noqa: S314 - our own text
        assert [bool(path.get("d")) for path in picture.iter("path")] == [True, False]
        assert [(row.name, row.last) for row in plot.rows][1] == ("Dock", "–")


def documents(shown):
    yield render_overview(shown)
    yield render_log(shown, "", "")
    yield render_fixed(shown, is_admin=True)


def test_every_document_is_one_line_of_html():
    """Markdown would take an indented line for code and a blank one for the end."""
    shown = context()
    shown.ring.add(LogLine(0.0, "error", "a\n\n    b", {}, "Traceback:\n\n  File"))
    for text in documents(shown):
        assert "\n" not in text
        assert text.startswith("<div data-document=") or ' data-document="' in text[:40]
        assert f'data-at="{shown.reading().now_s:.3f}"' in text
        ET.fromstring(f"<all>{text.replace(' download>', '>')}</all>")  # noqa: S314 - our own text
    assert 'href="#shape-ok"' in render_overview(shown)
    assert "APPLIANCE_MODEL" in render_fixed(shown, is_admin=False)


def test_whatever_a_camera_or_a_setting_is_called_does_nothing():
    """Names, sentences and values arrive as text."""
    camera = replace(CAMERA, name=HOSTILE, next_step=HOSTILE, state=CameraState.OFFLINE)
    engine = replace(ENGINE, model=HOSTILE, asked=HOSTILE, proof=HOSTILE)
    reading = replace(
        READING,
        cameras=(camera, camera),
        engines=(engine,),
        health=Health.DEGRADED,
        reasons=(HOSTILE,),
    )
    row = Row("APPLIANCE_STATION__NAME", HOSTILE, "environment", is_default=False)
    shown = replace(
        context(reading),
        settings=(row,),
        state_folder=HOSTILE,
        versions=lambda: {HOSTILE: HOSTILE},
        hardware=lambda: replace(HARDWARE, gpus=(Gpu(HOSTILE, 0.5, 1, 2, 3),)),
    )
    shown.ring.add(LogLine(0.0, "error", HOSTILE, {"camera": HOSTILE}, HOSTILE))
    for text in documents(shown):
        assert "<script" not in text
        assert "&lt;script&gt;" in text
        assert "\n" not in text


@pytest.fixture
def talkative():
    """A context with a log of three lines."""
    shown = context()
    for level, message, camera in (
        ("info", "live again", "dock"),
        ("warning", "stalled for 6 s", "gate"),
        ("error", "401 Unauthorized", "dock"),
    ):
        shown.ring.add(LogLine(1_767_323_045.0, level, message, {"camera": camera}))
    return shown


def shown_lines(text):
    return re.findall(r"(live again|stalled for 6 s|401 Unauthorized)", text)


@pytest.mark.parametrize(
    ("level", "text", "expected"),
    [
        ("", "", ["401 Unauthorized", "stalled for 6 s", "live again"]),
        ("warning", "", ["401 Unauthorized", "stalled for 6 s"]),
        ("error", "", ["401 Unauthorized"]),
        ("", " DOCK ", ["401 Unauthorized", "live again"]),
        ("warning", "gate", ["stalled for 6 s"]),
        ("no such level", "", ["401 Unauthorized", "stalled for 6 s", "live again"]),
        (None, None, ["401 Unauthorized", "stalled for 6 s", "live again"]),
        ("error", "gate", []),
    ],
)
def test_the_log_is_filtered_by_severity_and_text_the_newest_first(
    talkative, level, text, expected
):
    """Whatever is asked for, the server looks for it; letters of either case are the same."""
    found = render_log(talkative, level, text)
    assert shown_lines(found) == expected
    assert ("No line fits" in found) == (not expected)


def test_a_filter_is_text_and_no_pattern(talkative):
    """What a person types is never run as anything."""
    assert shown_lines(render_log(talkative, "", ".*")) == []
    assert "<b>" not in render_log(talkative, "", "<b>")


def test_a_long_log_is_cut_and_says_so():
    """The page shows the newest lines and how many there are."""
    shown = context()
    for index in range(LOG_LINES + 5):
        shown.ring.add(LogLine(0.0, "info", f"line-{index}."))
    text = render_log(shown, "", "line")
    assert f"The newest {LOG_LINES} of {LOG_LINES + 5} lines" in text
    assert "line-4." not in text
    assert "line-5." in text


def test_a_line_shows_when_where_and_the_traceback():
    """Time, level with its tone, context, and what a programmer will ask for."""
    shown = context()
    shown.ring.add(LogLine(1_767_323_045.0, "error", "broke", {"camera": "dock"}, "Trace\n  File"))
    text = render_log(shown, "", "")
    assert re.search(r"<time>[123] Jan \d\d:\d\d:05</time>", text)
    assert '<span class="level" data-tone="fault">error</span>' in text
    assert "camera=dock" in text
    assert text.count('class="trace"') == 2


def test_the_way_to_the_bundle_is_shown_to_admins():
    """Whoever may not download it is not sent there."""
    assert "/cam/api/system/support-bundle" in render_fixed(context(), is_admin=True)
    assert "support-bundle" not in render_fixed(context(), is_admin=False)


@pytest.fixture(scope="module")
def asked():
    """Calls a handler of the System tab, by name."""
    blocks = blocks_of(whole_web())
    handlers = {
        function.name: function
        for function in blocks.fns.values()
        if tab_of(function) == "system" and function.page == ""
    }
    assert set(handlers) == {"refresh", "show_log"}

    def ask(name, user, *inputs, state=None):
        return call(blocks, handlers[name], list(inputs), user, state=state or SessionState(blocks))

    ask.opened = lambda: SessionState(blocks)
    return ask


def test_every_handler_asks_who_is_calling(asked):
    """A viewer, or nobody, who calls an event by hand gets nothing."""
    for user in ("vera", "stranger", None):
        assert asked("show_log", user, "", "") == [NOTHING]
        assert asked("refresh", user, "", "", None) == [NOTHING, NOTHING, NOTHING, None]


def test_operators_get_the_page_and_admins_the_bundle_too(asked):
    """The same events, by those who may."""
    texts = asked("refresh", "otto", "", "", None)[:3]
    assert all(texts)
    assert "support-bundle" not in str(texts[2])
    assert "support-bundle" in str(asked("refresh", "ada", "", "", None)[2])


def test_what_stays_until_a_restart_is_sent_once(asked):
    """What a person has opened in it stays open."""
    page = asked.opened()
    first = asked("refresh", "ada", "", "", None, state=page)
    again = asked("refresh", "ada", "", "", None, state=page)
    assert 'data-document="fixed"' in str(first[2])
    assert again[2] == NOTHING
    assert 'data-document="overview"' in str(again[0])


def test_the_last_update_is_told_with_what_can_be_done():
    """Whoever brought a file sees what became of it, without a shell."""
    assert "hall.bundle: it runs." in updated()
    assert "data-tone" not in updated()
    refused = updated(is_done=False, message="no trusted key signed it", hint="Ask its maker.")
    assert "hall.bundle: no trusted key signed it. Ask its maker." in refused
    assert 'data-tone="fault"' in refused
    assert "Last update" not in render_fixed(context(), is_admin=True)


def test_the_name_of_a_brought_file_is_no_markup():
    """Anybody may have named it."""
    assert "<script>" not in updated(order="<script>alert(1)</script>.bundle")
