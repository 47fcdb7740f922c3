"""The gate: a pure ASGI layer before everything, which denies by default.

It knows no route but those of `appliance.web.access.routes`. For each request it asks, in this
order: from where does it come, is the host one of ours, is there a rule, who is calling, may they,
does an unsafe request come from our own page, have they too many requests open, is the body small
enough and quick enough. Only then does anything else see the request.
"""

import secrets
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from appliance.settings import Role
from appliance.settings.tokens import TokenScope
from appliance.texts import Languages, Texts, marked
from appliance.web.access.bodies import (
    PageParts,
    call_limited,
    finishing,
    forget_encodings,
    unchanged,
    while_true,
)
from appliance.web.access.callers import ADDRESS_KEY, VOUCHED_KEY, Vouched
from appliance.web.access.headers import Answered, secured
from appliance.web.access.joined import Joined
from appliance.web.access.policy import SAFE_METHODS, GatePolicy, host_called, is_address
from appliance.web.access.refusals import UNANSWERED, Refusal, answer
from appliance.web.access.routes import RULES, Audience, Rule, find
from appliance.web.access.sessions import Session, Sessions
from appliance.web.access.throttle import network_of
from appliance.web.access.tokens import bearer_of, password_of
from appliance.web.asgi import (
    App,
    Message,
    Receive,
    Scope,
    Send,
    header,
    note_language,
    read_target,
    texts_of,
)
from appliance.web.packing import accepts_packed

SESSION_KEY = "appliance.session"
TOKEN_KEY = "appliance.token"  # noqa: S105 - the name of a place in the scope
HOLDER_KEY = "appliance.holder"  # whose share of the server a request takes: a person's, a token's
SESSION_OVER = 4401
# Of one person, streams included: a page of Gradio loads some hundred files at once by HTTP/2.
REQUESTS_AT_A_TIME = 200
STRANGERS_AT_A_TIME = 40  # requests of one address by whoever is not signed in


