"""Plug-ins are found by being there."""

import sys

import pytest

from appliance.errors import ApplianceError
from appliance.registry import plugins


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes a package of modules and imports it."""

    def write(**modules):
        folder = tmp_path / "made_plugins"
        folder.mkdir()
        (folder / "__init__.py").touch()
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(text)
        return __import__("made_plugins")

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == "made_plugins"]:
        del sys.modules[name]


def test_a_new_file_is_a_new_plugin(package):
    """Each module with the constant is found under its own name, in the order of names."""
    found = plugins(package(zebra="TASK = 'z'", ant="TASK = 'a'"), "TASK", str)
    assert list(found.items()) == [("ant", "a"), ("zebra", "z")]


def test_helpers_are_passed_over(package):
    """A module without the constant is no plug-in and no error."""
    assert plugins(package(helper="OTHER = 1"), "TASK", str) == {}


def test_a_constant_of_another_kind_is_refused(package):
    """A plug-in that is not what it says is told by its place."""
    with pytest.raises(ApplianceError, match=r"made_plugins.odd.TASK: expected str, got int"):
        plugins(package(odd="TASK = 5"), "TASK", str)


def test_a_plugin_that_cannot_be_imported_is_not_hidden(package):
    """A broken plug-in fails loudly instead of being missing quietly."""
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        plugins(package(broken="import no_such_library"), "TASK", str)
