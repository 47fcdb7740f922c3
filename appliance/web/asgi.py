"""The words of ASGI, what stands in a request's headers, and the language of its answer."""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from appliance.texts import Languages, Texts

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TEXTS_KEY = "appliance.texts"
LANGUAGE_COOKIE = "appliance-language"  # set by static/public/language.js

_ABSOLUTE = re.compile(rb"https?://([^/]*)(/.*)?", re.IGNORECASE | re.DOTALL)


def header(scope: Scope, name: bytes) -> str:
    """A header's value; a repeated one counts as none, since two readers could differ."""
    values = [value for key, value in scope["headers"] if key == name]
    return values[0].decode("latin-1") if len(values) == 1 else ""


def read_target(scope: Scope) -> None:
    """Take a request line with a whole URL apart, as programs send that talk to proxies.

    As HTTP has it (RFC 9112, 3.2.2), its host counts, and what the Host header says does not.
    """
    target = _ABSOLUTE.fullmatch(scope.get("raw_path") or b"")
    if target is None:
        return
    host, raw_path = target[1], target[2] or b"/"
    others = [(name, value) for name, value in scope["headers"] if name != b"host"]
    scope["headers"] = [(b"host", host), *others]
    scope["raw_path"], scope["path"] = raw_path, unquote(raw_path.decode("latin-1"))


def cookie_of(scope: Scope, name: str) -> str:
    """A cookie's value, or nothing; a repeated one counts as none.

    Cookies that other programs on this host have set may hold anything, so the standard library's
    parser, which gives all of them up for a single odd one, would lock people out.
    """
    pairs = (part.partition("=") for part in header(scope, b"cookie").split(";"))
    values = [value.strip() for key, _, value in pairs if key.strip() == name]
    return values[0] if len(values) == 1 else ""


def note_language(scope: Scope, languages: Languages) -> None:
    """Put the texts of whoever calls into the scope: what they chose counts before all else."""
    scope[TEXTS_KEY] = languages.choose(
        chosen=cookie_of(scope, LANGUAGE_COOKIE), accepted=header(scope, b"accept-language")
    )


def texts_of(scope: Scope) -> Texts:
    """The texts for whoever calls."""
    texts: Texts = scope[TEXTS_KEY]
    return texts
