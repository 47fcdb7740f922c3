"""What became of updates, as the page reads it."""

import json
import os
from dataclasses import asdict, replace

import pytest

from appliance.delivery.results import KEPT, MOST_BYTES, RESULTS, UpdateResult, last_update, record
from appliance.web.tabs.system.page import render_fixed
from appliance.web.templates import Pages
from tests.support.web import tab_context

RESULT = UpdateResult("2026-11-28T17:00:00+00:00", "a.bundle", True, "0.2.0", "it runs")


def test_where_no_update_ever_was_there_is_nothing_to_tell(tmp_path):
    """As in a container, which has not even the folder."""
    assert last_update(tmp_path) is None
    assert last_update(tmp_path / "none") is None


def test_the_newest_is_told_and_the_last_hundred_are_kept(tmp_path):
    """The file does not grow for ever."""
    for n in range(KEPT + 5):
        record(replace(RESULT, version=f"0.{n}.0"), tmp_path)
    assert last_update(tmp_path) == replace(RESULT, version=f"0.{KEPT + 4}.0")
    lines = (tmp_path / RESULTS).read_text().splitlines()
    assert len(lines) == KEPT
    assert '"0.5.0"' in lines[0]


def test_a_damaged_line_hides_no_other(tmp_path):
    """Nor does one that a newer release has written."""
    record(RESULT, tmp_path)
    with (tmp_path / RESULTS).open("a") as file:
        file.write('{"at": "half\n\xff\n{"unknown": 1}\n[]\n')
    assert last_update(tmp_path) == RESULT


PAGES = Pages(base="", station_name="", version="0.0")
VALUES = [
    *(None, True, 1, -1e308, float("nan"), [], ["x"], {}, {"at": {}}),
    *("", "\udcdc", "\x1b[2J", "\n\n# x", "<script>alert(1)</script>", "{{1}} {} %s", "x" * 10**5),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-11-28", "2026-11-28T17:00"),
]


@pytest.mark.parametrize("field", [*asdict(RESULT)])
def test_no_line_breaks_the_page(tmp_path, field):
    """Whatever its values are: it is told as text, or not at all."""
    for value in VALUES:
        line = json.dumps({**asdict(RESULT), field: value})
        (tmp_path / RESULTS).write_text(f"{line}\n")
        page = render_fixed(tab_context(PAGES, last_update=last_update(tmp_path)), is_admin=False)
        page.encode()
        assert "<script>" not in page
        assert len(page) < 20_000


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b"\xff" * 100, b"1" * 10_000, b"{", b"null", b'"\\udcdc"', b"\0"]
)
def test_a_line_that_is_no_result_is_passed_over(tmp_path, line):
    """However deep, long or damaged it is."""
    record(RESULT, tmp_path)
    with (tmp_path / RESULTS).open("ab") as file:
        file.write(line + b"\n")
    assert last_update(tmp_path) == RESULT


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "huge"])
def test_what_is_no_plain_file_tells_nothing_and_keeps_nobody_waiting(tmp_path, kind):
    """Nor does one that is too large to be ours."""
    path = tmp_path / RESULTS
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/dev/zero")
    else:
        path.touch()
        os.truncate(path, MOST_BYTES + 1)
    assert last_update(tmp_path) is None


def test_a_name_that_is_no_text_is_told_as_far_as_it_can_be(tmp_path):
    """A stick from an old system has such names."""
    record(replace(RESULT, order=os.fsdecode(b"\xdcpdate.bundle"), message="a\nb"), tmp_path)
    last = last_update(tmp_path)
    assert (last.order, last.message) == ("\\udcdcpdate.bundle", "a\\nb")
