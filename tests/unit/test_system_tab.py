"""The System page in words: what is as it should be, what is not, and what to do."""

from dataclasses import replace

import pytest

from appliance.logs import LogLine
from appliance.settings import Row
from appliance.values import CameraState, EngineState, Health
from appliance.web.tabs.system import duration, health_lines, render
from appliance.web.templates import Pages
from tests.support.web import CAMERA, ENGINE, READING, tab_context

HOSTILE = "<script>alert(1)</script>\n\n    & *x*"


def context(reading=READING):
    pages = Pages(base="/cam", station_name="Hall 3", version="0.0")
    return tab_context(pages, reading, base="/cam")


def lines(**changes):
    return {line.title: line for line in health_lines(replace(READING, **changes))}


def test_a_healthy_station_says_so_without_colors():
    """Nothing is marked where nothing needs a look."""
    found = lines()
    assert found["Engine"].text == "ONNX Runtime CPU 1.0 fp32, asked: auto."
    assert found["Cameras"].text == "1 of 1 live."
    assert {line.tone for line in found.values()} == {""}


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
    """An empty station is no healthy one."""
    assert lines(cameras=())["Cameras"].text == "None is configured."


@pytest.mark.parametrize(
    ("changes", "text", "tone"),
    [
        ({"state": EngineState.WAITING}, "Waiting", "busy"),
        (
            {"state": EngineState.BUILDING, "sentence": "Comparing", "progress": 0.43},
            "Comparing 43%",
            "busy",
        ),
        ({"sentence": "no GPU here"}, "ONNX Runtime CPU 1.0 fp32. no GPU here.", "warn"),
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


def test_a_loop_that_stands_still_is_a_fault():
    """The line turns when the loop has not ticked for a while."""
    assert lines(loop_age_s=0.4)["Loop"].tone == ""
    stuck = lines(loop_age_s=61.0)["Loop"]
    assert (stuck.text, stuck.tone) == ("Has not ticked for 61 s.", "fault")


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
    assert duration(seconds) == text


def test_the_document_is_one_line_of_html():
    """Markdown would take an indented line for code and a blank one for the end."""
    text = render(context())
    assert "\n" not in text
    assert text.startswith("<div")
    assert "APPLIANCE_MODEL" in text
    assert "/cam/static/public/sprite.svg#" in text


def test_whatever_a_camera_or_a_setting_is_called_does_nothing():
    """Names, sentences and values arrive as text."""
    camera = replace(CAMERA, name=HOSTILE, next_step=HOSTILE, state=CameraState.OFFLINE)
    reading = replace(READING, cameras=(camera,), health=Health.DEGRADED, reasons=(HOSTILE,))
    row = Row("APPLIANCE_STATION__NAME", HOSTILE, "environment", is_default=False)
    text = render(replace(context(reading), settings=(row,)))
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 3
    assert "\n" not in text


def test_log_lines_stand_on_the_page_escaped():
    """A message of several lines becomes one, and markup in it does nothing."""
    shown = context()
    shown.ring.add(LogLine(1_767_323_045.0, "error", HOSTILE, {"camera": "<b>dock</b>"}))
    text = render(shown)
    assert "03:04:05" in text
    assert "camera=&lt;b&gt;dock" in text
    assert "<script" not in text
    assert "\n" not in text
