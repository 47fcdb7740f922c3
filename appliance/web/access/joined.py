"""Whose page is it: Gradio tells open pages apart by a hash that each makes up for itself.

Whoever knows a page's hash could listen to what it is sent. So the first session that uses a hash,
which is the page that made it up, keeps it, and no other may.
"""

import json
import re
from collections import OrderedDict
from typing import Any
from urllib.parse import parse_qsl

from appliance.web.access.sessions import Session, Sessions
from appliance.web.asgi import App, Message, Receive, Scope, Send

PAGES = 64  # of one session; the one not heard of for longest goes first
_HASH = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Joined:
    """Which session has joined with which hash. Used from the event loop only.

    Args:
        sessions: a hash of one that is over may be taken up by the same person.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._owners: dict[str, Session] = {}
        self._pages: dict[str, OrderedDict[str, None]] = {}  # by the session's id

    def may_use(self, page: str, session: Session) -> bool:
        """Whether this session may join and listen with a hash; notes that it has."""
        owner = self._owners.get(page, session)
        if owner is not session:
            if owner.user != session.user or self._sessions.is_running(owner):
                return False
            self._forget(page)
        if session.id not in self._pages:
            self._forget_ended()
        pages = self._pages.setdefault(session.id, OrderedDict())
        self._owners[page] = session
        pages[page] = None
        pages.move_to_end(page)
        if len(pages) > PAGES:
            self._forget(next(iter(pages)))
        return True

    def guarding(self, app: App, session: Session, refuse: App) -> App:
        """`app`, which hears only of requests whose hash this session may use."""

        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] == "POST":
                body = await _whole(receive)
                page, receive = _hash_in(body), _again(body, receive)
            else:
                page = _hash_asked_for(scope)
            is_fine = _HASH.fullmatch(page) is not None and self.may_use(page, session)
            await (app if is_fine else refuse)(scope, receive, send)

        return call

    def _forget(self, page: str) -> None:
        owner = self._owners.pop(page)
        del self._pages[owner.id][page]

    def _forget_ended(self) -> None:
        owners = {owner.id: owner for owner in self._owners.values()}
        for owner in owners.values():
            if not self._sessions.is_running(owner):
                for page in self._pages.pop(owner.id):
                    del self._owners[page]


def _hash_asked_for(scope: Scope) -> str:
    """In the query, else at the end of the path; nothing where there are several."""
    path, query = str(scope["path"]), scope["query_string"].decode("latin-1")
    if path.endswith("/queue/data"):
        given = [
            value
            for name, value in parse_qsl(query, keep_blank_values=True)
            if name == "session_hash"
        ]
        return given[0] if len(given) == 1 else ""
    return path.rpartition("/")[2]


def _hash_in(body: bytes) -> str:
    try:
        joining: Any = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    page = joining.get("session_hash") if isinstance(joining, dict) else None
    return page if isinstance(page, str) else ""


async def _whole(receive: Receive) -> bytes:
    """The body; empty where the caller has gone before its end."""
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b""
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again
