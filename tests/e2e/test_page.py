"""The page as a person sees it: a real station, a real browser."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import pytest

from tests.support.browser import CHROMIUM, SETTLED_MS, browsing, counting, until
from tests.support.process import PASSWORD, seeing, started, station_environ
from tests.support.yard import write_yard, yard

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    # playwright leaves its event loop's descriptors to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    """Below a path, which is the harder place: at the root the other files look."""
    with seeing(
        tmp_path_factory.mktemp("station"),
        APPLIANCE_CAMERAS__GATE__NAME="Gate",
        APPLIANCE_WEB__BASE_PATH="/cam",
    ) as process:
        yield process


def test_live_shows_moving_pictures_with_boxes_and_the_viewer_chooses_what_to_see(station):
    """A person signs in, sees the picture move with boxes in it, and hides them at once."""
    with browsing(station.origin) as seen:
        seen.sign_in(station.url)
        player = seen.player()
        before = player.evaluate("window.appliance.drawn.gate")
        until(player, f"window.appliance.drawn.gate > {before + 5}")
        assert player.evaluate("window.appliance.lastBoxes.gate") == 2

        green = player.get_by_role("button", name=re.compile("green"))
        green.click()
        until(player, "window.appliance.lastBoxes.gate === 1")
        green.click()
        until(player, "window.appliance.lastBoxes.gate === 2")

        slider = player.get_by_role("slider")
        slider.focus()
        slider.press("End")
        until(player, "window.appliance.lastBoxes.gate === 0")
        assert seen.troubles == []


def test_the_canvas_really_changes(station):
    """What is counted as drawn is seen: the canvas holds other pixels a moment later."""
    read = "document.querySelector('canvas').toDataURL()"
    with browsing(station.origin) as seen:
        seen.sign_in(station.url)
        player = seen.player()
        first = player.evaluate(read)
        seen.page.wait_for_timeout(500)
        assert player.evaluate(read) != first


SHOWN_CHIPS = """(said) => {
  const strip = document.querySelector(".strip");
  if (said) strip.querySelector(".chip > span").textContent = said;
  const { top, bottom, left, right } = strip.getBoundingClientRect();
  return [...strip.querySelectorAll(".chip")]
    .map((chip) => [chip.dataset.chip, chip.getBoundingClientRect()])
    .filter(([, it]) => it.width > 0 && it.top < bottom && it.bottom > top)
    .map(([name, it]) => [name, it.left >= left && it.right <= right]);
}"""


def test_no_chip_of_the_bar_is_cut_off_on_a_phone(station):
    """What finds no room is left out whole; the cameras come first, however much they say."""
    with browsing(station.origin) as seen:
        seen.sign_in(station.url)
        seen.player()
        seen.page.set_viewport_size({"width": 360, "height": 740})
        for said in ("", "3 offline 2 stalled 1 connecting 12 ended 14 live"):
            shown = seen.page.evaluate(SHOWN_CHIPS, said)
            assert shown[0] == ["cameras", True]
            assert all(is_whole for _, is_whole in shown), shown


def test_system_is_for_those_who_may_see_it(station):
    """An admin finds engine and settings on System; a viewer finds no such tab."""
    with browsing(station.origin) as seen:
        seen.sign_in(station.url)
        seen.page.get_by_role("tab", name="System").click(timeout=SETTLED_MS)
        seen.page.get_by_text("APPLIANCE_MODEL").first.wait_for(timeout=SETTLED_MS)
        text = seen.page.inner_text("body")
        assert "ONNX Runtime CPU" in text
        assert "bright-spots" in text
        assert "argon2id" not in text
        assert seen.troubles == []
    with browsing(station.origin) as seen:
        seen.sign_in(station.url, user="vera")
        seen.player()
        assert seen.page.get_by_role("tab", name="System").count() == 0


def test_system_plots_filters_its_log_and_gives_a_bundle(station):
    """Three plots with lines; the filter stays while the page refreshes itself; a zip to keep."""
    with browsing(station.origin) as seen:
        seen.sign_in(station.url)
        page = seen.page
        page.get_by_role("tab", name="System").click(timeout=SETTLED_MS)
        plots = page.locator("svg.plot")
        plots.first.wait_for(timeout=SETTLED_MS)
        assert plots.count() == 3
        until(page.main_frame, "document.querySelector('svg.plot path').getTotalLength() > 0")
        label = plots.first.get_attribute("aria-label")
        assert label.startswith("Rate, pictures inferred per second, last hour, 1 of 1 camera")

        lines = page.locator(".log > div")
        assert lines.count() > 3
        text = page.get_by_role("textbox", name="Text in the log")
        text.press_sequentially("audit: sign_in")
        until(
            page.main_frame,
            "[...document.querySelectorAll('.log > div')]"
            ".every((line) => line.textContent.includes('audit: sign_in'))",
        )
        page.get_by_role("radio", name="Errors").check(force=True)
        page.get_by_text("No line fits the filter.").wait_for(timeout=SETTLED_MS)
        text.focus()
        page.evaluate("document.querySelector('svg.plot').dataset.seen = 'yes'")
        until(page.main_frame, "document.querySelector('svg.plot').dataset.seen === undefined")
        assert text.input_value() == "audit: sign_in"
        assert page.evaluate("document.activeElement.value") == "audit: sign_in"
        assert page.get_by_text("No line fits the filter.").is_visible()

        with page.expect_download() as download:
            page.get_by_role("link", name="Support bundle").click()
        assert download.value.suggested_filename.startswith("support-hall-3-")
        with zipfile.ZipFile(download.value.path()) as archive:
            assert "station.json" in archive.namelist()
        assert seen.troubles == []


def test_system_leads_to_the_report_on_the_engine(station):
    """The link stands beside the verdict and opens a page of its own, which may run nothing."""
    with browsing(station.origin) as seen:
        seen.sign_in(station.url)
        seen.page.get_by_role("tab", name="System").click(timeout=SETTLED_MS)
        link = seen.page.get_by_role("link", name="Report on bright-spots")
        link.wait_for(timeout=SETTLED_MS)
        with seen.page.expect_popup() as popup:
            link.click()
        report = popup.value
        report.get_by_role("heading", name="fp32, unproven").wait_for(timeout=SETTLED_MS)
        assert report.url == f"{station.url}/api/system/reports/bright-spots"
        # Its style is let in: a cell of the facts, and not the browser's own look.
        assert report.evaluate("getComputedStyle(document.querySelector('dl')).display") == "grid"
        assert report.evaluate("self.origin") == "null"
        assert seen.troubles == []


def test_a_session_that_is_over_is_told_on_every_tab(station):
    """One bar with the reason and the way back; nothing is asked any more, no word of Gradio's."""
    with browsing(station.origin) as seen:
        seen.page.clock.install()
        seen.sign_in(station.url)
        seen.player()
        page, asked = seen.page, []
        page.get_by_role("tab", name="System").click(timeout=SETTLED_MS)
        page.locator("[data-document=overview]").wait_for(timeout=SETTLED_MS)
        (cookie,) = page.context.cookies()
        name_and_token = f"{cookie['name']}={cookie['value']}"
        page.on("request", lambda request: asked.append(request.url))
        station.post("/logout", Cookie=name_and_token)
        for tab in ("System", "Live", "Inspect", "People"):
            page.get_by_role("tab", name=tab).click()
            bar = page.locator(".frame > .note")
            bar.get_by_text("in another window of this browser.").wait_for(timeout=SETTLED_MS)
            assert re.match(r"Signed out at \d\d:\d\d:\d\d ", bar.inner_text())
            assert bar.get_by_role("link", name="Sign in").is_visible()
            assert page.get_by_role("button", name="Sign out").count() == 0
            page.clock.fast_forward(6000)  # each document would be asked for again
            assert page.locator(".toast-wrap:visible").count() == 0
        assert page.get_by_role("button", name="End this session").is_disabled() or (
            page.locator("#page-people").get_attribute("inert") is not None
        )
        page.get_by_role("tab", name="System").click()
        assert page.locator("[data-document=overview][data-old]").is_visible()
        assert [url for url in asked if "gradio_api" in url] == []
        assert seen.troubles == []
        bar.get_by_role("link", name="Sign in").click()
        page.fill("#user", "ada")
        page.fill("#password", PASSWORD)
        page.click("button[type=submit]")
        page.locator("[data-document=overview]:not([data-old])").wait_for(timeout=SETTLED_MS)


