"""The words of ASGI, and what stands in a request's headers."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def header(scope: Scope, name: bytes) -> str:
    """A header's value; a repeated one counts as none, since two readers could differ."""
    values = [value for key, value in scope["headers"] if key == name]
    return values[0].decode("latin-1") if len(values) == 1 else ""


def cookie_of(scope: Scope, name: str) -> str:
    """A cookie's value, or nothing; a repeated one counts as none.

    Cookies that other programs on this host have set may hold anything, so the standard library's
    parser, which gives all of them up for a single odd one, would lock people out.
    """
    pairs = (part.partition("=") for part in header(scope, b"cookie").split(";"))
    values = [value.strip() for key, _, value in pairs if key.strip() == name]
    return values[0] if len(values) == 1 else ""
