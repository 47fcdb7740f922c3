"""The People page in words: who is signed in, and what was done."""

from dataclasses import replace

import pytest

from appliance.errors import StoreError
from appliance.settings import Role
from appliance.stores.audit import AuditEvent
from appliance.web.tabs.people.page import (
    choices_of,
    end_person,
    end_session,
    render_events,
    render_signed_in,
)
from appliance.web.templates import Pages
from tests.support.fakes import Clock
from tests.support.web import Audits, make_sessions, tab_context

HOSTILE = "<script>alert(1)</script>\n\n    & *x*"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;"


@pytest.fixture
def context():
    pages = Pages(base="", station_name="Hall 3", version="0.0")
    return tab_context(pages, sessions=make_sessions(Clock()), audit=Audits())


def test_whatever_a_browser_calls_itself_is_text(context):
    """Nobody writes into an admin's page by a header, nor by a name that was tried."""
    context.sessions.open("ada", Role.ADMIN, address="192.0.2.1", agent=HOSTILE)
    event = AuditEvent(1, 1.8e9, "sign_in_refused", HOSTILE, "192.0.2.1", HOSTILE)
    texts = (
        render_signed_in(context, own=""),
        render_events(replace(context, events=lambda _count: [event])),
    )
    for text in texts:
        assert ESCAPED in text
        assert "<script" not in text
        assert "\n" not in text
        assert f'data-at="{context.reading().now_s:.3f}"' in text


def test_ones_own_session_is_marked(context):
    """So that nobody ends their own by mistake."""
    context.sessions.open("ada", Role.ADMIN)
    context.sessions.open("vera", Role.VIEWER)
    vera, ada = context.sessions.list()
    text = render_signed_in(context, own=ada.id)
    assert text.count("(this browser)") == 1
    assert text.index("(this browser)") > text.index(ada.user) > text.index(vera.user)


def test_a_session_is_ended_once_and_noted_with_who_did_it(context):
    """A second click, or an id that nobody has, does and notes nothing."""
    token = context.sessions.open("vera", Role.VIEWER, address="192.0.2.7")
    ((label, session_id),) = choices_of(context)
    assert label.startswith("vera, 192.0.2.7, ")
    for chosen in (session_id, session_id, "nothing"):
        end_session(context, chosen, user="ada", address="192.0.2.1")
    assert context.sessions.find(token) is None
    assert context.audit.notes == [
        ("session_revoked", "ada", "192.0.2.1", "vera, 192.0.2.7"),
    ]


def test_all_sessions_of_a_person_end_at_once(context):
    """By any one of them; others stay signed in, and one line tells who did it."""
    tokens = [context.sessions.open("vera", Role.VIEWER) for _ in range(3)]
    other = context.sessions.open("otto", Role.OPERATOR)
    session_id = next(one.id for one in context.sessions.list() if one.user == "vera")
    for _ in range(2):
        end_person(context, session_id, user="ada", address="192.0.2.1")
    assert [context.sessions.find(token) for token in tokens] == [None] * 3
    assert context.sessions.find(other) is not None
    assert context.audit.notes == [("sessions_revoked", "ada", "192.0.2.1", "vera")]


def test_events_that_cannot_be_read_say_why(context):
    """Instead of an empty table, which would say that nothing was done."""

    def fail(_count):
        raise StoreError("the disk fails", hint="Look at the disk.")

    assert "the disk fails. Look at the disk." in render_events(replace(context, events=fail))