class Gate:
    """See the module's text.

    Args:
        app: what lies behind.
        policy: from the settings.
        sessions: who is signed in.
        languages: of the people who call.
        page_parts: what we put into Gradio's page, in a language.
        rules: of all routes there are.
    """

    def __init__(
        self,
        app: App,
        policy: GatePolicy,
        sessions: Sessions,
        *,
        languages: Languages,
        page_parts: Callable[[Texts], PageParts],
        rules: Sequence[Rule] = RULES,
    ) -> None:
        self._app = app
        self._languages = languages
        self._page_parts = page_parts
        self._rules = rules
        self._policy = policy
        self._sessions = sessions
        self._joined = Joined(sessions)
        self._open: Counter[str] = Counter()
        own = socket.gethostname().lower()
        self._hosts = {"localhost", own, f"{own}.local", *(host.lower() for host in policy.hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        read_target(scope)
        self._policy.callers.read(scope)
        note_language(scope, self._languages)
        if scope["type"] == "http":
            # A proxy may say nothing of the browser's side; the page's own requests do.
            if self._policy.https or header(scope, b"origin").startswith("https://"):
                scope["scheme"] = "https"
            await self._http(scope, receive, send)
        else:
            await self._websocket(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = self._policy.path_of(scope)
        rule = find(path, scope["method"], self._rules) if path is not None else None
        nonce = secrets.token_urlsafe(16) if rule is not None and rule.page else ""
        answered = Answered(
            path or "",
            scope.get("query_string", b""),
            nonce,
            https=self._policy.https,
            sandboxed=rule is not None and rule.sandboxed,
        )
        secure = _securing(scope, send, answered)
        refusal = self._refusal(scope, rule)
        texts = texts_of(scope)
        if refusal is not None:
            asks = rule is not None and bool(rule.opened_by)
            await answer(secure, refusal, texts, asks=asks, as_json=_is_gradios(path))
            return
        assert rule is not None  # noqa: S101 - _refusal answers a request without a rule
        if nonce:
            packed = accepts_packed(scope)
            forget_encodings(scope)
            parts = self._page_parts(texts)
            secure = finishing(secure, nonce, parts, texts.language, packed=packed)
        app = self._guarded(scope, rule)
        token, wanted = scope.get(TOKEN_KEY, ""), self._scope_wanted(scope, rule)
        if wanted is not None:
            app = while_true(app, lambda: self._policy.bearers.denial(scope, wanted) is None)
        elif token:
            app = while_true(app, lambda: self._sessions.find(token) is not None)
        with self._counted(scope) as is_fine:
            if not is_fine:
                refusal = Refusal(429, marked("Too many requests at once."))
                await answer(secure, refusal, texts, as_json=_is_gradios(path))
                return
            status = await call_limited(app, scope, receive, secure, limit=rule.body_limit)
        if status:
            refusal = Refusal(status, UNANSWERED[status])
            await answer(secure, refusal, texts, as_json=_is_gradios(path))

    def _guarded(self, scope: Scope, rule: Rule) -> App:
        """What lies behind; a page of Gradio is there for the session alone that opened it."""
        if not rule.of_page:
            return self._app

        async def refuse(scope: Scope, _: Receive, send: Send) -> None:
            refusal = Refusal(403, marked("This page belongs to another session."))
            await answer(send, refusal, texts_of(scope), as_json=True)

        return self._joined.guarding(self._app, scope[SESSION_KEY], refuse)

    @contextmanager
    def _counted(self, scope: Scope) -> Iterator[bool]:
        """Counts open requests of a person, a token or an address; gives whether one more is fine.

        By person, not by session: there would be no end of those.
        """
        holder = scope.get(HOLDER_KEY, "")
        most = REQUESTS_AT_A_TIME if holder else STRANGERS_AT_A_TIME
        key = holder or f"address {network_of(scope[ADDRESS_KEY])}"
        self._open[key] += 1
        try:
            yield self._open[key] <= most
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = self._policy.path_of(scope)
        rule = find(path, "WEBSOCKET", self._rules) if path is not None else None
        if rule is None or not self._host_is_ours(scope) or not self._policy.same_origin(scope):
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        session = self._session(scope)
        with self._counted(scope) as is_fine:
            if not is_fine:
                await receive()
                await send({"type": "websocket.close", "code": 1008})
            elif session is None or not _may(session, rule):
                # Accepted first, so that the page learns the reason and not just of a failure.
                await receive()
                await send({"type": "websocket.accept"})
                await send({"type": "websocket.close", "code": SESSION_OVER})
            else:
                await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, rule: Rule | None) -> Refusal | None:
        """The answer to a request that may not pass; None where it may."""
        if rule is not None and rule.audience is Audience.ANYBODY:
            return None
        if not self._host_is_ours(scope):
            return Refusal(421, marked("This name is not served here. Set APPLIANCE_WEB__HOSTS."))
        base = self._policy.base_path
        if base and self._policy.is_base(scope):
            return Refusal(307, location=f"{base}/")  # as people type it
        if bearer_of(scope) and self._policy.token_of(scope):
            return Refusal(400, marked("Send a token or a session, not both."))
        wanted = self._scope_wanted(scope, rule)
        if wanted is not None:
            denial = self._policy.bearers.denial(scope, wanted)
            scope[HOLDER_KEY] = f"token {self._policy.bearers.name(scope)}"
            return Refusal(denial.status, denial.text) if denial is not None else None
        return self._refusal_of_browser(scope, rule)

    def _scope_wanted(self, scope: Scope, rule: Rule | None) -> TokenScope | None:
        """What a token must open here; None where a session is asked for.

        A browser brings a password of its own to every page behind a proxy that asked for one: next
        to a session it says nothing.
        """
        if rule is None:
            return None
        if isinstance(rule.audience, TokenScope):
            return rule.audience
        has_session = bool(self._policy.token_of(scope))
        brought = bearer_of(scope) or (not has_session and password_of(scope))
        return rule.opened_by if brought else None

    def _refusal_of_browser(self, scope: Scope, rule: Rule | None) -> Refusal | None:
        if rule is None or rule.audience is not Audience.STRANGER:
            refusal = self._refusal_of_person(scope, rule)
            if refusal is not None:
                return refusal
        if scope["method"] not in SAFE_METHODS and not self._policy.same_origin(scope):
            return Refusal(403, marked("The request did not come from this page."))
        return None

    def _refusal_of_person(self, scope: Scope, rule: Rule | None) -> Refusal | None:
        session = self._session(scope)
        if session is None:
            return self._to_login(scope)
        if rule is None:
            return Refusal(404, marked("There is nothing here."))
        if not _may(session, rule):
            return Refusal(403, marked("Your role may not do this."))
        if rule.by_hand:
            self._sessions.use(session)
        return None

    def _to_login(self, scope: Scope) -> Refusal:
        if scope["method"] == "GET" and "text/html" in header(scope, b"accept"):
            return Refusal(303, location=f"{self._policy.base_path}/login")
        return Refusal(401, marked("Sign in first."))

    def _host_is_ours(self, scope: Scope) -> bool:
        """Addresses are always fine: to be tricked by DNS takes a name."""
        name = host_called(scope)
        return bool(name) and (name in self._hosts or is_address(name))

    def _session(self, scope: Scope) -> Session | None:
        token = self._policy.token_of(scope)
        session = self._sessions.find(token) if token else None
        vouched: Vouched | None = scope[VOUCHED_KEY]
        if session and vouched and vouched != Vouched(session.user, session.role):
            session = None  # the proxy says by now that it is somebody else, or in another role
        scope[SESSION_KEY], scope[TOKEN_KEY] = session, token
        scope[HOLDER_KEY] = f"person {session.user}" if session is not None else ""
        return session


def _may(session: Session, rule: Rule) -> bool:
    return isinstance(rule.audience, Role) and session.role.covers(rule.audience)


def _securing(scope: Scope, send: Send, answered: Answered) -> Send:
    async def secure(message: Message) -> None:
        if message["type"] == "http.response.start":
            own: Iterable[tuple[bytes, bytes]] = message.get("headers", [])
            headers = secured(own, answered, status=message["status"])
            message = {**message, "headers": headers}
        await send(message)

    return unchanged(scope, secure)


def _is_gradios(path: str | None) -> bool:
    """Whether Gradio's own script asks, which reads nothing but JSON."""
    return path is not None and path.startswith("/ui/gradio_api/")
