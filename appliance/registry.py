"""Finds plug-ins: a new source, head, task, engine, publisher or tab is one new file in its folder.

A plug-in module exposes one constant (SOURCE, HEAD, TASK, ENGINE, PUBLISHER, TAB); the registry
maps the module's name to it. Modules without the constant are helpers and are passed over.
"""

import importlib
import pkgutil
from types import ModuleType
from typing import TypeVar

from appliance.errors import ApplianceError

T = TypeVar("T")


def plugins(package: ModuleType, constant: str, kind: type[T]) -> dict[str, T]:
    """Every `constant` in the modules of `package`, by module name, in the order of names.

    Raises:
        ApplianceError: a module's constant is not of `kind`.
    """
    found: dict[str, T] = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        value = getattr(module, constant, None)
        if value is None:
            continue
        if not isinstance(value, kind):
            got = type(value).__name__
            raise ApplianceError(
                f"{module.__name__}.{constant}: expected {kind.__name__}, got {got}"
            )
        found[info.name] = value
    return found
