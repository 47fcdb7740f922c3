"""Signing in and out.

Checking a password costs time and memory on purpose, so it runs in threads of low priority, at
most two at a time with a few that wait; an unknown user costs as much as a known one. One check
in a few seconds, of whoever comes first, has the normal priority: a person does not wait for the
cameras, and a flood does not slow them. When a password may be tried is the throttle's to say.
"""

import asyncio
import hashlib
import math
import os
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fastapi import APIRouter, Request
from loguru import logger
from starlette.responses import HTMLResponse, RedirectResponse, Response

from appliance.errors import ApplianceError
from appliance.settings import Role, User
from appliance.settings.secrets import dummy_like, verify_password
from appliance.stores import Audit
from appliance.texts import marked
from appliance.web.access.callers import ADDRESS_KEY, VOUCHED_KEY, Vouched
from appliance.web.access.gate import SESSION_KEY, TOKEN_KEY
from appliance.web.access.policy import GatePolicy
from appliance.web.access.sessions import Sessions
from appliance.web.access.throttle import Throttle, network_of
from appliance.web.asgi import header, texts_of
from appliance.web.templates import Pages

CHECKS_AT_A_TIME = 2
CHECKS_WAITING = 16  # beyond those two; a few seconds' worth on a small box
CHECKS_OF_ONE = 6  # of all these: of one address, and of one user
CHECKS_KEPT = 4  # beyond all these, for users at addresses where they signed in before
BUSY_S = 5  # when to come again where even these are taken
WRONG = marked("User or password is wrong.")
TOO_OFTEN = marked("Too many wrong passwords.")
BUSY = marked("Too many people sign in at once. Try again in a few seconds.")
NOBODY = marked("Nobody can sign in yet: set APPLIANCE_AUTH__USERS.")
BY_PROXY = marked("by the proxy")
UNKNOWN_USER = marked("unknown user")
NICE = 10  # of the threads that hash: cameras, inference and every other request go first
PROMPT_EVERY_S = 5  # how often a check has the priority of everything else
LEFT = "left"  # in the query of the form: somebody has just signed out, so ask before signing on


@dataclass(frozen=True, slots=True)
class _Person:
    name: str
    role: Role
    hash_text: str


@dataclass(frozen=True, slots=True)
class Door:
    """What watches who comes and goes.

    Attributes:
        audit: gets every sign-in, refusal and sign-out.
        clock_ns: monotonic.
        signed_in: user and address of who signed in in the runs before, the newest last.
    """

    audit: Audit
    clock_ns: Callable[[], int]
    signed_in: Sequence[tuple[str, str]] = ()


