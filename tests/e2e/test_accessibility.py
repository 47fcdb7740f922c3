"""The page by axe-core's rules: nothing serious, on every screen, in both themes."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.support.browser import CHROMIUM, SETTLED_MS, browsing
from tests.support.kiosk import let_in
from tests.support.process import free_port, seeing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    # playwright leaves its event loop's descriptors to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    """A station with a camera that is live and one that is away, and a kiosk."""
    with seeing(
        tmp_path_factory.mktemp("station"),
        APPLIANCE_CAMERAS__DOCK__URL=f"rtsp://127.0.0.1:{free_port()}/x",
        APPLIANCE_KIOSK__PORT=str(free_port()),
    ) as process:
        yield process


def violations(target):
    """What axe-core finds serious, as readable lines."""
    found = Axe().run(target).response["violations"]
    return [
        f"{each['id']}: {each['help']}: {node['html'][:200]}"
        for each in found
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_login_page_can_be_used_by_everybody(station, theme):
    """Names, contrast and order of the form."""
    with browsing(station.origin) as seen:
        seen.page.emulate_media(color_scheme=theme)
        seen.page.goto(f"{station.url}/login")
        assert violations(seen.page) == []


def test_what_is_wrong_is_found(station):
    """The rules really run: a button without a name, and gray on gray, do not pass."""
    with browsing(station.origin) as seen:
        seen.page.goto(f"{station.url}/login")
        seen.page.evaluate("document.body.insertAdjacentHTML('beforeend', `<button></button>`)")
        seen.page.evaluate("document.querySelector('h1').style.color = '#999'")
        found = " ".join(violations(seen.page))
    assert "button-name" in found
    assert "color-contrast" in found


@pytest.fixture(scope="module", params=["light", "dark"])
def page(request, station):
    """The page of somebody who is signed in, in each theme."""
    with browsing(station.origin) as seen:
        seen.page.emulate_media(color_scheme=request.param)
        seen.sign_in(station.url)
        yield seen


def test_live_can_be_used_by_everybody(page):
    """The page around it, and the player in its frame, with a camera that is away."""
    player = page.player()
    assert violations(page.page) == []
    assert violations(player) == []


def test_system_can_be_used_by_everybody(page):
    """Tables, plots, the log with its filter."""
    page.page.get_by_role("tab", name=re.compile("System")).click(timeout=SETTLED_MS)
    page.page.get_by_text("APPLIANCE_MODEL").first.wait_for(timeout=SETTLED_MS)
    assert violations(page.page) == []


def test_the_kiosk_can_be_read_by_everybody(station):
    """It has no controls, and names and contrast all the same."""
    kiosk = f"http://127.0.0.1:{station.environ['APPLIANCE_KIOSK__PORT']}"
    with browsing(kiosk) as seen:
        let_in(seen.page, kiosk)
        seen.page.goto(f"{kiosk}/")
        seen.page.get_by_text("In view now").first.wait_for(timeout=SETTLED_MS)
        assert violations(seen.page) == []
