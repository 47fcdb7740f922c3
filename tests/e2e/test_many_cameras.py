"""Eight cameras in two tabs of one browser over plain HTTP: six connections are all there are."""

import pytest

from tests.support.browser import CHROMIUM, SETTLED_MS, Watched, browsing, until
from tests.support.process import started, station_environ, write_clip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    # playwright leaves its event loop's descriptors to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CAMERAS = [f"camera_{number}" for number in range(1, 9)]
ALL_DRAWN = f"{CAMERAS}.every((key) => (window.appliance.drawn[key] ?? 0) > {{floor}}[key])"


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    folder = tmp_path_factory.mktemp("station")
    clip = str(write_clip(folder / "clip.avi"))
    cameras = {
        f"APPLIANCE_CAMERAS__{key.upper()}__{name}": value
        for key in CAMERAS
        for name, value in {"URL": clip, "REPEAT": "on"}.items()
    }
    environ = station_environ(folder, APPLIANCE_LIVE__FPS="5", **cameras)
    with started(environ, folder / "log") as process:
        process.wait_until_ready()
        process.wait_until_page()
        yield process


def sees_all_anew(player):
    """Every camera has been drawn again since now."""
    drawn = {key: player.evaluate(f"window.appliance.drawn.{key} ?? 0") for key in CAMERAS}
    until(player, ALL_DRAWN.format(floor=drawn))


def click_through(seen):
    """Every tab answers: what it shows has come over the connections that are left."""
    page = seen.page
    page.get_by_role("tab", name="Inspect").click(timeout=SETTLED_MS)
    page.locator("inspect-page input[type=file]").wait_for(state="attached", timeout=SETTLED_MS)
    page.get_by_role("tab", name="People").click(timeout=SETTLED_MS)
    page.get_by_text("signed in").first.wait_for(timeout=SETTLED_MS)
    page.get_by_role("tab", name="System").click(timeout=SETTLED_MS)
    page.locator("svg.plot").first.wait_for(timeout=SETTLED_MS)
    page.get_by_role("tab", name="Live").click(timeout=SETTLED_MS)
    page.locator("iframe.player-frame").wait_for(state="visible", timeout=SETTLED_MS)


def test_two_tabs_show_all_and_everything_is_still_clicked(station):
    """One connection for each tab carries all pictures; tabs, events and files find theirs."""
    with browsing(station.url) as first:
        first.sign_in(station.url)
        first.page.wait_for_url(f"{station.url}/ui/")
        second = Watched(first.page.context.new_page(), station.url)
        second.page.goto(f"{station.url}/ui/")
        for seen in (first, second, first, second):
            seen.page.bring_to_front()  # a tab that is hidden asks for no pictures
            sees_all_anew(seen.player())
            click_through(seen)
            sees_all_anew(seen.player())
        assert [len(seen.sockets) for seen in (first, second)] == [1, 1]
        assert first.troubles + second.troubles == []
