"""Plots as text: well-formed whatever the values, everything inside the box, gaps as gaps."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.web.tabs.system.plots import (
    DASHES,
    LABEL_GAP,
    MOST_LABELS,
    SIZE,
    Line,
    Window,
    plot,
    rows,
    sentence,
    time_of_day,
)
from tests.support.web import ENGLISH_TEXTS

HOUR = Window(now_s=1_767_323_045.0, span_s=3600.0)  # 2026-01-02 03:04:05 UTC
values = st.lists(
    st.one_of(st.just(np.nan), st.floats(width=32, allow_nan=True), st.floats(0, 60, width=32)),
    max_size=40,
)
names = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=30)


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    """The station's time zone."""
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def line(*numbers, name="Gate"):
    return Line(name, np.array(numbers, np.float32))


def draw(*lines, window=HOUR):
    count = max((len(each.values) for each in lines), default=0)
    ago_s = np.linspace(window.span_s, 0, count, dtype=np.float32)
    return ET.fromstring(plot("Rate", lines, ago_s, window, ENGLISH_TEXTS))  # noqa: S314 - our own text


def paths(drawing):
    return [path.get("d") for path in drawing.iter("path")]


def texts(drawing, kind=None):
    return [text.text for text in drawing.iter("text") if text.get("class") == kind]


def percents(drawing):
    for element in drawing.iter():
        for name in ("x", "y", "x1", "x2", "y1", "y2", "width", "height"):
            found = element.get(name, "")
            if found.endswith("%"):
                yield float(found[:-1])


@given(st.lists(st.tuples(names, values), max_size=9))
def test_any_series_gives_a_well_formed_picture_inside_its_box(series):
    """Empty, one point, all unknown, infinite, negative or huge: no NaN, and nothing outside."""
    size = max((len(numbers) for _, numbers in series), default=0)
    lines = [
        Line(name, np.array(numbers + [np.nan] * (size - len(numbers)), np.float32))
        for name, numbers in series
    ]
    drawing = draw(*lines)
    attributes = " ".join(
        value
        for each in drawing.iter()
        for key, value in each.attrib.items()
        if key != "aria-label"
    )
    assert not re.search(r"nan|inf", attributes)
    assert len(paths(drawing)) == len(lines)
    for path in paths(drawing):
        assert all(0 <= float(number) <= SIZE for number in re.findall(r"[\d.e+-]+", path))
    assert all(0 <= percent <= 100 for percent in percents(drawing))
    assert len(rows(lines, ENGLISH_TEXTS)) == len(lines)


def test_an_unknown_value_is_a_gap_and_one_alone_a_dot():
    """The pen is lifted over what is not known; nothing is drawn through it."""
    (path,) = paths(draw(line(1, 1, np.nan, np.nan, 1, np.nan, 1, 1)))
    assert path.count("M") == 3
    assert path.count("L") == 2
    assert "h0" in path


def test_nothing_known_draws_nothing_and_says_so():
    """A camera that was never there has a line in the table, and none in the picture."""
    drawing = draw(line(np.nan, np.nan))
    assert paths(drawing) == [""]
    assert drawing.get("aria-label") == "Rate, last hour: nothing is known."
    (row,) = rows([line(np.nan, np.nan)], ENGLISH_TEXTS)
    assert (row.last, row.lowest, row.highest) == ("–", "–", "–")


def test_higher_values_are_drawn_higher_and_later_ones_further_right():
    """The axes point where people expect them to."""
    (path,) = paths(draw(line(0, 30)))
    (x1, y1), (x2, y2) = re.findall(r"[ML](\d+) (\d+)", path)
    assert (int(x1), int(x2)) == (0, SIZE)
    assert int(y1) > int(y2)
    assert int(y1) == SIZE


@pytest.mark.parametrize(
    ("highest", "ticks"),
    [
        (0, ["0", "0.5", "1"]),
        (0.3, ["0", "0.5", "1"]),
        (25.3, ["0", "10", "20", "30"]),
        (30, ["0", "10", "20", "30"]),
        (38.2, ["0", "20", "40"]),
        (131, ["0", "50", "100", "150"]),
        (4200, ["0", "2000", "4000", "6000"]),
    ],
)
def test_the_scale_has_few_round_numbers_and_starts_at_zero(highest, ticks):
    """1, 2 or 5 times a power of ten, with the highest value below the top."""
    found = texts(draw(line(highest)))
    assert found[: len(ticks)] == ticks
    assert len(found) - len(ticks) in {4, 5}  # the rest are times


