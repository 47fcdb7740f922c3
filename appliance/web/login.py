"""Signing in and out.

Checking a password costs time and memory on purpose, so it runs in a thread, at most two at a
time; an unknown user costs as much as a known one.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request
from loguru import logger
from starlette.responses import HTMLResponse, RedirectResponse, Response

from appliance.errors import ApplianceError
from appliance.settings import Role, User
from appliance.settings.secrets import DUMMY_HASH, verify_password
from appliance.web.asgi import cookie_of
from appliance.web.gate import TOKEN_KEY, GatePolicy
from appliance.web.sessions import Sessions
from appliance.web.templates import Pages

CHECKS_AT_A_TIME = 2
WRONG = "User or password is wrong."
NOBODY = "Nobody can sign in yet: set APPLIANCE_AUTH__USERS."


@dataclass(frozen=True, slots=True)
class _Person:
    name: str
    role: Role
    hash_text: str


class Login:
    """The routes /login and /logout.

    Args:
        users: who may sign in.
        sessions: where sign-ins are kept.
        policy: base path and cookie.
        pages: renders the form.
    """

    def __init__(
        self, users: Sequence[User], sessions: Sessions, policy: GatePolicy, pages: Pages
    ) -> None:
        self._people = {
            user.name: _Person(user.name, user.role, user.hash.get_secret_value()) for user in users
        }
        self._sessions = sessions
        self._policy = policy
        self._pages = pages
        self._checks = asyncio.Semaphore(CHECKS_AT_A_TIME)

    def router(self) -> APIRouter:
        """The routes, below the base path."""
        router = APIRouter()
        router.add_api_route("/login", self.form, methods=["GET", "HEAD"])
        router.add_api_route("/login", self.sign_in, methods=["POST"])
        router.add_api_route("/logout", self.sign_out, methods=["POST"])
        return router

    async def form(self) -> Response:
        """The sign-in page."""
        return self._page("" if self._people else NOBODY)

    async def sign_in(self, request: Request) -> Response:
        """Check the form; a new session on success, the form again otherwise."""
        form = await request.form()
        user, password = (str(form.get(name, "")) for name in ("user", "password"))
        person = self._people.get(user)
        address = request.client.host if request.client else "unknown"
        try:
            right = await self._is_right(person, password)
        except ApplianceError as error:
            logger.error("sign-in: {}", error.sentence())
            return self._page(error.sentence(), user=user, status=503)
        if not right:
            logger.bind(address=address).warning("sign-in refused")
            return self._page(WRONG, user=user, status=403)
        assert person is not None  # noqa: S101 - _is_right refuses nobody's password
        self._sessions.close(cookie_of(request.scope, self._policy.cookie))
        token = self._sessions.open(person.name, person.role)
        logger.bind(user=person.name, address=address).info("signed in")
        response = RedirectResponse(f"{self._policy.base_path}/ui/", status_code=303)
        response.set_cookie(
            self._policy.cookie,
            token,
            path="/",
            httponly=True,
            samesite="strict",
            secure=self._policy.https,
        )
        return response

    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        self._sessions.close(request.scope[TOKEN_KEY])
        response = RedirectResponse(f"{self._policy.base_path}/login", status_code=303)
        response.delete_cookie(self._policy.cookie, path="/", secure=self._policy.https)
        return response

    async def _is_right(self, person: _Person | None, password: str) -> bool:
        hash_text = person.hash_text if person is not None else DUMMY_HASH
        async with self._checks:
            right = await asyncio.to_thread(verify_password, hash_text, password)
        return right and person is not None

    def _page(self, error: str, *, user: str = "", status: int = 200) -> HTMLResponse:
        text = self._pages.render("login.html", error=error, user=user, wait_s=0)
        return HTMLResponse(text, status_code=status)
