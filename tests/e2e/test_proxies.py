"""The station behind real proxies, by the very files that are shipped (O-17)."""

import re
import shutil
import ssl
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import httpx
import pytest

from appliance.settings.model import MOST_PICTURE_MB, Inspect
from appliance.settings.tokens import TokenScope, new_token
from appliance.web.tab import every_rule
from tests.support.browser import (
    CHROMIUM,
    SETTLED_MS,
    Watched,
    browsing,
    home_that_trusts,
    until,
)
from tests.support.models import paint
from tests.support.process import (
    MODEL,
    PASSWORD,
    TOKEN,
    StationProcess,
    free_port,
    started,
    station_environ,
    write_clip,
)
from tests.support.proxies import (
    CADDYFILE,
    NGINX_CONF,
    OPERATE,
    PROGRAMS,
    PROXIES,
    Proxy,
    make_certificates,
)
from tests.support.sockets import Calls
from tests.support.streams import HELD_BACK_S, read_parts

NEEDED = {**PROGRAMS, "chromium": CHROMIUM, "certutil": shutil.which("certutil")}
MISSING = [name for name, path in NEEDED.items() if path is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    # playwright leaves its event loop's descriptors to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PICTURES, PICTURES_KEPT = new_token(
    "recorder", [TokenScope.PICTURES], datetime.now(UTC).date() + timedelta(days=9)
)
ALL_ADDRESSES = (
    "[...document.querySelectorAll('[href], [src], form[action]')].map((element) =>"
    " new URL(element.getAttribute('href') ?? element.getAttribute('src')"
    " ?? element.getAttribute('action'), document.baseURI).href)"
)
LOOKED_AT = "[...document.querySelectorAll('svg.plot')].forEach((plot) => plot.dataset.seen = 1)"
REFRESHED = (
    "[...document.querySelectorAll('svg.plot')].length === 3"
    " && ![...document.querySelectorAll('svg.plot')].some((plot) => plot.dataset.seen)"
)


@dataclass(frozen=True, slots=True)
class Behind:
    """A station and the proxy in front of it.

    Attributes:
        station: the process.
        proxy: in front.
        url: of the page, for browsers.
        home: of somebody who trusts the proxy's authority; None without TLS.
    """

    station: StationProcess
    proxy: Proxy
    url: str
    home: Path | None

    @property
    def is_secure(self) -> bool:
        """Whether browsers come by HTTPS."""
        return self.url.startswith("https:")

    def client(self, address: str = "127.0.0.1", **options) -> httpx.Client:
        """Calls from an address; trusts the proxy's authority, as a browser that was told to."""
        trusted = self.proxy.authority
        verify = ssl.create_default_context(cafile=trusted) if self.is_secure else False
        line = httpx.HTTPTransport(local_address=address, verify=verify)
        return httpx.Client(transport=line, timeout=20, **options)


def behind(station, proxy, folder):
    """Both, with a home folder where TLS needs one."""
    home = home_that_trusts(proxy.authority, folder) if proxy.authority else None
    base = station.environ.get("APPLIANCE_WEB__BASE_PATH", "")
    return Behind(station, proxy, f"{proxy.origin}{base}", home)


def port_of(environ):
    return int(environ["APPLIANCE_WEB__PORT"])


FORMS = {
    "http-root": ("", False, "caddy"),
    "http-path": ("/cam", False, "nginx"),
    "https-root": ("", True, "nginx"),
    "https-path": ("/hall/cam", True, "caddy"),
}
"""The base path, whether browsers come by TLS, and behind which proxy one walks through it all.

So each proxy meets a path and TLS, and both without.
"""