def test_a_reload_costs_little(station):
    """What has not changed is not asked for again: at most 25 requests and 60 kB."""
    with browsing(station.origin) as seen:
        seen.sign_in(station.url)
        seen.player()
        seen.page.get_by_role("tab", name="System").wait_for(timeout=SETTLED_MS)
        with counting(seen.page) as cost:
            seen.page.reload(wait_until="commit")
            seen.player()
            seen.page.get_by_role("tab", name="System").wait_for(timeout=SETTLED_MS)
        assert 3 <= cost.requests <= 25
        assert 3_000 <= cost.received_bytes <= 60_000
        assert seen.troubles == []


def test_a_wrong_password_is_told_apart_from_nothing_else(station):
    """The form comes back with one sentence, which names neither user nor password as wrong."""
    with browsing(station.origin) as seen:
        seen.sign_in(station.url, password="wrong")
        seen.page.get_by_text("User or password is wrong.").wait_for()
        assert "/login" in seen.page.url


def yard_environ(folder, weights):
    """A station with the real detector on the drawn yard, proven on a few pictures of it.

    Few a second: a detector that takes a core would keep the page waiting.
    """
    clip = write_yard(folder / "yard.avi", fps=5)
    place = folder / "state" / "models" / weights.parent.name / "model.onnx"
    place.parent.mkdir(parents=True)
    shutil.copy(weights, place)
    environ = station_environ(
        folder,
        APPLIANCE_MODEL=weights.parent.name,
        APPLIANCE_STATION__NAME="Demonstration",
        APPLIANCE_CAMERAS__YARD__URL=str(clip),
        APPLIANCE_CAMERAS__YARD__NAME="Yard",
    )
    build = [sys.executable, "-m", "appliance", "build", "--frames", str(clip)]
    subprocess.run(build, env=environ, check=True, capture_output=True)
    return environ


