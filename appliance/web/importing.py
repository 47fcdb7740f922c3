"""Gradio's import, without what it does for people who write components or show tables.

At each import it parses the source of every component, renders a stub of its events for editors and
writes it beside the source: half of the time that the page takes to come up, spent on files that
no station reads, in a folder that may be read-only. And it loads pandas, a seventh of that time,
for tables that no page of ours has; where something asks for it after all, it is loaded then.
"""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from typing_extensions import override

from appliance.garbage import collect_as_usual

_WRITER = "gradio.component_meta"  # the module that writes the stubs
_TABLES = "pandas"


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
    """Finds the two modules, to have each loaded in its own way."""

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        own = _LOADERS.get(fullname)
        if own is None:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = own(spec.loader)
        return spec


class _WithoutStubs(Loader):
    """Loads the writer as `loader` does, and takes its writing away."""

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


class _WhenAsked(Loader):
    """Leaves the loading to whoever first asks for something of the module.

    The standard library's LazyLoader takes a second `import` of the module for such a question.
    """

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    @override
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Later(spec.name)

    @override
    def exec_module(self, module: ModuleType) -> None:
        del module.__path__  # a part of it needs the whole
        module.__dict__["__later__"] = self._loader


class _Later(ModuleType):
    """A module that is not loaded yet; `__getattr__` is asked for what is not there."""

    @override
    def __getattr__(self, name: str) -> object:
        with _LOADING:
            loader, spec = self.__dict__.pop("__later__", None), self.__spec__
            if loader is not None and spec is not None:
                self.__path__ = spec.submodule_search_locations or []
                loader.exec_module(self)
            if name in self.__dict__:
                return self.__dict__[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


_LOADING = threading.RLock()  # threads that ask meanwhile wait for all of it
_LOADERS = {_WRITER: _WithoutStubs, _TABLES: _WhenAsked}
