"""People: an admin sees who is signed in, and ends a session of somebody else."""

import time

import pytest

from appliance.web.tab import known_tabs
from tests.support.browser import CHROMIUM, SETTLED_MS, TABS_ARE_THERE, browsing, until
from tests.support.process import started, station_environ

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    # playwright leaves its event loop's descriptors to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


KEYS = {tab.letter: key for key, tab in known_tabs().items()}


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    folder = tmp_path_factory.mktemp("station")
    with started(station_environ(folder), folder / "log") as process:
        process.wait_until_ready()
        process.wait_until_page()
        yield process


def test_an_admin_ends_a_session_of_somebody_else(station):
    """It opens nothing from then on, and stands among what was done with who did it."""
    cookie = station.sign_in("vera")
    with browsing(station.origin) as seen:
        seen.sign_in(station.url)
        page = seen.page
        page.get_by_role("tab", name="People").click(timeout=SETTLED_MS)
        signed_in = page.get_by_role("region", name="Signed in")
        signed_in.get_by_text("vera").wait_for(timeout=SETTLED_MS)
        signed_in.get_by_text("(this browser)").wait_for(timeout=SETTLED_MS)
        page.get_by_label("Session").click()
        page.get_by_role("option", name="vera").click()
        page.get_by_role("button", name="End this session").click()
        done = page.get_by_role("region", name="What was done")
        done.get_by_text("Session revoked").wait_for(timeout=SETTLED_MS)
        assert signed_in.get_by_text("vera").count() == 0
        row = done.get_by_role("row").filter(has_text="Session revoked").inner_text()
        assert "ada" in row
        assert "vera, 127.0.0.1" in row
        assert seen.troubles == []
    assert station.get("/player", Cookie=cookie).status_code == 401


def test_an_admin_ends_all_sessions_of_a_person(station):
    """One click ends every browser of theirs."""
    cookies = [station.sign_in("vera") for _ in range(3)]
    with browsing(station.origin) as seen:
        seen.sign_in(station.url)
        page = seen.page
        page.get_by_role("tab", name="People").click(timeout=SETTLED_MS)
        page.get_by_text("(this browser)").wait_for(timeout=SETTLED_MS)
        page.get_by_label("Session", exact=True).click()
        page.get_by_role("option", name="vera").first.click()
        page.get_by_role("button", name="End all of this person").click()
        done = page.get_by_role("region", name="What was done")
        done.get_by_text("All sessions revoked").wait_for(timeout=SETTLED_MS)
        assert page.get_by_role("region", name="Signed in").get_by_text("vera").count() == 0
        assert seen.troubles == []
    codes = {station.get("/player", Cookie=cookie).status_code for cookie in cookies}
    assert codes == {401}


def test_nobody_else_sees_the_tab(station):
    """A viewer finds no tab, and is told nothing."""
    with browsing(station.origin) as seen:
        seen.sign_in(station.url, user="vera")
        seen.page.get_by_role("tab", name="Live").wait_for(timeout=SETTLED_MS)
        seen.page.wait_for_selector("iframe.player-frame", timeout=SETTLED_MS)
        assert seen.page.get_by_role("tab", name="People").count() == 0
        assert "Signed in" not in seen.page.content()


def press_until(page, letter, opened):
    """G and a letter, once more where a busy browser takes them for two keys far apart."""
    deadline_s = time.monotonic() + SETTLED_MS / 1000
    while True:
        page.keyboard.press("g")
        page.keyboard.press(letter)
        page.wait_for_timeout(100)
        if page.evaluate("document.documentElement.dataset.page") == opened:
            return
        assert time.monotonic() < deadline_s, f"G, {letter} does not open {opened}"


@pytest.mark.parametrize(("user", "seen_tabs"), [("vera", "L"), ("ada", "LIPS")])
def test_g_and_a_letter_open_the_tabs_that_the_list_of_keys_names(station, user, seen_tabs):
    """The list names those of the person's role; the letter of another tab opens nothing."""
    with browsing(station.origin) as seen:
        seen.sign_in(station.url, user=user)
        page, player = seen.page, seen.page.frame_locator("iframe.player-frame")
        until(page.main_frame, TABS_ARE_THERE)
        player.locator("body").press("?")
        keys = player.locator("dialog kbd").all_inner_texts()
        opening = [key for key in keys if key.startswith("G, then")]
        assert opening == [f"G, then {letter}" for letter in seen_tabs]
        player.locator("dialog").get_by_role("button", name="Close").click()
        for letter in "SPIL":
            opened = letter if letter in seen_tabs else "L"
            press_until(page, letter.lower(), KEYS[opened])
        assert seen.troubles == []
