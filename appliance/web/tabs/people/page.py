"""People: who is signed in, how to end that, and what was done."""

from collections.abc import Callable
from typing import Protocol

import gradio as gr

from appliance.errors import StoreError
from appliance.texts import marked
from appliance.web.access.callers import ADDRESS_KEY
from appliance.web.access.gate import SESSION_KEY
from appliance.web.asgi import Scope
from appliance.web.components import asking_button, constant, document, document_place
from appliance.web.context import TabContext

EVENTS = 100
# What people do, by the audit log's word for it.
DONE = {
    "sign_in": marked("Signed in"),
    "sign_in_refused": marked("Sign in refused"),
    "sign_out": marked("Sign out"),
    "session_revoked": marked("Session revoked"),
    "sessions_revoked": marked("All sessions revoked"),
    "override_set": marked("Override set"),
    "override_cleared": marked("Override cleared"),
    "export": marked("Export"),
    "model_change": marked("Model change"),
    "clock_jump": marked("Clock jump"),
}

Choices = list[tuple[str, str]]


class End(Protocol):
    """Ends sessions, of which one was chosen, and notes who did it."""

    def __call__(self, context: TabContext, session_id: str, *, user: str, address: str) -> None:
        """See `end_session` and `end_person`."""


def build(context: TabContext) -> None:
    """Two documents that come anew while somebody looks, and the ways to end sessions."""
    texts = context.texts
    signed_in = document_place()
    with gr.Column(elem_classes="log-panel"), gr.Row(elem_classes="log-head"):
        constant(context, "people/end.html")
        chosen = gr.Dropdown([], label=texts("Session"), container=False, elem_classes="choice")
        end = gr.Button(texts("End this session"))
        end_all = gr.Button(texts("End all of this person"))
    done = document_place()
    known = gr.State([])
    ask = asking_button()

    def refresh(request: gr.Request, before: Choices) -> tuple[object, object, object, Choices]:
        """The choice stays untouched while it is the same: somebody may be making one."""
        choices = choices_of(context)
        return (
            render_signed_in(context, own=_scope(request)[SESSION_KEY].id),
            render_events(context),
            gr.skip() if choices == before else gr.Dropdown(choices, value=None),
            choices,
        )

    def ending(end_them: End) -> Callable[..., tuple[object, object, object, Choices]]:
        def revoke(
            request: gr.Request, session_id: str | None, before: Choices
        ) -> tuple[object, object, object, Choices]:
            if session_id:
                address = str(_scope(request)[ADDRESS_KEY])
                end_them(context, session_id, user=request.username or "", address=address)
            return refresh(request, before)

        return revoke

    shown = [signed_in, done, chosen, known]
    ask.click(refresh, known, shown, show_progress="hidden")
    end.click(ending(end_session), [chosen, known], shown, show_progress="hidden")
    end_all.click(ending(end_person), [chosen, known], shown, show_progress="hidden")


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
            "since": context.texts.moment(one.started_at_s, exact=True),
            "used": context.texts.moment(one.used_at_s, exact=True),
        }
        for one in context.sessions.list()
    ]
    return document(context, "people/sessions.html", sessions=sessions)


def render_events(context: TabContext) -> str:
    """The newest events, or why they cannot be shown."""
    texts, trouble, events = context.texts, "", []
    try:
        for event in context.events(EVENTS):
            what = DONE.get(event.what, event.what.replace("_", " ").capitalize())
            at = texts.moment(event.at_s, exact=True)
            detail = texts.sentence(event.detail)
            events.append({"event": event, "what": texts(what), "at": at, "detail": detail})
    except StoreError as error:
        trouble = texts.sentence(error.sentence())
    return document(context, "people/events.html", events=events, trouble=trouble)


def choices_of(context: TabContext) -> Choices:
    """What the choice offers: a person, from where and since when; and the session's id."""
    moment = context.texts.moment
    return [
        (f"{one.user}, {one.address or '–'}, {moment(one.started_at_s, exact=True)}", one.id)
        for one in context.sessions.list()
    ]


def end_session(context: TabContext, session_id: str, *, user: str, address: str) -> None:
    """End one, whose connections end with it; nothing where it is over already."""
    found = [one for one in context.sessions.list() if one.id == session_id]
    for one in found:
        context.sessions.revoke(one.id)
        detail = f"{one.user}, {one.address}"
        context.audit.note("session_revoked", user=user, address=address, detail=detail)


def end_person(context: TabContext, session_id: str, *, user: str, address: str) -> None:
    """End every session of the person whose session this is; nothing where it is over already."""
    people = {one.user for one in context.sessions.list() if one.id == session_id}
    for person in people:
        context.sessions.revoke_user(person)
        context.audit.note("sessions_revoked", user=user, address=address, detail=person)


def _scope(request: gr.Request) -> Scope:
    """The request's own; Gradio's copy of it holds only what can be written as JSON."""
    assert request.request is not None  # noqa: S101 - each event comes by a request
    return request.request.scope