def test_the_time_axis_has_the_quarters_of_the_hour():
    """Wall-clock times, in order."""
    assert texts(draw(line(5)))[-4:] == ["02:15", "02:30", "02:45", "03:00"]


def test_times_are_the_stations_own(monkeypatch):
    """TZ decides, and the page says which zone it is."""
    import time

    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    assert time_of_day(HOUR.now_s, "%H:%M %Z") == "04:04 CET"


def test_lines_are_told_apart_without_colors():
    """Each has its own dash, then its own grey, and up to a handful their names beside them."""
    few = [line(25 - index, name=f"Camera {index}") for index in range(MOST_LABELS)]
    drawing = draw(*few)
    assert {path.get("stroke-dasharray", "") for path in drawing.iter("path")} == set(DASHES)
    assert sorted(texts(drawing, "name")) == [each.name for each in few]
    many = [line(index, name=f"Camera {index}") for index in range(2 * MOST_LABELS)]
    styles = [row.style for row in rows(many, ENGLISH_TEXTS)]
    assert len(set(styles)) == len(many)
    assert texts(draw(*many), "name") == []
    assert texts(draw(line(1)), "name") == []


@given(st.lists(st.floats(0, 100, width=32), min_size=2, max_size=MOST_LABELS))
def test_names_beside_the_lines_never_cover_each_other(ends):
    """Lines that end together have their names pushed apart, within the picture."""
    drawing = draw(*(line(end, name=str(index)) for index, end in enumerate(ends)))
    heights = sorted(
        float(text.get("y")[:-1]) for text in drawing.iter("text") if text.get("class") == "name"
    )
    assert len(heights) == len(ends)
    assert all(gap >= LABEL_GAP - 0.2 for gap in np.diff(heights))
    assert all(0 < height < 100 for height in heights)


def test_a_long_name_is_cut_in_the_picture_and_whole_in_the_table():
    """The picture has room for some letters; the table has room for all."""
    long = line(5, name="Bicycle stand behind the hall")
    assert texts(draw(long, line(3)), "name")[0] == "Bicycle st…"
    assert rows([long], ENGLISH_TEXTS)[0].name == "Bicycle stand behind the hall"


def test_a_name_with_markup_is_text():
    """Whatever a camera is called, it does nothing."""
    hostile = '"><script>alert(1)</script>'
    svg = plot(
        "Rate", [line(1, name=hostile), line(2)], np.zeros(1, np.float32), HOUR, ENGLISH_TEXTS
    )
    assert "<script" not in svg
    assert len(texts(ET.fromstring(svg), "name")) == 2  # noqa: S314 - our own text


def test_who_does_not_see_the_picture_reads_the_same():
    """A sentence with the range, a table with last, lowest and highest."""
    lines = [line(25.04, 3, 24.9), line(np.nan, np.nan, np.nan, name="Dock")]
    assert (
        sentence("Rate", lines, ENGLISH_TEXTS)
        == "Rate, last hour, 1 of 2 cameras: from 3.0 to 25.0."
    )
    assert draw(*lines).get("aria-label") == sentence("Rate", lines, ENGLISH_TEXTS)
    gate, dock = rows(lines, ENGLISH_TEXTS)
    assert (gate.name, gate.last, gate.lowest, gate.highest) == ("Gate", "24.9", "3.0", "25.0")
    assert (dock.name, dock.last) == ("Dock", "–")
    (row,) = rows([line(25, np.nan)], ENGLISH_TEXTS)
    assert (row.last, row.highest) == ("–", "25.0")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.0, "0.0"),
        (11.44, "11.4"),
        (99.96, "100"),
        (1234.5, "1234"),
    ],
)
def test_figures_have_one_decimal_below_a_hundred(value, text):
    """As exact as a person needs; unknown is a dash, never 0."""
    assert ENGLISH_TEXTS.figure(value) == text
