"""A real browser, and what goes wrong on the page that it shows."""

import functools
import gc
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.process import PASSWORD

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SETTLED_MS = 60_000
TABS_ARE_THERE = """
((tabs) => tabs.length > 0 && tabs.every((tab) => document.getElementById(
  tab.getAttribute("aria-controls"))))([...document.querySelectorAll(".pages [role=tab]")])
"""
CUT_OFF = (  # what Gradio's client says when it ends its own stream, as the page goes
    "console: AbortError: signal is aborted",
    "console: Unexpected error Connection errored out.",
)


class Watched:
    """A page with everything that went wrong on it.

    Args:
        page: the browser's.
        place: where everything that it asks for must lie: an origin, or an origin and a path.

    Attributes:
        page: the same.
        troubles: errors on the console, violations of the policy, requests to elsewhere.
        sockets: addresses of the WebSockets that it opened.
    """

    def __init__(self, page: Any, place: str) -> None:
        self.page = page
        self.troubles: list[str] = []
        self.sockets: list[str] = []
        self._place = place
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.troubles.append(f"page error: {error}"))
        page.on("request", lambda request: self._request(request.url))
        page.on("websocket", lambda socket: self._socket(socket.url))
        page.add_init_script(
            "addEventListener('securitypolicyviolation',"
            " (e) => console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`))"
        )

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.troubles.append(f"console: {message.text}")

    def _request(self, url: str) -> None:
        if not url.startswith((f"{self._place}/", "data:", "blob:")):
            self.troubles.append(f"foreign request: {url}")

    def _socket(self, url: str) -> None:
        self.sockets.append(url)
        self._request(url.replace("ws", "http", 1))

    def sign_in(self, url: str, user: str = "ada", password: str = PASSWORD) -> None:
        """Open the page as people do, and fill in the form that comes."""
        self.page.goto(f"{url}/")
        self.page.fill("#user", user)
        self.page.fill("#password", password)
        self.page.click("button[type=submit]")

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """In this block the page gives way to another one."""
        before = len(self.troubles)
        yield
        self.troubles[before:] = [
            trouble for trouble in self.troubles[before:] if not trouble.startswith(CUT_OFF)
        ]

    def player(self) -> Any:
        """The frame of the player, once it shows pictures."""
        self.page.wait_for_selector("iframe.player-frame", timeout=SETTLED_MS)
        deadline = time.monotonic() + SETTLED_MS / 1000
        while (frame := self.page.frame(url=re.compile("/player"))) is None:
            assert time.monotonic() < deadline, "the player's frame loads nothing"
            self.page.wait_for_timeout(50)
        until(frame, "Object.values(window.appliance?.drawn ?? {})[0] > 3")
        until(self.page.main_frame, TABS_ARE_THERE)  # the picture does not wait for them
        return frame


@dataclass(slots=True)
class Cost:
    """What a page asked the server for; what the browser had already does not count.

    Attributes:
        requests: how many, WebSockets aside.
        received_bytes: headers and bodies, as they came over the line.
    """

    requests: int = 0
    received_bytes: int = 0


@contextmanager
def counting(page: Any) -> Iterator[Cost]:
    """Counts what a page costs, in this block."""
    cost, had, asked = Cost(), set(), {}
    session = page.context.new_cdp_session(page)

    def finished(event: Any) -> None:
        if asked.get(event["requestId"], "").startswith("http"):
            cost.received_bytes += event["encodedDataLength"]

    def answered(event: Any) -> None:
        if event["response"].get("fromDiskCache"):
            had.add(event["requestId"])

    session.on("Network.requestServedFromCache", lambda event: had.add(event["requestId"]))
    session.on("Network.responseReceived", answered)
    session.on("Network.loadingFinished", finished)
    session.on(
        "Network.requestWillBeSent",
        lambda event: asked.update({event["requestId"]: event["request"]["url"]}),
    )
    session.send("Network.enable")
    yield cost
    session.detach()
    cost.requests = sum(url.startswith("http") for key, url in asked.items() if key not in had)


def until(frame: Any, expression: str) -> Any:
    """Wait until an expression is true on the page; by asking, since the policy forbids eval."""
    deadline = time.monotonic() + SETTLED_MS / 1000
    while not (value := frame.evaluate(expression)):
        assert time.monotonic() < deadline, f"never true: {expression}"
        frame.page.wait_for_timeout(50)
    return value


def home_that_trusts(authority: Path, folder: Path) -> Path:
    """A home folder whose browsers trust one more authority, as its owner has told them to."""
    database = folder / ".pki" / "nssdb"
    database.mkdir(parents=True)
    place = ("-d", f"sql:{database}")
    subprocess.run(["certutil", "-N", *place, "--empty-password"], check=True)
    trusting = ["certutil", "-A", *place, "-n", "station", "-t", "C,,", "-i", str(authority)]
    subprocess.run(trusting, check=True)
    return folder


@functools.cache
def _shared() -> tuple[Any, Any]:
    """Playwright and one browser, for all windows until `close_shared`."""
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    return playwright, playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


def close_shared() -> None:
    """End the browser that windows share, if there is one, and Playwright's event loop."""
    if _shared.cache_info().currsize:
        playwright, browser = _shared()
        _shared.cache_clear()
        browser.close()
        playwright.stop()
        gc.collect()  # it leaves its event loop's descriptors to the collector


@contextmanager
def browsing(place: str, *, home: Path | None = None, **options: Any) -> Iterator[Watched]:
    """A fresh browser window, without anything of an earlier one.

    Args:
        place: as in `Watched`.
        home: the home folder of who uses it; such a window has a browser of its own.
        options: of Playwright's contexts.
    """
    playwright, browser = _shared()
    with ExitStack() as opened:
        if home:
            environ = {**os.environ, "HOME": str(home)}
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=ARGUMENTS, env=environ
            )
            opened.callback(browser.close)
        others = set(browser.contexts)
        window = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
        window.set_default_timeout(SETTLED_MS)
        try:
            yield Watched(window.new_page(), place)
        finally:
            for context in set(browser.contexts) - others:  # a test may have opened more
                context.close()
