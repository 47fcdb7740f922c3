"""The page in another language: every screen in German, and back to English, in a real browser."""

import re

import polib
import pytest
from axe_playwright_python.sync_playwright import Axe

from appliance.texts.languages import FOLDER
from tests.support.browser import CHROMIUM, SETTLED_MS, browsing, until
from tests.support.cameras import silent_server
from tests.support.kiosk import let_in
from tests.support.models import paint
from tests.support.people import blurred_noise, encoded
from tests.support.process import free_port, seeing, started, station_environ

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    # playwright leaves its event loop's descriptors to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

WIDTHS = (1280, 360)
# What a person sees or hears, without the log, which is English, and what people have named.
TEXTS = """() => {
  const said = [];
  const seen = (element) => element.checkVisibility({ checkVisibilityCSS: true });
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const element = node.parentElement;
    if (!seen(element) || element.closest(".log, script, option, select")) continue;
    said.push(node.textContent.trim());
  }
  for (const name of ["aria-label", "title", "placeholder", "alt", "data-label"]) {
    for (const element of document.querySelectorAll(`[${name}]`)) {
      if (seen(element)) said.push(element.getAttribute(name).trim());
    }
  }
  return said.filter(Boolean);
}"""
CUT = """() => [...document.querySelectorAll("button, a, h1, h2, h3, th, label, [role=tab]")]
  .filter((it) => it.checkVisibility() && it.clientWidth && !it.closest(".scroll, .log, .link"))
  .filter((it) => it.scrollWidth > it.clientWidth + 1 && getComputedStyle(it).display !== "inline")
  .map((it) => it.outerHTML.slice(0, 200))"""


def english():
    """Texts of the catalog that nothing is called in German."""
    entries = polib.pofile(str(FOLDER / "de.po"), encoding="utf-8")
    return {entry.msgid for entry in entries} - {entry.msgstr for entry in entries}


def leftovers(*targets):
    """What is English on these pages and frames, though there is German for it."""
    said = {text for target in targets for text in target.evaluate(TEXTS)}
    assert said
    return said & english()


def violations(target):
    """What axe-core finds serious; a page that looks again by itself is meant to do so."""
    found = Axe().run(target).response["violations"]
    serious = {each["id"] for each in found if each["impact"] in {"serious", "critical"}}
    return sorted(serious - {"meta-refresh"})


def look(page, *frames):
    """Nothing is English, wider than the page, cut off, or hard to use."""
    targets = (page, *frames)
    assert leftovers(*targets) == set()
    for target in targets:
        assert violations(target) == []
        assert target.evaluate(CUT) == []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(300)
        for target in targets:
            wide = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            scroll, client = target.evaluate(wide)
            assert scroll <= client, f"{scroll} px in {client}"
    page.set_viewport_size({"width": 1280, "height": 800})


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    """A station with a camera that is live, one that is away and one that is silent; a kiosk."""
    with (
        silent_server() as silent,
        seeing(
            tmp_path_factory.mktemp("station"),
            APPLIANCE_CAMERAS__DOCK__URL=f"rtsp://127.0.0.1:{free_port()}/x",
            APPLIANCE_CAMERAS__YARD__URL=f"http://127.0.0.1:{silent}/x",
            APPLIANCE_CAMERAS__YARD__OPEN_TIMEOUT_S="2",
            APPLIANCE_KIOSK__PORT=str(free_port()),
        ) as process,
    ):
        yield process


@pytest.fixture
def german(station):
    """A browser whose owner reads German."""
    with browsing(station.origin, locale="de-DE") as seen:
        yield seen


def open_page(page, name):
    page.locator(f"#page-{name}-button").click(timeout=SETTLED_MS)


def test_sign_in_is_german(station, german):
    """The form, and what it says to a wrong password."""
    german.page.goto(f"{station.url}/login")
    assert german.page.evaluate("document.documentElement.lang") == "de"
    look(german.page)
    german.page.get_by_role("button", name="Anzeigen").click()
    german.page.get_by_role("button", name="Verbergen").wait_for()
    assert german.troubles == []
    german.sign_in(station.url, password="wrong")
    german.page.get_by_text("Benutzer oder Passwort ist falsch.").wait_for()
    look(german.page)


