"""Gradio's page of the application, and calls of its handlers as Gradio makes them."""

import asyncio
import inspect
from typing import Any

import gradio as gr
from gradio.state_holder import SessionState
from starlette.requests import Request

from appliance.web.access.callers import ADDRESS_KEY
from appliance.web.access.gate import SESSION_KEY
from tests.support.web import Web

NOTHING = {"__type__": "update"}  # what an output is sent that stays as it is
ADDRESS = "192.0.2.9"


def blocks_of(web: Web) -> gr.Blocks:
    """Those of a `whole_web`."""
    page = inspect.getclosurevars(web.app._app).nonlocals["page"]._page
    return next(route.app for route in page.routes if route.path == "/ui").get_blocks()


def tab_of(function: Any) -> str:
    """The key of the tab in which a handler's parts stand; empty for what belongs to no tab."""
    parts = [*function.inputs, *function.outputs]
    found = {_around(part) for part in parts}
    assert len(found) == 1, f"{function.name}: in {found}"
    return found.pop()


def _around(part: Any) -> str:
    while part.parent is not None:
        part = part.parent
        if isinstance(part, gr.Tab):
            return str(part.elem_id).removeprefix("page-")
    return ""


def call(
    blocks: gr.Blocks,
    function: Any,
    inputs: list[object],
    user: str | None,
    *,
    state: SessionState | None = None,
    session: Any = None,
) -> list[object]:
    """What the page is sent when this person calls a handler.

    Args:
        blocks: the page.
        function: the handler, as `blocks` knows it.
        inputs: what its inputs hold; of a State the value in `state` counts.
        user: who calls, as the gate has let them in; None for nobody.
        state: of the open page; of one that was just opened unless given.
        session: of the one who calls.
    """
    scope = {"type": "http", "headers": [], SESSION_KEY: session, ADDRESS_KEY: ADDRESS}
    request = gr.Request(Request(scope), username=user)
    kept = SessionState(blocks) if state is None else state

    async def asked() -> list[object]:
        done = await blocks.process_api(function, inputs, state=kept, request=request)
        return list(done["data"])

    return asyncio.run(asked())
