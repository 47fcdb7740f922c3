"""Gradio's own words: lines of the log, instead of text on standard error and output.

It prints a traceback of whatever a request makes fail, past the log, its form and its redaction;
so anybody who is signed in could fill the disk with them. Its modules print by two names only, and
each is given its own of both here. What they say then goes by the way of every library that speaks
with strangers: one line of a kind a minute, and how many more there were.
"""

import logging
import sys
import traceback
from types import ModuleType

from typing_extensions import override

LONGEST = 300  # letters of what is told of an error, which may hold what was sent
_OURS = "appliance"
_log = logging.getLogger("gradio")


def quieten_gradio() -> None:
    """Give every module of Gradio's that is loaded a way to print that is the log."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in {"gradio", "gradio_client"}:
            module.__dict__["print"] = _Printing(name)
            if module.__dict__.get("traceback") is traceback:
                module.__dict__["traceback"] = _TRACEBACK


class _Printing:
    """Stands for `print` in one module."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __call__(self, *values: object, **_: object) -> None:
        told = " ".join(map(str, values))[:LONGEST]
        _log.info(f"{self._module} says: %s", told)


class _Traceback(ModuleType):
    """Stands for the module `traceback`: the error that is handled is told in one line."""

    @override
    def __getattr__(self, name: str) -> object:
        return getattr(traceback, name)

    @staticmethod
    def print_exc(*_: object, **__: object) -> None:
        """Tell what is being handled."""
        error = sys.exc_info()[1]
        if error is not None:
            kind = f"page: a call ended with {type(error).__name__} at {_place_of(error)}: %s"
            _log.warning(kind, str(error)[:LONGEST])


_TRACEBACK = _Traceback("traceback")


def _place_of(error: BaseException) -> str:
    """Module and line where it was raised; the last of ours on the way, if there is one."""
    frames = traceback.walk_tb(error.__traceback__)
    names = [(str(frame.f_globals.get("__name__")), line) for frame, line in frames]
    ours = [each for each in names if each[0].partition(".")[0] == _OURS]
    name, line = (ours or names or [("nowhere", 0)])[-1]
    return f"{name}:{line}"
