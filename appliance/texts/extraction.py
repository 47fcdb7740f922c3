"""Finds, for the catalog, the sentences of modules that know nothing of languages.

Babel calls `sentences` for each module that pyproject.toml names. A sentence is a text of more than
one word that is no documentation and goes to nobody but people: not into the log, and not into a
setting's description. An f-string becomes a text with a {name} for each value.
"""

import ast
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import BinaryIO

from appliance.texts.sentences import MARK, PLACE

LOGS = {"debug", "info", "warning", "error", "exception", "log", "bind"}
MAKING = {"__name__", "join", "lower", "upper", "removeprefix"}  # what a text is made by
NOT_SAID = LOGS | {"setting", "Thread", "compile", "search", "split", "startswith"}
# SQL, RTSP, headers, Python, our own command line, and what is laid out for a terminal.
_FOREIGN = re.compile(r"[A-Z]{5,} |[A-Z][\w-]+: |[\w/]+; \w+=|import |appliance |.*   ")
Found = tuple[int, str | None, str, list[str]]


def sentences(
    file: BinaryIO,
    _keywords: Mapping[str, object],
    _comment_tags: Collection[str],
    options: Mapping[str, str],  # noqa: ARG001 - Babel's name for it
) -> Iterator[Found]:
    """As Babel wants them: line, function, text, comments."""
    tree = ast.parse(file.read())
    for node in _said(tree):
        text = template(node)
        if text is not None and _reads(text):
            yield node.lineno, None, text, [MARK]


def template(node: ast.expr) -> str | None:
    """The text that an expression makes, with a {name} for each value; None for no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if not isinstance(node, ast.JoinedStr):
        return None
    parts: list[str] = []
    seen: Counter[str] = Counter()
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            name = _name(part.value)
            seen[name] += 1
            parts.append(f"{{{name}{seen[name] if seen[name] > 1 else ''}}}")
        elif isinstance(part, ast.Constant):
            parts.append(str(part.value))
    return "".join(parts)


def _said(node: ast.AST) -> Iterator[ast.expr]:
    """Texts below a node that people may read."""
    if isinstance(node, ast.Constant | ast.JoinedStr):
        yield node
        return
    if isinstance(node, ast.Call) and _called(node) in NOT_SAID:
        yield from _forms(node)
        return
    for child in ast.iter_child_nodes(node):
        is_documentation = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        if not is_documentation and not isinstance(child, ast.Compare):
            yield from _said(child)


def _forms(call: ast.Call) -> Iterator[ast.expr]:
    """Of a setting's description, the note that tells its form."""
    for keyword in call.keywords:
        if keyword.arg == "note":
            yield from _said(keyword.value)


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)


def _name(value: ast.expr) -> str:
    """What to call a value: by the first of its names that tells more than how it is made."""
    functions = {id(node.func) for node in ast.walk(value) if isinstance(node, ast.Call)}
    names = (
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(value)
        if isinstance(node, ast.Attribute | ast.Name)
        if isinstance(node, ast.Attribute) or id(node) not in functions
    )
    telling = (name for name in names if name not in MAKING)
    return next(telling, "value").strip("_").lower()


def _reads(text: str) -> bool:
    """Whether a text is more than a word, and no other program's language."""
    fixed = PLACE.sub("", text)
    return " " in text.strip() and any(map(str.isalpha, fixed)) and not _FOREIGN.match(text)