@pytest.fixture(scope="module", params=[*FORMS.values()], ids=[*FORMS])
def station(request, tmp_path_factory):
    """A station with one camera, behind each of the proxies, and the calls that it makes."""
    base, tls, walked = request.param
    folder = tmp_path_factory.mktemp("station")
    environ = station_environ(
        folder,
        APPLIANCE_CAMERAS__GATE__URL=str(write_clip(folder / "clip.avi")),
        APPLIANCE_WEB__BASE_PATH=base,
        APPLIANCE_WEB__HTTPS="on" if tls else "off",
        APPLIANCE_WEB__TRUSTED_PROXIES="127.0.0.1",
        APPLIANCE_WEB__CA_FILE=str(folder / "ca.crt"),
        APPLIANCE_AUTH__TOKENS=PICTURES_KEPT.line(),
    )
    with ExitStack() as running:
        process = running.enter_context(started(environ, folder / "log"))
        calls = running.enter_context(Calls(process.child.pid, port_of(environ)))
        places = {}
        for name, start in PROXIES.items():
            (folder / name).mkdir()
            proxy = running.enter_context(start(folder / name, port_of(environ), tls=tls))
            places[name] = behind(process, proxy, folder / name / "home")
        process.wait_until_ready()
        process.wait_until_page()
        yield places, calls, walked


@pytest.fixture(params=list(PROXIES))
def here(request, station):
    """That station behind one of the proxies."""
    return station[0][request.param]


def large_picture() -> bytes:
    """A PNG of some megabytes, with a square in it; as it comes from a camera."""
    pixels = paint([("red", 200, 200, 600, 600)], (1280, 720))
    return cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].tobytes()


def walk(seen: Watched, url: str) -> None:
    """Everything that a person does on the page, from the first look to signing out."""
    page = seen.page
    player = seen.player()
    before = player.evaluate("window.appliance.drawn.gate")
    until(player, f"window.appliance.drawn.gate > {before + 5}")
    for tab in page.get_by_role("tab").all():
        tab.click()
        page.wait_for_timeout(500)  # what it shows first has been asked for
        assert tab.get_attribute("aria-selected") == "true"
    inspect_a_picture(page)
    use_system(page, url)
    for frame in page.frames:
        found = frame.evaluate(ALL_ADDRESSES)
        assert [it for it in found if not it.startswith((f"{url}/", "blob:", "data:"))] == []
    with seen.leaving():
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_selector("#user")
    assert page.url == f"{url}/login"
    assert seen.sockets != []
    assert seen.troubles == []


def inspect_a_picture(page) -> None:
    """Upload some megabytes, and see what the model sees."""
    page.get_by_role("tab", name="Inspect").click()
    inspect = page.locator("inspect-page")
    picture = {"name": "large.png", "mimeType": "image/png", "buffer": large_picture()}
    inspect.locator("input[type=file]").set_input_files(picture)
    inspect.locator("tbody tr").first.wait_for(timeout=SETTLED_MS)


def use_system(page, url: str) -> None:
    """See it refresh itself, open the report, take the support bundle home."""
    page.get_by_role("tab", name="System").click()
    page.locator("svg.plot").first.wait_for(timeout=SETTLED_MS)
    page.evaluate(LOOKED_AT)
    until(page.main_frame, REFRESHED)
    with page.expect_popup() as popup:
        page.get_by_role("link", name=f"Report on {MODEL}").click()
    report = popup.value
    report.get_by_role("heading", name="fp32, unproven").wait_for(timeout=SETTLED_MS)
    assert report.url == f"{url}/api/system/reports/{MODEL}"
    with page.expect_download() as download:
        page.get_by_role("link", name="Support bundle").click()
    assert download.value.url == f"{url}/api/system/support-bundle"
    with zipfile.ZipFile(download.value.path()) as archive:
        assert "station.json" in archive.namelist()


def test_a_person_does_everything_behind_a_proxy(station):
    """Sign-in, live pictures, every tab, its events, report, bundle, sign-out: all in one place."""
    places, _, walked = station
    here = places[walked]
    with browsing(here.url, home=here.home) as seen:
        seen.sign_in(here.url)
        seen.page.wait_for_url(f"{here.url}/ui/")
        (cookie,) = seen.page.context.cookies()
        walk(seen, here.url)
    # With HTTPS the cookie never travels without, and no page of another host can set it.
    assert cookie["name"].startswith("__Host-") == here.is_secure
    assert cookie["secure"] == here.is_secure
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert (cookie["path"], cookie["domain"]) == ("/", "127.0.0.1")


