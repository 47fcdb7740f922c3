"""What became of updates, as the page reads it."""

from dataclasses import replace

from appliance.delivery.results import KEPT, RESULTS, UpdateResult, last_update, record

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
