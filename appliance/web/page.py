"""The Gradio page: the tabs, mounted below the base path; the gate puts bar and player around."""

import warnings
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import PlainTextResponse, Response

from appliance.texts import Languages
from appliance.web import tabs
from appliance.web.access.gate import SESSION_KEY
from appliance.web.asgi import texts_of
from appliance.web.context import TabContext
from appliance.web.deferred import place_of
from appliance.web.guarded import GuardedBlocks
from appliance.web.quieting import quieten_gradio
from appliance.web.tab import Tab, known_tabs
from appliance.web.theme import theme

TITLE = "Vision Appliance"
SWEEP_S = 600  # Gradio's temporary files: how often they are looked at,
KEEP_S = 1800  # and how old they may become
PAGES = 100  # open ones whose state Gradio keeps, at some 100 kB; the one unused longest goes first


def page_application(context: TabContext, languages: Languages) -> FastAPI:
    """An application with the page at the base path's /ui, in every language."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    path = f"{context.base}/ui"
    with warnings.catch_warnings():
        # Each language is a page of Gradio's, and of several it says what nobody has asked for.
        warnings.filterwarnings("ignore", "SSR mode is not supported", UserWarning)
        gr.mount_gradio_app(
            app,
            _blocks(context, languages),
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
                # The second is an event that no page has.
                "exception_handlers": {RequestValidationError: _malformed, KeyError: _malformed},
            },
        )
    quieten_gradio()
    return app


def _blocks(context: TabContext, languages: Languages) -> GuardedBlocks:
    """One page of Gradio's for each language; all of it is made with its texts."""
    blocks = GuardedBlocks(
        context.may,
        title=TITLE,
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(SWEEP_S, KEEP_S),
    )
    with blocks:
        blocks.state_session_capacity = PAGES
        for language, texts in languages.all().items():
            place = place_of(language)
            if place:
                # What `blocks.route` does, which would make all of Gradio's routes once more.
                blocks.pages.append((place, language, False))
                blocks.current_page = place
            _fill(replace(context, texts=texts), blocks)
    return blocks


def _fill(context: TabContext, blocks: GuardedBlocks) -> None:
    known = known_tabs()
    least = next(iter(known.values())).role
    shown: list[tuple[Tab, gr.Tab]] = []
    with gr.Tabs(elem_classes="pages"):
        for key, tab in known.items():
            title, place = context.texts(tab.title), f"page-{key}"
            with (
                gr.Tab(title, elem_id=place, visible=tab.role is least) as component,
                blocks.handlers_for(tab.role),
            ):
                _build(key, context)
            shown.append((tab, component))

    def by_role(request: gr.Request) -> list[gr.Tab]:
        return [gr.Tab(visible=context.may(request.username, tab.role)) for tab, _ in shown]

    with blocks.handlers_for(least):
        blocks.load(by_role, outputs=[component for _, component in shown], show_progress="hidden")


def _build(key: str, context: TabContext) -> None:
    """Make a tab's components; one that stands beside Gradio's part alone has none."""
    module = f"{tabs.__name__}.{key}.page"
    if find_spec(module) is not None:
        import_module(module).build(context)


async def _malformed(request: Request, _error: Exception) -> Response:
    """Instead of the library's answer, which repeats what was sent and fails at what is no text."""
    texts = texts_of(request.scope)
    return PlainTextResponse(texts("The request is malformed."), status_code=422)


def _user(request: Request) -> str | None:
    """Who the gate has let in."""
    session = request.scope.get(SESSION_KEY)
    return None if session is None else str(session.user)
