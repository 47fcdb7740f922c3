"""How soon a person sees a picture, and what a reload costs: a real browser, on this machine."""

import re
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.inputs import Inputs
from benchmarks.report import Row, at_most
from benchmarks.station import (
    PASSWORD,
    USER,
    Running,
    running,
    wait_until_ready,
    wait_until_started,
)

ROUNDS = 5
PATIENCE_S = 60
LOOK_MS = 50
APART_S = 6  # from one sign-in to the next: as people do, and no flood
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run"]
FIRST_MS = "window.appliance?.first_ms"
NOW_MS = "Date.now()"
# When the browser asked for the page, to which the sign-in leads.
ASKED_MS = "performance.timeOrigin + performance.getEntriesByType('navigation')[0].requestStart"


def page(inputs: Inputs, cache: Path) -> list[Row]:
    """Seconds from the click to the first picture drawn; requests and bytes of a reload."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("page: skipped, chromium is not installed")
        return []
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not on every machine

    signed_in, checked, reloaded, costs = [], [], [], []
    with (
        running(inputs, cache, {"gate": str(inputs.clip)}) as station,
        sync_playwright() as playwright,
    ):
        wait_until_ready(station)
        wait_until_started(station)
        for _ in range(ROUNDS):
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            try:
                tab = browser.new_page()
                seconds, check_s = _sign_in(tab, station)
                signed_in.append(seconds)
                checked.append(check_s)
                reloaded.append(_first_picture(tab, tab.reload))
                _settle(tab)  # what has not come yet is no part of the next reload
                costs.append(_cost(tab))
            finally:
                browser.close()
            time.sleep(APART_S)
    requests, kilobytes = (statistics.median(values) for values in zip(*costs, strict=True))
    return [
        _row("sign-in to the first picture", signed_in, 0.8, password=statistics.median(checked)),
        _row("reload to the first picture", reloaded, 0.5),
        at_most("requests of a reload", requests, 25),
        at_most("received by a reload", kilobytes, 60, unit="kB"),
    ]


def _row(name: str, seconds: list[float], goal: float, **detail: float) -> Row:
    middle, least, most = statistics.median(seconds), min(seconds), max(seconds)
    return at_most(name, middle, goal, unit="s", least=least, most=most, **detail)


def _sign_in(tab: Any, station: Running) -> tuple[float, float]:  # noqa: ANN401
    """Seconds to the first picture, and those of them until the password was found right."""
    tab.goto(f"{station.url}/")
    tab.fill("#user", USER)
    tab.fill("#password", PASSWORD)
    began_ms = tab.evaluate(NOW_MS)
    seconds = _first_picture(tab, lambda: tab.click("button[type=submit]"))
    return seconds, float(tab.evaluate(ASKED_MS) - began_ms) / 1000


def _first_picture(tab: Any, act: Callable[[], object]) -> float:  # noqa: ANN401
    """Seconds from an action to the first picture after it, both by the browser's clock."""
    began_ms = tab.evaluate(NOW_MS)
    act()
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        player = tab.frame(url=re.compile("/player"))
        first_ms = player.evaluate(FIRST_MS) if player is not None else None
        if first_ms is not None and first_ms > began_ms:
            return float(first_ms - began_ms) / 1000
        tab.wait_for_timeout(LOOK_MS)  # not by sleeping: the browser is heard of only meanwhile
    raise TimeoutError("the page shows no picture")


def _cost(tab: Any) -> tuple[int, float]:  # noqa: ANN401
    """Requests and kilobytes of a reload; what the browser has already does not count."""
    session = tab.context.new_cdp_session(tab)
    asked: dict[str, float] = {}
    had: set[str] = set()

    def begun(event: dict[str, Any]) -> None:
        if event["request"]["url"].startswith("http"):
            asked[event["requestId"]] = 0.0

    def answered(event: dict[str, Any]) -> None:
        if event["response"].get("fromDiskCache"):
            had.add(event["requestId"])

    def finished(event: dict[str, Any]) -> None:
        if event["requestId"] in asked:
            asked[event["requestId"]] = event["encodedDataLength"] / 1000

    session.on("Network.requestWillBeSent", begun)
    session.on("Network.requestServedFromCache", lambda event: had.add(event["requestId"]))
    session.on("Network.responseReceived", answered)
    session.on("Network.loadingFinished", finished)
    session.send("Network.enable")
    tab.reload()
    _settle(tab)
    return len(asked.keys() - had), sum(asked.values())


def _settle(tab: Any) -> None:  # noqa: ANN401
    """Wait until the whole page has come."""
    tab.get_by_role("tab", name="System").wait_for()
    tab.wait_for_timeout(1000)
