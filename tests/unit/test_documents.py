"""The documents say what the code says."""

from pathlib import Path

from appliance.settings import document

ROOT = Path(__file__).parents[2]


def test_the_settings_table_and_the_example_are_those_of_the_code():
    """README's table and .env.example are made from the fields; `make docs` writes them anew."""
    assert document.stale(ROOT) == []


def test_every_picture_and_document_that_the_readme_names_is_there():
    """No dead link leads out of the README into the project."""
    import re

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []
