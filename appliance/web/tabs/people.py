"""People: who is signed in, how to end that, and what was done."""

import gradio as gr

from appliance.errors import StoreError
from appliance.settings import Role
from appliance.web.asgi import Scope
from appliance.web.callers import ADDRESS_KEY
from appliance.web.context import TabContext
from appliance.web.gate import SESSION_KEY
from appliance.web.plots import time_of_day
from appliance.web.tabs import Tab, rendered

PERIOD_S = 5
EVENTS = 100
WHEN = "%d %b %H:%M:%S"

Choices = list[tuple[str, str]]


def build(context: TabContext, page: gr.Blocks) -> None:
    """Two documents that come anew by themselves, and between them the way to end a session."""
    signed_in = _document()
    with gr.Column(elem_classes="log-panel"), gr.Row(elem_classes="log-head"):
        gr.Markdown("<h2>End a session</h2>", sanitize_html=False, elem_classes="bare")
        chosen = gr.Dropdown([], label="Session", container=False, elem_classes="choice")
        end = gr.Button("End this session")
    done = _document()
    known = gr.State([])
    timer = gr.Timer(PERIOD_S, active=False)

    def refresh(request: gr.Request, before: Choices) -> tuple[object, object, object, Choices]:
        """The choice stays untouched while it is the same: somebody may be making one."""
        if not _may_see(context, request):
            return "", "", gr.skip(), []
        choices = choices_of(context)
        return (
            render_signed_in(context, own=_scope(request)[SESSION_KEY].id),
            render_events(context),
            gr.skip() if choices == before else gr.Dropdown(choices, value=None),
            choices,
        )

    def begin(
        request: gr.Request, before: Choices
    ) -> tuple[object, object, object, Choices, gr.Timer]:
        return *refresh(request, before), gr.Timer(active=_may_see(context, request))

    def revoke(
        request: gr.Request, session_id: str | None, before: Choices
    ) -> tuple[object, object, object, Choices]:
        if _may_see(context, request) and session_id:
            address = str(_scope(request)[ADDRESS_KEY])
            end_session(context, session_id, user=request.username or "", address=address)
        return refresh(request, before)

    shown = [signed_in, done, chosen, known]
    page.load(begin, known, [*shown, timer], show_progress="hidden")
    timer.tick(refresh, known, shown, show_progress="hidden")
    end.click(revoke, [chosen, known], shown, show_progress="hidden")


def render_signed_in(context: TabContext, *, own: str) -> str:
    """The sessions that run.

    Args:
        context: knows them.
        own: the id of the session that asks.
    """
    sessions = [
        {
            "one": one,
            "is_own": one.id == own,
            "since": time_of_day(one.started_at_s, WHEN),
            "used": time_of_day(one.used_at_s, WHEN),
        }
        for one in context.sessions.list()
    ]
    return rendered(context, "people.html", sessions=sessions)


def render_events(context: TabContext) -> str:
    """The newest events, or why they cannot be shown."""
    trouble, events = "", []
    try:
        for event in context.events(EVENTS):
            what = event.what.replace("_", " ").capitalize()
            events.append({"event": event, "what": what, "at": time_of_day(event.at_s, WHEN)})
    except StoreError as error:
        trouble = error.sentence()
    return rendered(context, "people_events.html", events=events, trouble=trouble)


def choices_of(context: TabContext) -> Choices:
    """What the choice offers: a person, from where and since when; and the session's id."""
    return [
        (f"{one.user}, {one.address or '–'}, {time_of_day(one.started_at_s, WHEN)}", one.id)
        for one in context.sessions.list()
    ]


def end_session(context: TabContext, session_id: str, *, user: str, address: str) -> None:
    """End one, whose connections end with it; nothing where it is over already."""
    found = [one for one in context.sessions.list() if one.id == session_id]
    for one in found:
        context.sessions.revoke(one.id)
        detail = f"of {one.user}, {one.address}"
        context.audit.note("session_revoked", user=user, address=address, detail=detail)


def _document() -> gr.Markdown:
    return gr.Markdown(sanitize_html=False, latex_delimiters=[], elem_classes="bare")


def _scope(request: gr.Request) -> Scope:
    """The request's own; Gradio's copy of it holds only what can be written as JSON."""
    assert request.request is not None  # noqa: S101 - each event comes by a request
    return request.request.scope


def _may_see(context: TabContext, request: gr.Request) -> bool:
    return context.may(request.username, Role.ADMIN)


TAB = Tab("People", 80, Role.ADMIN, build)