def test_it_takes_no_setting_but_the_path_and_no_word_of_the_proxy(tmp_path):
    """Nobody says that browsers come by HTTPS, and still nothing is asked for by HTTP."""
    environ = station_environ(
        tmp_path,
        APPLIANCE_CAMERAS__GATE__URL=str(write_clip(tmp_path / "clip.avi")),
        APPLIANCE_WEB__BASE_PATH="/cam",
    )
    (tmp_path / "nginx").mkdir()
    with (
        started(environ, tmp_path / "log") as process,
        PROXIES["nginx"](tmp_path / "nginx", port_of(environ), tls=True, forwarding=False) as proxy,
    ):
        process.wait_until_ready()
        process.wait_until_page()
        here = behind(process, proxy, tmp_path / "home")
        with browsing(here.url, home=here.home) as seen:
            seen.sign_in(here.url)
            walk(seen, here.url)


@pytest.mark.parametrize("name", ["X-Remote-User", "Remote-User"])
def test_a_caller_who_says_who_they_are_is_nobody(tmp_path, name):
    """By no spelling of the header, behind either proxy; the station itself would believe it."""
    environ = station_environ(
        tmp_path,
        APPLIANCE_WEB__TRUSTED_PROXIES="127.0.0.1",
        APPLIANCE_AUTH__PROXY_HEADER=name,
        APPLIANCE_AUTH__PROXY_ROLE_HEADER="X-Remote-Role",
    )
    with ExitStack() as running:
        process = running.enter_context(started(environ, tmp_path / "log"))
        process.wait_until(lambda: process.get("/api/health").status_code == 200)
        said = {name: "eve", "X-Remote-Role": "admin"}
        assert "set-cookie" in process.get("/login", **said).headers
        for kind, start in PROXIES.items():
            (tmp_path / kind).mkdir()
            proxy = running.enter_context(
                start(tmp_path / kind, port_of(environ), tls=False, user_header=name)
            )
            for spelling in (name, name.lower(), name.upper()):
                said = {spelling: "eve", "X-Remote-Role": "admin"}
                answer = httpx.get(f"{proxy.origin}/login", headers=said)
                assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)
    assert process.log.read_text().count("audit: sign_in ") == 1


def test_every_answer_keeps_the_headers_of_the_station(here):
    """The policy passes, the proxy says no version, and browsers learn to stay with HTTPS."""
    with here.client() as client:
        answer = client.get(f"{here.url}/login")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert ("strict-transport-security" in answer.headers) == here.is_secure
    assert answer.headers.get("server", "nginx") == "nginx"


def test_addresses_that_the_page_is_told_are_the_browsers(here):
    """Pictures and files come from where the page comes from, not from where the proxy asks."""
    with here.client() as client:
        form = {"user": "ada", "password": PASSWORD}
        answer = client.post(f"{here.url}/login", data=form, headers={"Origin": here.proxy.origin})
        assert answer.headers["location"] == f"{here.url.removeprefix(here.proxy.origin)}/ui/"
        assert client.get(f"{here.url}/ui/config").json()["root"] == f"{here.url}/ui"


def test_http_leads_to_https_and_every_name_has_a_certificate(here):
    """By name and by address, from the first letter on that somebody types."""
    if not here.is_secure:
        assert httpx.get(f"{here.url}/login").status_code == 200
        return
    path = here.url.removeprefix(here.proxy.origin)
    answer = httpx.get(f"{here.proxy.plain}{path}/login?from=here")
    assert answer.status_code == 308
    assert answer.headers["location"] == f"https://127.0.0.1{path}/login?from=here"
    with here.client() as client:
        for host in ("127.0.0.1", "localhost"):
            url = here.url.replace("127.0.0.1", host)
            assert client.get(f"{url}/login").status_code == 200


def test_what_a_stranger_downloads_makes_the_page_trusted(here, tmp_path):
    """The certificate comes over a line that is not trusted yet, and is the one that it takes."""
    if not here.is_secure:
        assert httpx.get(f"{here.url}/ca.crt").status_code == 404
        return
    shutil.copy(here.proxy.authority, here.station.environ["APPLIANCE_WEB__CA_FILE"])
    with httpx.Client(verify=False) as client:  # noqa: S501 - as somebody who clicks it away
        answer = client.get(f"{here.url}/ca.crt")
    assert answer.status_code == 200
    downloaded = tmp_path / "ca.crt"
    downloaded.write_bytes(answer.content)
    context = ssl.create_default_context(cafile=downloaded)
    assert httpx.get(f"{here.url}/login", verify=context).status_code == 200


