"""Joins the modules of a page into one script, so that a browser asks for one file.

It understands what our own modules say and no more: named imports of each other, and `export` in
front of a declaration. Each module becomes a function, which gives what it exports.
"""

import os
import re
from pathlib import Path

_IMPORT = re.compile(r'^import (?:(\{[^{}]*\}) from )?"(\.[^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|function|class|const) (\w+))", re.MULTILINE)
_UNKNOWN = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def joined_modules(*entries: Path) -> str:
    """One script that does what the modules do, one after the other, with all that they import.

    Raises:
        ValueError: a module says what is not understood here, or modules import each other.
    """
    made: dict[Path, str] = {}
    root = os.path.commonpath([entry.resolve().parent for entry in entries])
    for entry in entries:
        if entry.resolve() not in made:
            _join(entry.resolve(), root, made, importers=())
    return "".join(made.values())


def _join(module: Path, root: str, made: dict[Path, str], importers: tuple[Path, ...]) -> None:
    """Put `module` into `made`, after all that it imports."""
    if module in importers:
        raise ValueError(f"{module}: it imports itself, by way of others")
    text = module.read_text(encoding="utf-8")
    names = []
    for imported, target in _IMPORT.findall(text):
        other = (module.parent / target).resolve()
        if other not in made:
            _join(other, root, made, (*importers, module))
        if imported:
            names.append(f"const {imported} = ${list(made).index(other)};\n")
    body = _IMPORT.sub("", text)
    exported = ", ".join(_EXPORT.findall(body))
    body = _EXPORT.sub("", body)
    if unknown := _UNKNOWN.search(body):
        raise ValueError(f"{module}: this is not understood: {unknown[0]}")
    begin = f"// {os.path.relpath(module, root)}\nconst ${len(made)} = (() => {{\n{''.join(names)}"
    made[module] = f"{begin}{body}\nreturn {{ {exported} }};\n}})();\n"
