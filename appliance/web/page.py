"""The Gradio page: the bar at the top and the tabs, mounted below the base path."""

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import PlainTextResponse, Response

from appliance.registry import plugins
from appliance.web import tabs
from appliance.web.context import TabContext
from appliance.web.gate import SESSION_KEY
from appliance.web.tabs import Tab
from appliance.web.theme import theme

TITLE = "Vision Appliance"
SWEEP_S = 600  # Gradio's temporary files: how often they are looked at,
KEEP_S = 1800  # and how old they may become


def page_application(context: TabContext) -> FastAPI:
    """An application with the page at the base path's /ui."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    path = f"{context.base}/ui"
    gr.mount_gradio_app(
        app,
        _blocks(context),
        path,
        root_path=path,
        auth_dependency=_user,
        theme=theme(),
        footer_links=[],
        show_error=False,
        run_history=False,
        ssr_mode=False,
        app_kwargs={
            "openapi_url": None,
            "docs_url": None,
            "redoc_url": None,
            "exception_handlers": {RequestValidationError: _malformed},
        },
    )
    return app


def _blocks(context: TabContext) -> gr.Blocks:
    known = sorted(plugins(tabs, "TAB", Tab).values(), key=lambda tab: tab.order)
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(SWEEP_S, KEEP_S)
    ) as blocks:
        header = context.pages.render("header.html")
        gr.Markdown(header, sanitize_html=False, latex_delimiters=[], elem_classes="bare")
        shown: list[tuple[Tab, gr.Tab]] = []
        with gr.Tabs(elem_classes="pages"):
            for tab in known:
                with gr.Tab(tab.title, visible=tab.role is known[0].role) as component:
                    tab.build(context, blocks)
                shown.append((tab, component))

        def by_role(request: gr.Request) -> list[gr.Tab]:
            return [gr.Tab(visible=context.may(request.username, tab.role)) for tab, _ in shown]

        blocks.load(by_role, outputs=[component for _, component in shown], show_progress="hidden")
    return blocks  # type: ignore[no-any-return] # gradio's context managers are untyped


async def _malformed(_request: Request, _error: Exception) -> Response:
    """Instead of the library's answer, which repeats what was sent and fails at what is no text."""
    return PlainTextResponse("The request is malformed.", status_code=422)


def _user(request: Request) -> str | None:
    """Who the gate has let in."""
    session = request.scope.get(SESSION_KEY)
    return None if session is None else str(session.user)
