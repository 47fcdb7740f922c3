"""Gradio's page, made while everything else already answers.

Importing Gradio takes seconds. Until it is there, whoever is signed in sees a page that says so
and comes back by itself; health, login, the player and the live view do not wait for it.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from loguru import logger
from starlette.responses import HTMLResponse, RedirectResponse

from appliance.texts import ENGLISH, LANGUAGES, Texts
from appliance.web.asgi import App, Receive, Scope, Send, texts_of


def place_of(language: str) -> str:
    """Where the page of a language lies below the place of Gradio's page."""
    return "" if language == ENGLISH else language


PLACES = frozenset(map(place_of, LANGUAGES))


class DeferredPage:
    """An ASGI application that stands in for the one that `make` gives, until that is up.

    Args:
        make: imports and builds the page; runs in a thread.
        waiting: HTML until then, which asks again by itself; or HTML when it cannot be made.
        on_ready: called when the page is up.
    """

    def __init__(
        self,
        make: Callable[[], FastAPI],
        *,
        waiting: Callable[[Texts, bool], str],
        on_ready: Callable[[], None],
    ) -> None:
        self._make = make
        self._on_ready = on_ready
        self._waiting = waiting
        self._failed = False
        self._page: App | None = None
        self._over = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The page, or what stands in for it."""
        if self._page is not None:
            place = _elsewhere(scope)
            answer = self._page if place is None else RedirectResponse(place, status_code=303)
            await answer(scope, receive, send)
        else:
            text = self._waiting(texts_of(scope), self._failed)
            answer = HTMLResponse(text, status_code=503)
            await answer(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Begins to make the page when the server starts, and ends the page with it."""
        living = asyncio.create_task(self._live())
        try:
            yield
        finally:
            self._over.set()
            if self._page is None:
                living.cancel()
            await asyncio.gather(living, return_exceptions=True)

    async def _live(self) -> None:
        try:
            page = await _in_thread(self._make)
            async with page.router.lifespan_context(page):
                self._page = page
                self._on_ready()
                await self._over.wait()
        except Exception:  # noqa: BLE001 - top of the task: told; the station goes on without
            logger.exception("page: cannot be made")
            self._page, self._failed = None, True


def _elsewhere(scope: Scope) -> str | None:
    """Where the page lies in the language of whoever asks; None where that is here.

    People hand addresses on, and each is to read the page in their own language.
    """
    path = str(scope.get("path", ""))
    folder, _, place = path.rpartition("/")
    wanted = place_of(texts_of(scope).language)
    if not folder.endswith("/ui") or place not in PLACES or place == wanted:
        return None
    return f"{folder}/{wanted}"


async def _in_thread(make: Callable[[], FastAPI]) -> FastAPI:
    """`make`, in a thread that nobody waits for when the station ends meanwhile."""
    event_loop = asyncio.get_running_loop()
    made: asyncio.Future[FastAPI] = event_loop.create_future()

    def hand_over(page: FastAPI | None, error: Exception | None) -> None:
        if made.done():
            return
        if page is not None:
            made.set_result(page)
        elif error is not None:
            made.set_exception(error)

    def work() -> None:
        page, failure = None, None
        try:
            page = make()
        except Exception as error:  # noqa: BLE001 - top of the thread: raised where it is awaited
            failure = error
        if not event_loop.is_closed():
            event_loop.call_soon_threadsafe(hand_over, page, failure)

    threading.Thread(target=work, name="page", daemon=True).start()
    return await made
