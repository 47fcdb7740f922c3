"""Gradio's import, without what it does for people who write components.

At each import it parses the source of every component, renders a stub of its events for editors and
writes it beside the source: half of the time that the page takes to come up, spent on files that
no station reads, in a folder that may be read-only.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from typing_extensions import override

from appliance.garbage import collect_as_usual

_WRITER = "gradio.component_meta"  # the module that writes the stubs


def import_gradio() -> None:
    """Import it; after that any module may, as usual."""
    try:
        with without_stubs():
            import gradio  # noqa: F401, PLC0415 - takes seconds
    finally:
        collect_as_usual()  # Gradio is the last and largest import


@contextmanager
def without_stubs() -> Iterator[None]:
    """Whoever imports Gradio meanwhile imports it so."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    """Finds the one module, to have it loaded by `_Loader`."""

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _WRITER:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Loads it as `loader` does, and takes its writing away."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    @override
    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    @override
    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        module.create_or_modify_pyi = _write_nothing  # type: ignore[attr-defined] # its own name


def _write_nothing(*_: object) -> None:
    """In the place of what writes the stub of a component."""
