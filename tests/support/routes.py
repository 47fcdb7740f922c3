"""Every route of the running application, found by walking it: included routers, mounts, Gradio."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import Mount, Route, WebSocketRoute

from tests.support.web import Web


def every_endpoint(web: Web) -> list[tuple[str, str]]:
    """Method and path of each, with "x" for what a path leaves open."""
    parts = inspect.getclosurevars(web.app._app).nonlocals
    return sorted({*endpoints(parts["app"]), *endpoints(parts["page"]._page)})


def every_handler(web: Web) -> Iterator[Callable[..., Any]]:
    """The functions behind our own routes."""
    yield from handlers(inspect.getclosurevars(web.app._app).nonlocals["app"])


def handlers(router: Any) -> Iterator[Callable[..., Any]]:
    """The same below one router."""
    for route in router.routes:
        if hasattr(route, "endpoint"):
            yield route.endpoint
        elif hasattr(route, "original_router"):
            yield from handlers(route.original_router)


def endpoints(router: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The same below one router: included routers and mounted applications too."""
    for route in router.routes:
        if isinstance(route, (APIWebSocketRoute, WebSocketRoute)):
            yield "WEBSOCKET", prefix + filled(route.path)
        elif isinstance(route, (APIRoute, Route)):
            for method in route.methods or {"GET"}:
                yield method, prefix + filled(route.path)
        elif isinstance(route, Mount):
            yield "GET", prefix + route.path + "/player.js"
            if hasattr(route.app, "routes"):
                yield from endpoints(route.app, prefix + route.path)
        elif hasattr(route, "original_router"):
            include = route.include_context.prefix
            yield from endpoints(route.original_router, prefix + include)
        else:
            pytest.fail(f"the walk does not know {type(route)}: teach it")


def filled(path: str) -> str:
    """A path as somebody could ask for it."""
    return re.sub(r"\{[^}]*\}", "x", path)