def test_the_log_names_who_signs_in_and_not_who_they_say_they_are(here):
    """Behind a trusted proxy the address is the browser's own, whatever it writes into headers."""
    with here.client("127.0.0.2") as client:
        answer = client.post(
            f"{here.url}/login",
            data={"user": "vera", "password": PASSWORD},
            headers={"Origin": here.proxy.origin, "X-Forwarded-For": "203.0.113.9"},
        )
    assert answer.status_code == 303
    (line, *_) = [
        line
        for line in reversed(here.station.log.read_text().splitlines())
        if "audit: sign_in " in line
    ]
    assert "127.0.0.2" in line
    assert "203.0.113.9" not in here.station.log.read_text()


def test_programs_watch_behind_a_proxy(here):
    """A stream is not held back, a snapshot comes, and who goes frees the station of the stream."""
    with here.client(headers={"Authorization": f"Bearer {PICTURES}"}) as machine:
        parts = read_parts(machine, f"{here.url}/api/cameras/gate/stream", 8)
        assert max(part.age_s for part in parts) < HELD_BACK_S
        assert {part.pixels.shape for part in parts} == {(240, 320, 3)}
        snapshot = machine.get(f"{here.url}/api/cameras/gate/snapshot")
        assert snapshot.headers["content-type"] == "image/jpeg"
        assert machine.get(f"{here.url}/player", follow_redirects=False).status_code == 401
    viewers = re.compile(r"^appliance_viewers 0\.0$", re.MULTILINE)
    here.station.wait_until(lambda: viewers.search(metrics_of(here.station)), 10)


def metrics_of(station):
    return station.get("/metrics", Authorization=f"Bearer {TOKEN}").text


def test_nginx_slows_down_who_signs_in_again_and_again(station):
    """Before the station sees it; who only looks is not slowed down, and nobody else is."""
    here = station[0]["nginx"]
    with here.client("127.0.0.3") as client, here.client() as other:
        # Without an Origin, so that the station checks no password.
        codes = [client.post(f"{here.url}/login").status_code for _ in range(40)]
        assert codes[:10] == [403] * 10
        assert set(codes[10:]) == {403, 429}
        assert client.get(f"{here.url}/login").status_code == 200
        assert other.post(f"{here.url}/login").status_code == 403


def test_the_process_has_called_nobody(station):
    """From its start on, and whatever people did: every connection was one to its own port."""
    places, calls, _ = station
    assert calls.looks > 10
    assert calls.made == set()
    assert all(here.station.child.poll() is None for here in places.values())


def test_proxies_let_through_what_the_station_takes():
    """The station's own limits are the ones that are met, with their own answers."""
    largest = max(rule.body_limit for rule in every_rule())
    (nginx_mb,) = re.findall(r"client_max_body_size (\d+)m;", NGINX_CONF.read_text())
    (caddy_mb,) = re.findall(r"max_size (\d+)MB", CADDYFILE.read_text())
    assert int(nginx_mb) * 10**6 > largest
    assert int(caddy_mb) * 10**6 > largest


def test_the_document_says_how_large_bodies_may_be():
    """For a proxy of another make: the setting, its default and its largest value."""
    megabytes = Inspect.model_fields["picture_mb"]
    told = f"`APPLIANCE_INSPECT__PICTURE_MB`, which\n  is {megabytes.default} MB by default and "
    assert f"{told}{MOST_PICTURE_MB} MB at most" in OPERATE.read_text()


def test_caddy_serves_a_certificate_of_ones_own(tmp_path):
    """Two variables, and nothing is made or asked for."""
    certificates = make_certificates(tmp_path)
    with PROXIES["caddy"](tmp_path, free_port(), tls=True, certificates=certificates) as proxy:
        port = int(proxy.origin.rpartition(":")[2])
        served = ssl.get_server_certificate(("127.0.0.1", port))
    assert served.split() == certificates.certificate.read_text().split()
    assert not list(tmp_path.glob("data/caddy/certificates/**/*.crt"))