def test_the_real_detector_finds_what_stands_in_the_yard(tmp_path, centernet):
    """Login, Live, Inspect and System as the README shows them, with what is really found."""
    assert cv2.imwrite(str(tmp_path / "yard.png"), yard(0.2))
    pictures = Path(os.environ.get("APPLIANCE_SCREENSHOTS") or tmp_path)
    with started(yard_environ(tmp_path, centernet), tmp_path / "log") as station:
        station.wait_until_ready()
        station.wait_until_page()
        with browsing(station.origin, color_scheme="dark") as seen:
            seen.page.goto(f"{station.url}/login")
            seen.page.screenshot(path=pictures / "login.png")
            seen.sign_in(station.url)
            player = seen.player()
            if "APPLIANCE_SCREENSHOTS" in os.environ:
                seen.page.wait_for_timeout(6000)  # for figures of some seconds
            until(player, "window.appliance.lastBoxes.yard >= 5")
            seen.page.screenshot(path=pictures / "live.png")
            seen.page.get_by_role("tab", name="Inspect").click(timeout=SETTLED_MS)
            seen.page.locator("inspect-page input[type=file]").set_input_files(
                tmp_path / "yard.png"
            )
            found = seen.page.locator("inspect-page tbody tr")
            found.nth(4).wait_for(timeout=SETTLED_MS)
            named = " ".join(found.all_inner_texts())
            assert all(name in named for name in ("car", "person", "traffic light", "stop sign"))
            seen.page.screenshot(path=pictures / "inspect.png")
            seen.page.get_by_role("tab", name="System").click(timeout=SETTLED_MS)
            seen.page.get_by_text(re.compile(r"^Proven: ")).first.wait_for(timeout=SETTLED_MS)
            seen.page.screenshot(path=pictures / "system.png")
            assert seen.troubles == []