def test_live_is_german(station, german):
    """All cameras and one, with the camera's own reason for being away; decimals with a comma."""
    german.sign_in(station.url)
    player = german.player()
    player.get_by_text("Die Kamera lehnt die Verbindung an").first.wait_for(timeout=SETTLED_MS)
    look(german.page, player)
    shown = "[...document.querySelectorAll('.readings b')].map((it) => it.textContent)"
    assert any(re.fullmatch(r"\d+,\d", text) for text in player.evaluate(shown))
    slider = player.get_by_role("slider")
    box = slider.bounding_box()
    middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    top = german.page.locator("iframe.player-frame").bounding_box()["y"]
    at = f"document.elementFromPoint({middle[0]}, {middle[1] - top})?.type"
    assert player.evaluate(at) == "range", "something lies over the slider"
    german.page.keyboard.press("2")
    player.get_by_role("button", name="Alle Kameras").wait_for()
    look(german.page, player)
    assert german.page.evaluate("navigator.language") == "de"
    assert german.troubles == []


def test_a_camera_always_says_what_comes_next(station, german):
    """While it is tried as well, which may take long: not only until then."""
    german.sign_in(station.url)
    yard = german.player().locator("article", has_text="yard")
    for words in (
        r"antwortet dann nicht\.",
        r"Verbindungsversuch \d+ läuft\.",
        r"Neuer .* in \d+ s, Versuch",
    ):
        yard.get_by_text(re.compile(words)).wait_for(timeout=SETTLED_MS)


