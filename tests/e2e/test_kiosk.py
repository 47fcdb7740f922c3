"""The host's own screen: Live without a login, for nobody but the host, back by itself."""

import re

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support.browser import CHROMIUM, browsing, until
from tests.support.kiosk import cookie_of, let_in, write_entry_page
from tests.support.process import (
    KIOSK_KEY,
    PLAIN,
    free_port,
    run,
    started,
    station_environ,
    write_clip,
)

pytestmark = [
    pytest.mark.slow,
    # playwright leaves its event loop's descriptors to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def environ(tmp_path_factory):
    """Variables of a station with one camera and a kiosk."""
    folder = tmp_path_factory.mktemp("station")
    return station_environ(
        folder,
        APPLIANCE_CAMERAS__GATE__URL=str(write_clip(folder / "clip.avi")),
        APPLIANCE_KIOSK__PORT=str(free_port()),
    )


@pytest.fixture(scope="module")
def station(environ, tmp_path_factory):
    """It runs."""
    with started(environ, tmp_path_factory.mktemp("log") / "log") as process:
        process.wait_until_ready()
        yield process


@pytest.fixture(scope="module")
def kiosk(station, environ):
    """The address of the kiosk of the station that runs."""
    assert station.child.poll() is None
    return f"http://127.0.0.1:{environ['APPLIANCE_KIOSK__PORT']}"


@pytest.fixture(scope="module")
def cookie(kiosk):
    """Of a browser that has brought the key."""
    return cookie_of(kiosk)


def status(kiosk, path="/player", method="GET", **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.request(method, f"{kiosk}{path}", headers=names, timeout=10, **PLAIN).status_code


def shakes_hands(kiosk, origin=None, **headers):
    """The status with which the live view's socket is refused; 101 where it is opened."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    url = kiosk.replace("http", "ws") + "/live"
    try:
        with connect(url, additional_headers=names, origin=origin):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def test_the_screen_is_shown_without_a_login(kiosk, cookie):
    """The player and its files; the way there from the bare address."""
    assert status(kiosk, Cookie=cookie) == 200
    assert status(kiosk, "/static/player.js", Cookie=cookie) == 200
    assert shakes_hands(kiosk, Cookie=cookie) == 101
    home = httpx.get(kiosk, headers={"Cookie": cookie}, timeout=10)
    assert (home.status_code, home.headers["location"]) == (303, "/player?kiosk=1")
    player = httpx.get(f"{kiosk}/player", headers={"Cookie": cookie}, timeout=10)
    assert "default-src 'none'" in player.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/", "/player", "/static/player.js"])
def test_who_has_not_brought_the_key_sees_nothing(kiosk, path):
    """As any program of the host asks, and a proxy that adds no header lines."""
    assert status(kiosk, path) == 403
    assert status(kiosk, path, Cookie="appliance-kiosk=x") == 403
    assert shakes_hands(kiosk) == 403
    assert shakes_hands(kiosk, Cookie="appliance-kiosk=x") == 403


def test_the_key_shows_in_no_command_line_and_no_log(station, kiosk, cookie):
    """Others of the host read command lines; those of the host's log, what stands there."""
    import psutil

    assert status(kiosk, Cookie=cookie) == 200  # it is at work
    assert KIOSK_KEY not in " ".join(psutil.Process(station.child.pid).cmdline())
    assert KIOSK_KEY not in station.log.read_text()
    assert cookie.partition("=")[2] not in station.log.read_text()


@pytest.mark.parametrize(
    "header",
    [
        {"X_Forwarded_For": "192.0.2.7"},
        {"X_Forwarded_Proto": "https"},
        {"Forwarded": "for=192.0.2.7"},
        {"Via": "1.1 proxy"},
        {"X_Real_IP": "192.0.2.7"},
        {"Host": "station.example"},
        {"Host": "192.0.2.1"},
        {"Origin": "http://elsewhere.example"},
    ],
    ids=lambda header: "-".join(next(iter(header.items()))),
)
def test_nobody_else_gets_there(kiosk, cookie, header):
    """What came through a proxy, by another name or from another page is refused, key or not."""
    assert status(kiosk, Cookie=cookie, **header) == 403
    if "Host" in header:
        return  # the client library writes its own
    others = dict(header)
    origin = others.pop("Origin", None)
    assert shakes_hands(kiosk, origin, Cookie=cookie, **others) == 403


@pytest.mark.parametrize(
    "path", ["/ui/", "/login", "/metrics", "/api/ready", "/api/system/support-bundle"]
)
def test_nothing_else_is_there(kiosk, cookie, path):
    """No page, no figures, no bundle: only the picture."""
    assert status(kiosk, path, Cookie=cookie) == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed_from_there(kiosk, cookie, method):
    """It only reads."""
    assert status(kiosk, method=method, Cookie=cookie) == 403


def test_it_listens_on_the_loopback_alone(station, environ):
    """Wherever the page listens: the kiosk's socket is bound to 127.0.0.1."""
    import psutil

    port = int(environ["APPLIANCE_KIOSK__PORT"])
    bound = [
        each.laddr.ip
        for each in psutil.Process(station.child.pid).net_connections()
        if each.status == "LISTEN" and each.laddr.port == port
    ]
    assert bound == ["127.0.0.1"]


def test_off_is_the_default_and_a_taken_port_is_named(environ, kiosk, tmp_path):
    """Without the setting nothing listens; a port in use is told with the variable."""
    taken = {**environ, "APPLIANCE_WEB__PORT": str(free_port())}
    for name in ("STATE", "CACHE"):
        taken[f"APPLIANCE_PATHS__{name}"] = str(tmp_path / name.lower())
    taken["APPLIANCE_MODEL"] = ""
    second = run(taken, "serve")
    assert second.returncode == 1
    assert "APPLIANCE_KIOSK__PORT" in second.stderr
    assert kiosk.rpartition(":")[2] in second.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("end", ["", "\n"], ids=["bare", "line"])
def test_the_browser_brings_the_key_by_itself(kiosk, tmp_path, end):
    """From the page that the unit's script writes, for its owner alone, to pictures."""
    page = write_entry_page(tmp_path, kiosk, end=end)
    assert page.stat().st_mode & 0o777 == 0o600
    with browsing(kiosk) as seen:
        seen.page.goto(page.as_uri())
        seen.page.wait_for_url(f"{kiosk}/player?kiosk=1")
        until(seen.page.main_frame, "window.appliance?.drawn.gate > 3")
        assert [each for each in seen.troubles if page.as_uri() not in each] == []
        (kept,) = seen.page.context.cookies()
        assert (kept["name"], kept["httpOnly"]) == ("appliance-kiosk", True)


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_screen_is_always_dark(kiosk):
    """Whatever the browser asks for: nobody there could choose."""
    with browsing(kiosk, color_scheme="light") as seen:
        let_in(seen.page, kiosk)
        seen.page.goto(f"{kiosk}/")
        until(seen.page.main_frame, "document.documentElement.classList.contains('dark')")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_screen_with_a_wrong_key_says_so(kiosk, tmp_path):
    """Whoever set it up reads what to do."""
    page = write_entry_page(tmp_path, kiosk, key="x" * 32)
    with browsing(kiosk) as seen:
        seen.page.goto(page.as_uri())
        seen.page.get_by_text("The key is wrong: see docs/kiosk.md.").wait_for()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_it_comes_back_by_itself_when_the_station_does(environ, tmp_path):
    """Pictures again within seconds of the station's return, and no control is shown."""
    kiosk = f"http://127.0.0.1:{free_port()}"
    own = {
        **environ,
        "APPLIANCE_KIOSK__PORT": kiosk.rpartition(":")[2],
        "APPLIANCE_WEB__PORT": str(free_port()),
    }
    for name in ("STATE", "CACHE"):
        own[f"APPLIANCE_PATHS__{name}"] = str(tmp_path / name.lower())
    first = station_environ(tmp_path)
    own["APPLIANCE_PATHS__STATE"] = first["APPLIANCE_PATHS__STATE"]
    own["APPLIANCE_PATHS__CACHE"] = first["APPLIANCE_PATHS__CACHE"]
    drawn = "window.appliance.drawn.gate > {}"
    with browsing(kiosk) as seen:
        with started(own, tmp_path / "first") as station:
            station.wait_until(lambda: status(kiosk) == 403)
            station.wait_until_ready()
            let_in(seen.page, kiosk)
            seen.page.goto(f"{kiosk}/")
            until(seen.page.main_frame, drawn.format(3))
            assert seen.page.get_by_role("slider").count() == 0
            assert station.stop() == 0
        seen.page.get_by_text(re.compile("No connection")).first.wait_for()
        before = seen.page.evaluate("window.appliance.drawn.gate")
        with started(own, tmp_path / "second") as station:
            station.wait_until_ready()
            until(seen.page.main_frame, drawn.format(before + 3))
            assert station.stop() == 0
