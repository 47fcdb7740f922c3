"""A page that stays open while the station goes and comes back."""

import time

import pytest

from tests.support.browser import CHROMIUM, SETTLED_MS, browsing
from tests.support.process import started, station_environ, write_clip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    # playwright leaves its event loop's descriptors to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

BACK_S = 3.0
NEW = "[data-document=overview]:not([data-old])"
SHAPELESS = """
[...document.querySelectorAll("svg.icon")].filter((svg) => {
  const { width, height } = svg.getBBox();
  return svg.checkVisibility() && !(width > 0 && height > 0);
}).map((svg) => svg.outerHTML)
"""


def test_an_open_page_outlives_the_station(tmp_path):
    """Away: every state keeps word and shape, and documents grow old. Back: new within 3 s."""
    clip = str(write_clip(tmp_path / "clip.avi"))
    environ = station_environ(tmp_path, APPLIANCE_CAMERAS__GATE__URL=clip)
    place = f"http://127.0.0.1:{environ['APPLIANCE_WEB__PORT']}"
    with browsing(place) as seen:
        page = seen.page
        page.clock.install()
        with started(environ, tmp_path / "log") as station:
            station.wait_until_ready()
            station.wait_until_page()
            seen.sign_in(station.url)
            player = seen.player()
            page.get_by_role("tab", name="System").click(timeout=SETTLED_MS)
            overview = page.locator("[data-document=overview]")
            overview.get_by_text("Runs for").wait_for(timeout=SETTLED_MS)
            assert seen.troubles == []
            station.stop()
        away(page, player, overview)
        page.evaluate("document.documentElement.dataset.before = 'yes'")
        with started(environ, tmp_path / "log-again") as station:
            station.wait_until_page()
            back_s = until_new(page)
            assert page.get_by_role("tab", name="System", selected=True).is_visible()
            assert page.get_by_text("No connection").count() == 0
            page.evaluate("document.documentElement.dataset.before = 'yes'")
            page.reload(wait_until="commit")
            # Cores that are shared make any load of the page long; nobody is quicker by hand.
            assert back_s < max(3 * BACK_S, 4 * until_new(page))


def until_new(page):
    """Seconds until the page has been loaded again and shows its document."""
    since_s = time.monotonic()
    page.locator(f"html:not([data-before]) {NEW}").wait_for(timeout=SETTLED_MS)
    return time.monotonic() - since_s


def away(page, player, overview):
    """What a page shows while nobody answers."""
    bar = page.locator(".frame > .note")
    bar.get_by_text("Tries again every 2 s.").wait_for(timeout=SETTLED_MS)
    assert overview.get_attribute("data-old") is None
    page.clock.fast_forward(11_000)
    page.locator("[data-document=overview][data-old]").wait_for(timeout=SETTLED_MS)
    for name in ("log", "fixed"):
        assert page.locator(f"[data-document={name}][data-old]").is_visible()
    assert overview.locator("[data-place=age]").inner_text().endswith(" s ago")
    assert page.locator(".toast-wrap:visible").count() == 0
    assert page.locator("svg.icon:visible").count() > 8
    assert page.evaluate(SHAPELESS) == []
    page.get_by_role("tab", name="Live").click()
    player.locator(".rail").get_by_text("No connection").wait_for(timeout=SETTLED_MS)
    assert player.locator(".state:visible svg.icon").count() == 1
    assert player.evaluate(SHAPELESS) == []
    page.get_by_role("tab", name="System").click()
