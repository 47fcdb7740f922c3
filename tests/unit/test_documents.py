"""The documents say what the code says."""

import re
from pathlib import Path

from appliance.settings import document
from appliance.settings.variables import FILE_SUFFIX, camera_variables, station_variables

ROOT = Path(__file__).parents[2]


def test_the_settings_table_and_the_example_are_those_of_the_code():
    """README's table and .env.example are made from the fields; `make docs` writes them anew."""
    assert document.stale(ROOT) == []


def test_every_picture_and_document_that_the_readme_names_is_there():
    """No dead link leads out of the README into the project."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_sentence_that_is_explained_is_one_that_is_said():
    """The troubleshooting table quotes the code, and names variables that exist."""
    code = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "appliance").rglob("*.py")
    )
    said = re.sub(r'"\s*\n\s*f?"', "", code)  # a sentence may be written on several lines
    known = {variable.name for variable in (*station_variables(), *camera_variables("<KEY>"))}
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    quotes = [quote for row in rows for quote in re.findall("`([^`]+)`", row[1])]
    assert len(quotes) > 30
    assert [quote for quote in quotes if quote not in said] == []
    named = {name.removesuffix(FILE_SUFFIX) for name in re.findall("`(APPLIANCE_[^`=]+)`", text)}
    assert len(named) > 8
    assert named <= known


def test_every_row_of_a_table_stands_in_one():
    """A blank line within a table ends it: what follows would be shown as text with bars."""
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    blocks = [
        (path.name, block)
        for path in documents
        for block in path.read_text(encoding="utf-8").split("\n\n")
        if block.startswith("| ")
    ]
    assert len(blocks) > 20
    assert [each for each in blocks if not re.match(r".*\n\|( -+ \|)+(\n|$)", each[1])] == []


def test_every_promise_of_security_names_tests_that_there_are():
    """A promise without a test is none; nor is one whose test has gone."""
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    promises = text.partition("## Promises")[2].partition("## Not promised")[0]
    rows = [line for line in promises.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith(("| promise", "| what was found", "| ---"))]
    named = {name for row in rows for name in re.findall("`(test_[a-z0-9_]+)`", row)}
    code = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")
    )
    there = set(re.findall(r"^def (test_\w+)", code, re.MULTILINE))
    assert len(rows) > 30
    assert [row for row in rows if "`test_" not in row] == []
    assert named - there == set()