def test_the_page_opens_while_the_engine_is_built(tmp_path):
    """The proxy waits for nothing: it says that nobody answers yet, then shows the page."""
    environ = station_environ(
        tmp_path,
        built=False,
        APPLIANCE_CAMERAS__GATE__URL=str(write_clip(tmp_path / "clip.avi")),
        APPLIANCE_WEB__HTTPS="on",
    )
    frames = tmp_path / "state" / "models" / MODEL / "verify"
    frames.mkdir()
    for index in range(300):  # large ones: to compare them takes much longer than to sign in
        cv2.imwrite(str(frames / f"{index}.jpg"), paint([], (1280, 720)))
    (tmp_path / "caddy").mkdir()
    with PROXIES["caddy"](tmp_path / "caddy", port_of(environ), tls=True) as proxy:
        home = home_that_trusts(proxy.authority, tmp_path / "home")
        with browsing(proxy.origin, home=home) as seen:
            answer = seen.page.goto(f"{proxy.origin}/")
            assert answer.status == 502
            assert answer.headers["retry-after"] == "2"
            seen.page.get_by_text("does not answer yet").wait_for()
            with started(environ, tmp_path / "log") as process:
                seen.page.wait_for_selector("#user", timeout=SETTLED_MS)
                seen.sign_in(proxy.origin)
                seen.page.wait_for_selector("iframe.player-frame", timeout=SETTLED_MS)
                assert process.ready().status_code == 503
                chip = seen.page.locator("[data-chip=engine]", has_text=re.compile(r"\d %"))
                chip.wait_for(timeout=SETTLED_MS)


def sees_all_anew(player, keys):
    """Every camera has been drawn again since now."""
    drawn = player.evaluate("window.appliance.drawn")
    for key in keys:
        until(player, f"window.appliance.drawn.{key} > {drawn.get(key, 0)}")


def click_through(page):
    """Every tab answers: what it shows has come over the connections that are left."""
    page.get_by_role("tab", name="Inspect").click(timeout=SETTLED_MS)
    page.locator("inspect-page input[type=file]").wait_for(state="attached", timeout=SETTLED_MS)
    page.get_by_role("tab", name="People").click(timeout=SETTLED_MS)
    page.get_by_text("signed in").first.wait_for(timeout=SETTLED_MS)
    page.get_by_role("tab", name="System").click(timeout=SETTLED_MS)
    page.locator("svg.plot").first.wait_for(timeout=SETTLED_MS)
    page.evaluate(LOOKED_AT)
    until(page.main_frame, REFRESHED)
    page.get_by_role("tab", name="Live").click(timeout=SETTLED_MS)
    page.locator("iframe.player-frame").wait_for(state="visible", timeout=SETTLED_MS)


def test_eight_cameras_in_two_tabs_stay_clickable(tmp_path):
    """Browsers open six connections for each origin: two pages with all cameras leave room.

    One connection for each tab carries all pictures; tabs, events and files find theirs.
    """
    keys = [f"c{number}" for number in range(8)]
    clip = str(write_clip(tmp_path / "clip.avi"))
    environ = station_environ(
        tmp_path,
        APPLIANCE_LIVE__FPS="5",
        **{f"APPLIANCE_CAMERAS__{key.upper()}__URL": clip for key in keys},
    )
    (tmp_path / "nginx").mkdir()
    with (
        started(environ, tmp_path / "log") as process,
        PROXIES["nginx"](tmp_path / "nginx", port_of(environ), tls=False) as proxy,
        browsing(proxy.origin) as first,
    ):
        process.wait_until_ready()
        process.wait_until_page()
        first.sign_in(proxy.origin)
        first.page.wait_for_url(f"{proxy.origin}/ui/")
        second = Watched(first.page.context.new_page(), proxy.origin)
        second.page.goto(f"{proxy.origin}/ui/")
        for seen in (first, second, first, second):
            seen.page.bring_to_front()  # a tab that is hidden asks for no pictures
            sees_all_anew(seen.player(), keys)
            click_through(seen.page)
            sees_all_anew(seen.player(), keys)
        assert [len(seen.sockets) for seen in (first, second)] == [1, 1]
        assert first.troubles + second.troubles == []
        second.page.get_by_role("button", name="Sign out").click()
        second.page.wait_for_selector("#user")
