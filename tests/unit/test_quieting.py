"""Gradio prints nothing by itself: what it says are lines of the log."""

import ast
import importlib.util
import logging
import subprocess
import sys
import traceback
from pathlib import Path
from types import ModuleType

import pytest

from appliance.web.quieting import LONGEST, quieten_gradio

LOADED = """
import sys
from appliance.web.importing import import_gradio
import_gradio()
import appliance.web.page
print(*sorted(name for name in sys.modules if name.partition(".")[0].startswith("gradio")))
"""
NEVER_LOADED = {
    "gradio.cli": "a command line, which no station has",
    "gradio.ipython_ext": "of notebooks",
    "gradio.themes.builder_app": "a page on which people design a theme",
    "gradio.workflow": "a page of another kind",
    "gradio_client.templates": "files that are copied elsewhere",
}
"""Modules that print and are not there when the page is made, with the reason why they may."""
WAYS = {"print", "sys.stderr.write", "sys.stdout.write", "pprint", "pprint.pprint"}


def modules():
    """Name and source of each module of Gradio and its client."""
    for package in ("gradio", "gradio_client"):
        (place,) = importlib.util.find_spec(package).submodule_search_locations
        for path in sorted(Path(place).rglob("*.py")):
            relative = path.relative_to(Path(place).parent).with_suffix("")
            parts = relative.parts[:-1] if relative.name == "__init__" else relative.parts
            text = path.read_text(encoding="utf-8")
            if "print" in text or "write(" in text:
                yield ".".join(parts), ast.parse(text)


def printed_by(tree):
    """The ways in which a module prints, as it writes them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in WAYS or called.startswith("traceback.print"):
                yield called
        elif isinstance(node, ast.ImportFrom) and node.module == "traceback":
            yield "from traceback"


def test_gradio_prints_by_no_other_way():
    """By the two names that are replaced, in modules that are there when they are replaced."""
    ways = {name: set(printed_by(tree)) for name, tree in modules()}
    printing = {name: found for name, found in ways.items() if found}
    assert set().union(*printing.values()) == {"print", "traceback.print_exc"}
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )
    missed = set(printing) - set(done.stdout.split())
    assert {name for name in missed if not name.startswith(tuple(NEVER_LOADED))} == set()


@pytest.fixture
def module(monkeypatch):
    """A module of Gradio's that prints, after the page was made."""
    made = ModuleType("gradio.stand_in")
    made.traceback = traceback
    monkeypatch.setitem(sys.modules, "gradio.stand_in", made)
    for name, loaded in list(sys.modules.items()):
        if name.startswith("gradio") and loaded is not made:
            monkeypatch.delitem(sys.modules, name)  # another test's page
    quieten_gradio()
    return made


def test_an_error_that_is_printed_is_one_line(module, caplog):
    """With its kind and place; what was sent is a part of it that has an end."""
    try:
        {}["x" * 10_000]
    except KeyError:
        module.traceback.print_exc()
    (line,) = caplog.records
    told = line.getMessage()
    assert told.startswith(f"page: a call ended with KeyError at {__name__}:")
    assert len(told) < LONGEST + 200
    assert line.exc_info is None
    module.traceback.print_exc()  # nothing is being handled
    assert len(caplog.records) == 1


def test_errors_of_one_place_are_of_one_kind(module, caplog):
    """So that they are counted together, whatever was sent."""
    for sent in ("a", "b"):
        try:
            int(sent)
        except ValueError:
            module.traceback.print_exc()
    first, second = caplog.records
    assert first.msg == second.msg
    assert first.getMessage() != second.getMessage()


def test_what_is_printed_is_a_line(module, caplog, capsys):
    """Wherever it was to go; the rest of the module's tools are as they were."""
    caplog.set_level(logging.INFO)
    module.print("a", 1, file=sys.stderr)
    assert [line.getMessage() for line in caplog.records] == ["gradio.stand_in says: a 1"]
    assert capsys.readouterr() == ("", "")
    assert module.traceback.format_exc is traceback.format_exc
