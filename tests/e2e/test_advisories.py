"""What has been found wrong with Gradio, tried on the running station, signed in and not."""

import itertools
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from secrets import token_hex

import httpx
import pytest

from tests.support.process import PLAIN, seeing

pytestmark = pytest.mark.slow

API = "/ui/gradio_api"
EVIL = "evil.example"
SECRET = "root:"
SLOW_S = 30


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    with seeing(tmp_path_factory.mktemp("station")) as process:
        yield process


@pytest.fixture(scope="module")
def canary():
    """A server that the station must never call; gives its address and what was asked of it."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_POST = do_HEAD = do_GET  # noqa: N815 - the names that the library calls

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    httpx.get(f"{address}/it-notices")
    assert asked == ["/it-notices"]
    asked.clear()
    yield address, asked
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(params=["nobody", "ada"], scope="module")
def ask(request, station):
    """One request, by a stranger or by an admin from our own page."""
    headers = {} if request.param == "nobody" else {"cookie": station.sign_in(request.param)}
    with httpx.Client(headers=headers, timeout=SLOW_S, **PLAIN) as client:

        def ask(method, path, **options):
            own = {"origin": station.origin, **options.pop("headers", {})}
            url = httpx.URL(station.url).copy_with(raw_path=path.encode())
            return client.request(method, url, headers=own, **options)

        yield ask


def assert_denied(answer):
    """Nobody gets anything: not even an admin, and nobody is led elsewhere."""
    assert answer.status_code in {400, 401, 404}, answer.text
    assert "set-cookie" not in answer.headers
    assert "location" not in answer.headers


FILES = [
    "/etc/passwd",
    "//etc/passwd",
    "../../../../../../etc/passwd",
    "..%2f..%2f..%2f..%2fetc/passwd",
    "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "%2fetc%2fpasswd",
    "C:/../../etc/passwd",
    "..\\..\\..\\etc\\passwd",
    "/proc/self/environ",
    "file:///etc/passwd",
]
DOORS = [
    f"{API}/file=",
    f"{API}/file/",
    "/ui/file=",
    "/ui/file/",
    f"{API}/custom_component/",
    f"{API}/stream/",
]
FOLDERS = ["/ui/static/", "/ui/assets/", "/ui/svelte/", "/static/", "/static/public/"]


@pytest.mark.parametrize("door", DOORS)
def test_no_file_of_the_box_is_read(ask, door):
    """CVE-2023-51449, and every way of that kind: the doors to files are shut."""
    for file in FILES:
        answer = ask("GET", door + file)
        assert_denied(answer)
        assert SECRET not in answer.text


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_of_the_page_are_those_of_its_folders(ask, folder):
    """CVE-2026-28414: an absolute path, or one that climbs, leads nowhere."""
    for file in [*FILES, "/windows/win.ini", "%5cwindows%5cwin.ini"]:
        answer = ask("GET", folder + file)
        assert answer.status_code in {400, 401, 403, 404}
        assert SECRET not in answer.text


def test_no_method_of_a_component_can_be_called(ask):
    """CVE-2024-1561: move_resource_to_block_cache copied any file to where it could be read."""
    for number, name in itertools.product(
        range(0, 40, 3), ["move_resource_to_block_cache", "postprocess"]
    ):
        body = {
            "component_id": number,
            "data": "/etc/passwd",
            "fn_name": name,
            "session_hash": "x",
        }
        for slash in ("", "/"):
            assert_denied(ask("POST", f"{API}/component_server{slash}", json=body))


def file_at(address):
    return {
        "path": address,
        "url": address,
        "orig_name": "x",
        "meta": {"_type": "gradio.FileData"},
    }


def joined(ask, config, payload):
    """Every event of the page, sent with the payload in place of each input; what came back."""
    told = ""
    for event in config["dependencies"]:
        session = token_hex(5)  # a page of the caller's own
        body = {
            "data": [payload] * len(event["inputs"]),
            "fn_index": event["id"],
            "session_hash": session,
            "event_data": payload,
        }
        answer = ask("POST", f"{API}/queue/join", json=body)
        assert answer.status_code < 500
        if answer.status_code == 200:
            told += ask("GET", f"{API}/queue/data?session_hash={session}").text
    return told


def test_no_event_makes_the_station_fetch_or_read(station, canary):
    """CVE-2024-4325, CVE-2024-1561: addresses and paths of files within the data of events."""
    address, asked = canary
    headers = {"cookie": station.sign_in(), "origin": station.origin}
    with httpx.Client(base_url=station.url, headers=headers, timeout=SLOW_S, **PLAIN) as client:
        config = client.get("/ui/config").json()
        assert len(config["dependencies"]) > 2
        for payload in (
            file_at(f"{address}/event"),
            file_at("/etc/passwd"),
            {"value": file_at(f"{address}/event")},
            [file_at(f"{address}/event")],
            f"{address}/event",
        ):
            told = joined(client.request, config, payload)
            assert "process_completed" in told
            assert "root:x:" not in told
    assert asked == []


@pytest.mark.parametrize(
    ("user", "documents"),
    [
        ("vera", set()),
        ("ada", {"overview", "log", "fixed", "people", "events"}),
    ],
)
def test_an_event_that_is_called_by_hand_brings_what_the_persons_tabs_show(
    station, user, documents
):
    """Each event of the page, over the real queue: a hidden tab is closed as well."""
    headers = {"cookie": station.sign_in(user), "origin": station.origin}
    with httpx.Client(base_url=station.url, headers=headers, timeout=SLOW_S, **PLAIN) as client:
        told = joined(client.request, client.get("/ui/config").json(), None)
    assert "process_completed" in told
    assert set(re.findall(r'data-document=\\"(\w+)', told)) == documents


def test_a_stranger_cannot_send_events(station):
    """Neither join the queue nor listen to it."""
    headers = {"origin": station.origin}
    body = {"data": [], "fn_index": 0, "session_hash": "s"}
    join = httpx.post(f"{station.url}{API}/queue/join", json=body, headers=headers)
    data = httpx.get(f"{station.url}{API}/queue/data?session_hash=s", headers=headers)
    assert (join.status_code, data.status_code) == (401, 401)


def test_nothing_is_fetched_for_anybody(ask, canary):
    """CVE-2026-28416, GHSA-2mr9-9r47-px2g: there is no proxy, so it mixes up no cookies either."""
    address, asked = canary
    for target in (address, "http://169.254.169.254/", "https://x.hf.space/"):
        for method in ("GET", "HEAD"):
            answer = ask(method, f"{API}/proxy={target}/x")
            assert answer.status_code in {401, 404}
        assert_denied(ask("GET", f"/ui/proxy={target}/x"))
        assert_denied(ask("GET", f"{API}/file={target}/x"))
    assert asked == []


@pytest.mark.parametrize("path", ["/ui/login/huggingface", "/ui/login/callback", "/ui/logout"])
def test_no_login_but_our_own(ask, path):
    """CVE-2026-27167, CVE-2026-28415: no token of the server in a cookie, and no way elsewhere."""
    for query in ("", f"?_target_url=https://{EVIL}", f"?_target_url=//{EVIL}", "?code=x&state=y"):
        assert_denied(ask("GET", path + query))
    assert_denied(ask("POST", "/ui/login", data={"username": "ada", "password": "x"}))


def test_no_answer_leads_to_where_a_caller_says(ask, station):
    """Neither a query nor a header makes its way into a redirect."""
    told = {
        "x-forwarded-host": EVIL,
        "x-forwarded-prefix": f"//{EVIL}",
        "forwarded": f"host={EVIL}",
    }
    for path in ("/", "/ui/", "/login", "/player"):
        for query in ("", f"?next=//{EVIL}&_target_url=//{EVIL}"):
            answer = ask("GET", path + query, headers={"accept": "text/html", **told})
            assert answer.headers.get("location", "/").startswith("/")
            assert not answer.headers.get("location", "/").startswith("//")
            assert EVIL not in answer.text
    assert ask("GET", "/login", headers={"host": EVIL}).status_code == 421
    assert station.child.poll() is None


@pytest.mark.parametrize("origin", [f"http://{EVIL}", "null", "http://localhost.evil.example"])
def test_another_origin_reads_and_sends_nothing(ask, origin):
    """GHSA-3c67-5hwx-f6wx: with a cookie as without, no answer is for another origin."""
    for method, path in (
        ("GET", "/ui/config"),
        ("OPTIONS", "/ui/config"),
        ("OPTIONS", f"{API}/queue/join"),
        ("POST", f"{API}/queue/join"),
        ("POST", "/logout"),
    ):
        sent = {"origin": origin, "access-control-request-method": "POST"}
        answer = ask(method, path, headers=sent)
        assert [name for name in answer.headers if name.startswith("access-control-")] == []
        assert method == "GET" or answer.status_code in {401, 403, 404}


OPEN_BY_DEFAULT = [
    ("GET", f"{API}/info"),
    ("GET", f"{API}/startup-events"),
    ("GET", f"{API}/app_id"),
    ("GET", f"{API}/user"),
    ("GET", f"{API}/token"),
    ("GET", f"{API}/theme.css"),
    ("GET", f"{API}/openapi.json"),
    ("GET", f"{API}/deep_link?session_hash=x"),
    ("GET", f"{API}/runs"),
    ("GET", f"{API}/stream/x/1/0/playlist.m3u8"),
    ("GET", "/ui/pwa_icon/6000"),
    ("GET", "/ui/monitoring"),
    ("GET", "/ui/monitoring/summary"),
    ("GET", "/ui/openapi.json"),
    ("GET", "/ui/docs"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("POST", f"{API}/cancel"),
    ("POST", f"{API}/reset"),
    ("POST", f"{API}/api/x"),
    ("POST", f"{API}/call/x"),
    ("POST", f"{API}/run/x"),
    ("POST", f"{API}/upload"),
    ("POST", f"{API}/vibe-code"),
    ("POST", f"{API}/process_recording"),
]


@pytest.mark.parametrize(("method", "path"), OPEN_BY_DEFAULT, ids=str)
def test_what_a_default_mount_gives_away_is_shut(ask, method, path):
    """API, tokens, icons that cost seconds, bodies of megabytes: for nobody."""
    body = {"content": b"x" * 2_000_000} if method == "POST" else {}
    assert_denied(ask(method, path, **body))


def test_heartbeats_and_streams_are_for_people_who_are_signed_in(station):
    """They hold a connection each; strangers get none."""
    for path in (f"{API}/heartbeat/x", f"{API}/queue/data?session_hash=x", "/ui/config"):
        assert httpx.get(f"{station.url}{path}", timeout=SLOW_S, **PLAIN).status_code == 401


def test_the_page_describes_itself_to_nobody_else(station):
    """Its document holds the whole configuration, so a stranger sees the sign-in and no more."""
    answer = httpx.get(f"{station.url}/ui/", headers={"accept": "text/html"}, timeout=SLOW_S)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    shown = httpx.get(f"{station.url}/login", timeout=SLOW_S).text
    assert "gradio" not in shown.lower()
    assert json.dumps("dependencies") not in shown