def test_inspect_is_german(station, german, tmp_path):
    """A picture that is seen, and one that is refused with the reason."""
    german.sign_in(station.url)
    german.player()
    open_page(german.page, "inspect")
    chosen = german.page.locator("inspect-page input[type=file]")
    chosen.wait_for(state="attached", timeout=SETTLED_MS)
    look(german.page)
    cut = tmp_path / "cut.jpg"
    whole = encoded(blurred_noise(), "JPEG")
    cut.write_bytes(whole[: len(whole) // 2])
    chosen.set_input_files(cut)
    german.page.get_by_text("Das Bild ist unvollständig oder beschädigt.").wait_for()
    assert leftovers(german.page) == set()
    assert any("400" in trouble for trouble in german.troubles)
    german.troubles.clear()
    import cv2

    assert cv2.imwrite(str(tmp_path / "seen.png"), paint([("red", 40, 30, 84, 74)]))
    chosen.set_input_files(tmp_path / "seen.png")
    german.page.locator("inspect-page tbody tr").first.wait_for(timeout=SETTLED_MS)
    look(german.page)
    assert german.troubles == []


def test_system_is_german(station, german):
    """Health, engines, plots, the machine, settings; and an override that somebody sets."""
    german.sign_in(station.url)
    german.player()
    open_page(german.page, "system")
    german.page.get_by_text("APPLIANCE_MODEL").first.wait_for(timeout=SETTLED_MS)
    look(german.page)
    german.page.get_by_role("radio", name="Warnungen").check(force=True)
    german.page.get_by_role("textbox", name="Text im Protokoll").fill("nothing holds this")
    german.page.get_by_text("Keine Zeile entspricht dem Filter.").wait_for(timeout=SETTLED_MS)
    german.page.get_by_label("Konfidenz ab").last.fill("0.45")
    german.page.get_by_role("button", name="Für alle übersteuern").click()
    end = german.page.get_by_role("button", name="Übersteuerung beenden")
    end.wait_for(timeout=SETTLED_MS)
    german.page.locator("#station-bar").get_by_text("Übersteuerung").wait_for(timeout=SETTLED_MS)
    until(
        german.page.main_frame, "document.querySelector('.lines').textContent.includes('Von ada')"
    )
    look(german.page)
    end.click()
    end.wait_for(state="hidden", timeout=SETTLED_MS)
    assert german.troubles == []


def test_people_is_german(station, german):
    """Who is signed in, and what was done."""
    german.sign_in(station.url)
    german.player()
    open_page(german.page, "people")
    german.page.get_by_text("(dieser Browser)").wait_for(timeout=SETTLED_MS)
    look(german.page)
    assert german.troubles == []


def test_the_kiosk_is_german_where_its_browser_is(station):
    """The same rule holds on the host's own screen."""
    kiosk = f"http://127.0.0.1:{station.environ['APPLIANCE_KIOSK__PORT']}"
    with browsing(kiosk, locale="de-DE") as seen:
        let_in(seen.page, kiosk)
        seen.page.goto(f"{kiosk}/")
        seen.page.get_by_text("Jetzt im Bild").first.wait_for(timeout=SETTLED_MS)
        assert leftovers(seen.page) == set()
        assert violations(seen.page) == []
        assert seen.troubles == []


def test_a_choice_counts_more_than_the_browser_and_lasts(station):
    """From English to German and back: the page works on, and the next visit remembers."""
    with browsing(station.origin, locale="en-US") as seen:
        seen.sign_in(station.url)
        seen.player()
        page = seen.page
        assert page.url == f"{station.url}/ui/"
        with seen.leaving():
            page.get_by_role("combobox", name="Language").select_option("de")
            page.get_by_role("tab", name="Prüfen").wait_for(timeout=SETTLED_MS)
        player = seen.player()
        assert page.evaluate("[document.documentElement.lang, navigator.language]") == ["de", "de"]
        assert leftovers(page, player) == set()
        open_page(page, "system")
        page.get_by_text("Wirksame Einstellungen").first.wait_for(timeout=SETTLED_MS)
        with seen.leaving():
            page.goto(f"{station.url}/ui/")
            page.get_by_role("tab", name="Prüfen").wait_for(timeout=SETTLED_MS)
        with seen.leaving():
            page.get_by_role("combobox", name="Sprache").select_option("en")
            page.get_by_role("tab", name="Inspect").wait_for(timeout=SETTLED_MS)
        page.get_by_role("tab", name="System", selected=True).wait_for(timeout=SETTLED_MS)
        page.get_by_text("Settings in effect").first.wait_for(timeout=SETTLED_MS)
        assert page.evaluate("document.documentElement.lang") == "en"
        assert seen.troubles == []


def test_the_problem_page_is_german_where_the_station_is(tmp_path):
    """The setting counts where nobody has chosen, whatever the browser asks for."""
    environ = station_environ(
        tmp_path,
        APPLIANCE_WEB__LANGUAGE="de",
        APPLIANCE_DETECTION__CONFIDENCE="much",
        APPLIANCE_ENGINE__BACKEND="gpu",
        APPLIANCE_CAMERAS__DOCK__URI="rtsp://192.0.2.10/x",
    )
    with started(environ, tmp_path / "log") as station:
        station.wait_until(lambda: station.get("/api/health").status_code == 200)
        with browsing(station.origin, locale="en-US") as seen:
            seen.page.goto(station.url)
            seen.page.get_by_text("3 Einstellungen zu ändern").wait_for()
            text = seen.page.inner_text("main")
            assert "meinten Sie APPLIANCE_CAMERAS__DOCK__URL?" in text
            assert "ist keine Zahl" in text
            look(seen.page)
            seen.page.get_by_role("combobox", name="Sprache").select_option("en")
            seen.page.get_by_text("3 settings need a change").wait_for()


def test_the_kiosk_tells_the_stations_address_while_it_has_no_picture(tmp_path):
    """Whoever stands before the box finds its page."""
    environ = station_environ(
        tmp_path,
        APPLIANCE_KIOSK__PORT=str(free_port()),
        APPLIANCE_WEB__HOST="0.0.0.0",  # noqa: S104
    )
    kiosk = f"http://127.0.0.1:{environ['APPLIANCE_KIOSK__PORT']}"
    with started(environ, tmp_path / "log") as station:
        station.wait_until(lambda: "kiosk: " in station.log.read_text())
        with browsing(kiosk) as seen:
            let_in(seen.page, kiosk)
            seen.page.goto(f"{kiosk}/")
            place = seen.page.get_by_text("This station:")
            place.wait_for(timeout=SETTLED_MS)
            assert f":{environ['APPLIANCE_WEB__PORT']}/" in place.inner_text()
            assert violations(seen.page) == []