class Login:
    """The routes /login and /logout.

    Args:
        users: who may sign in.
        sessions: where sign-ins are kept.
        policy: base path and cookie.
        pages: renders the form.
        door: audit and clock.
    """

    def __init__(
        self,
        users: Sequence[User],
        sessions: Sessions,
        policy: GatePolicy,
        pages: Pages,
        door: Door,
    ) -> None:
        self._people = {
            user.name: _Person(user.name, user.role, user.hash.get_secret_value()) for user in users
        }
        self._dummies = [dummy_like(each.hash_text) for each in self._people.values()]
        self._key = secrets.token_bytes(16)
        self._sessions = sessions
        self._policy = policy
        self._pages = pages
        self._audit = door.audit
        self._throttle = Throttle(door.clock_ns, door.signed_in)
        self._prompt_checks = ThreadPoolExecutor(1, "password-prompt")
        self._checks = ThreadPoolExecutor(
            CHECKS_AT_A_TIME - 1, "password", initializer=_lower_priority
        )
        self._prompt_from_ns = 0
        self._clock_ns = door.clock_ns
        self._under_way: list[tuple[str, str]] = []  # network and user of each check

    def router(self) -> APIRouter:
        """The routes, below the base path."""
        router = APIRouter()
        router.add_api_route("/login", self.form, methods=["GET", "HEAD"])
        router.add_api_route("/login", self.sign_in, methods=["POST"])
        router.add_api_route("/logout", self.sign_out, methods=["POST"])
        return router

    async def form(self, request: Request) -> Response:
        """The sign-in page; whom a proxy vouches for is signed in by it."""
        vouched: Vouched | None = request.scope[VOUCHED_KEY]
        if vouched is not None and LEFT not in request.query_params and request.method == "GET":
            # Not a redirect: a browser that comes from the sign-on's own site would follow it
            # without the new cookie, for ever.
            texts = texts_of(request.scope)
            entered = HTMLResponse(self._pages.render("entered.html", texts, person=vouched.name))
            return self._enter(request, entered, vouched.name, vouched.role, detail=BY_PROXY)
        return self._page(request, "" if self._people or vouched else NOBODY, vouched=vouched)

    async def sign_in(self, request: Request) -> Response:
        """Check the form; a new session on success, the form again otherwise."""
        form = await request.form()
        user, password = (str(form.get(name, "")) for name in ("user", "password"))
        address = request.scope[ADDRESS_KEY]
        if self._is_busy(user, address):
            return self._page(request, BUSY, user=user, status=503, wait_s=BUSY_S)
        if wait_s := self._throttle.enter(user, address):
            return self._page(request, TOO_OFTEN, user=user, status=429, wait_s=wait_s)
        person = self._people.get(user)
        hash_text = person.hash_text if person is not None else self._dummy(user)
        try:
            right = await self._is_right(hash_text, password, (network_of(address), user))
        except ApplianceError as error:
            logger.error("sign-in: {}", error.sentence())
            return self._page(request, error.sentence(), user=user, status=503)
        if person is None or not right:
            self._tell_refused(person, address)
            wait_s = self._throttle.wait_s(user, address)
            return self._page(request, WRONG, user=user, status=403, wait_s=wait_s)
        self._throttle.succeeded(user, address)
        response = RedirectResponse(f"{self._policy.base_path}/ui/", status_code=303)
        return self._enter(request, response, person.name, person.role)

    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        self._sessions.close(request.scope[TOKEN_KEY])
        address, user = request.scope[ADDRESS_KEY], request.scope[SESSION_KEY].user
        self._audit.note("sign_out", user=user, address=address)
        ask = f"?{LEFT}" if request.scope[VOUCHED_KEY] else ""
        response = RedirectResponse(f"{self._policy.base_path}/login{ask}", status_code=303)
        cookie = self._policy.cookie_name(request.scope)
        response.delete_cookie(cookie, path="/", secure=self._policy.https)
        return response

    def _enter(
        self, request: Request, response: Response, user: str, role: Role, *, detail: str = ""
    ) -> Response:
        """A new session, its token in the answer's cookie; the session before is over."""
        address = request.scope[ADDRESS_KEY]
        self._sessions.close(self._policy.token_of(request.scope))
        agent = header(request.scope, b"user-agent")
        token = self._sessions.open(user, role, address=address, agent=agent)
        self._audit.note("sign_in", user=user, address=address, detail=detail)
        response.set_cookie(
            self._policy.cookie_name(request.scope),
            token,
            path="/",
            httponly=True,
            samesite="strict",
            secure=self._policy.https,
        )
        return response

    def _tell_refused(self, person: _Person | None, address: str) -> None:
        """Never what was typed: some type their password where the name belongs."""
        logger.bind(address=address).warning("sign-in refused")
        name = person.name if person is not None else ""
        detail = "" if person is not None else UNKNOWN_USER
        self._audit.note("sign_in_refused", user=name, address=address, detail=detail)

    def _is_busy(self, user: str, address: str) -> bool:
        """Whether as many passwords are checked as may be, or as one address or user may have.

        Where a user has signed in before, what others try at them elsewhere takes no place away.
        """
        networks, users = zip(*self._under_way, strict=True) if self._under_way else ((), ())
        own, most = networks.count(network_of(address)), CHECKS_AT_A_TIME + CHECKS_WAITING
        if self._throttle.knows(user, address):
            most += CHECKS_KEPT
        else:
            own = max(own, users.count(user))
        return own >= CHECKS_OF_ONE or len(users) >= most

    def _dummy(self, user: str) -> str:
        """What is checked for a name that nobody has; none where there is nobody at all."""
        if not self._dummies:
            return ""
        name = user.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(name, key=self._key, digest_size=8).digest()
        return self._dummies[int.from_bytes(digest) % len(self._dummies)]

    async def _is_right(self, hash_text: str, password: str, who: tuple[str, str]) -> bool:
        self._under_way.append(who)
        try:
            event_loop, checks = asyncio.get_running_loop(), self._next_checks()
            return await event_loop.run_in_executor(checks, verify_password, hash_text, password)
        finally:
            self._under_way.remove(who)

    def _next_checks(self) -> ThreadPoolExecutor:
        now_ns = self._clock_ns()
        if now_ns < self._prompt_from_ns:
            return self._checks
        self._prompt_from_ns = now_ns + PROMPT_EVERY_S * 1_000_000_000
        return self._prompt_checks

    def _page(
        self,
        request: Request,
        error: str,
        *,
        user: str = "",
        status: int = 200,
        wait_s: float = 0.0,
        vouched: Vouched | None = None,
    ) -> HTMLResponse:
        texts, seconds = texts_of(request.scope), math.ceil(wait_s)
        sign_on = vouched.name if vouched is not None else ""
        text = self._pages.render(
            "login.html",
            texts,
            error=texts.sentence(error),
            user=user,
            wait_s=seconds,
            sign_on=sign_on,
        )
        headers: Mapping[str, str] = {"Retry-After": str(seconds)} if seconds else {}
        return HTMLResponse(text, status_code=status, headers=headers)


def _lower_priority() -> None:
    """Called in a thread that hashes; the threads of argon2 itself inherit it."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
