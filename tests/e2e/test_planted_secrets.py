"""A marker in every secret variable that there is, looked for wherever a station says something."""

import io
import threading
import zipfile
from contextlib import contextmanager

import httpx
import psutil
import pytest
from websockets.sync.client import connect

from appliance.settings.variables import station_variables
from appliance.web.tab import every_rule
from tests.support.cameras import MjpegServer
from tests.support.people import encoded, upright
from tests.support.planted import USER, planted, seen_in
from tests.support.process import (
    MODEL,
    PLAIN,
    free_port,
    run,
    started,
    station_environ,
    write_clip,
)

pytestmark = pytest.mark.slow

SECRETS = planted("gate", "dock")
TEXTS = {each.name: each.text for each in SECRETS}
BEARER = {"Authorization": f"Bearer {TEXTS['APPLIANCE_AUTH__METRICS_TOKEN']}"}
NAME_HEADER = "X-Remote-User"
# One for each route that can be asked for by GET; the first one signs in whom the proxy names.
PATHS = (
    *("/login", "/", "/player", "/ca.crt", "/api/health"),
    *("/static/public/theme.js", "/static/player/stage.js"),
    *("/ui/", "/ui/de", "/ui/config", "/ui/theme.css"),
    *(f"/api/system/reports/{MODEL}", "/api/system/support-bundle"),
    *("/api/cameras/gate/snapshot", "/api/inspect/cameras/gate"),
)
OF_MACHINES = ("/metrics", "/api/ready")
OF_GRADIO_ALONE = ("/ui/assets/x", "/ui/gradio_api/heartbeat/x", "/ui/gradio_api/queue/data")


class CommandLines:
    """Those of all processes below one, as often as they can be looked at."""

    def __init__(self, pid):
        self.seen = set()
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self):
        while not self._over.wait(0.02):
            try:
                for each in (self._process, *self._process.children(recursive=True)):
                    self.seen.add(" ".join(each.cmdline()))
            except psutil.NoSuchProcess:
                continue  # it ended just now

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


@pytest.fixture(scope="module")
def camera():
    """One that refuses every password."""
    with MjpegServer() as server:
        server.scheme = "Basic"
        yield server


@pytest.fixture(scope="module")
def environ(tmp_path_factory, camera):
    """Every secret is set; a proxy signs people in, since nobody knows a password."""
    folder = tmp_path_factory.mktemp("station")
    return station_environ(
        folder,
        built=False,
        APPLIANCE_LOG__LEVEL="debug",
        APPLIANCE_CAMERAS__GATE__URL=str(write_clip(folder / "clip.avi")),
        APPLIANCE_CAMERAS__DOCK__URL=camera.url,
        APPLIANCE_CAMERAS__DOCK__USERNAME="viewer",
        APPLIANCE_KIOSK__PORT=str(free_port()),
        APPLIANCE_WEB__TRUSTED_PROXIES="127.0.0.1",
        APPLIANCE_AUTH__PROXY_HEADER=NAME_HEADER,
        **TEXTS,
    )


@contextmanager
def running(environ, log):
    """The station, and the command lines of all that it runs."""
    with started(environ, log) as station, CommandLines(station.child.pid) as lines:
        yield station, lines


@pytest.fixture(scope="module")
def heard(environ, tmp_path_factory):
    """All that a station says in a run with everything in it, by where it said it."""
    said = {"check": run(environ, "check").stdout}
    log = tmp_path_factory.mktemp("log") / "log"
    with running(environ, log) as (station, lines):
        station.wait_until(lambda: station.get("/api/ready", **BEARER).status_code == 200)
        station.wait_until_page()
        station.wait_until(lambda: "camera=dock" in log.read_text())
        for words in (("health",), ("models", "list"), ("engines", "list")):
            said[" ".join(words)] = run(environ, *words).stdout
        headers = {NAME_HEADER: USER, "Origin": station.origin}
        with httpx.Client(base_url=station.url, headers=headers, timeout=60, **PLAIN) as client:
            for path in PATHS:
                said[path] = text_of(client.get(path))
            said["page's events"] = events(client)
            asked = client.post(
                f"/api/inspect?model={MODEL}&confidence=0.5", content=encoded(upright(), "PNG")
            )
            assert asked.status_code == 200, asked.text
            said["inspect"] = asked.text
            said["live"] = live(station, client.cookies)
        for path in OF_MACHINES:
            said[path] = text_of(station.get(path, **BEARER))
        said["kiosk"] = kiosk(environ)
        station.stop()
        said["command lines"] = "\n".join(lines.seen)
    said["log"] = log.read_text()
    return said


def text_of(answer):
    """An answer's head and body; of a zip, its members."""
    assert answer.status_code in {200, 303, 404}, (answer.url, answer.status_code)
    body = answer.content
    if body.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            body = b"\n".join(archive.read(name) for name in archive.namelist())
    return f"{answer.headers}\n{body.decode('latin-1')}"


def events(client):
    """What Gradio's page gets for its tabs: System and People."""
    told = ""
    for event in client.get("/ui/config").json()["dependencies"]:
        body = {
            "data": [""] * len(event["inputs"]),
            "fn_index": event["id"],
            "session_hash": f"s{event['id']}",
        }
        client.post("/ui/gradio_api/queue/join", json=body)
        address = f"/ui/gradio_api/queue/data?session_hash=s{event['id']}"
        told += client.get(address).text
    return told


def live(station, cookies):
    """The first messages of a live view, a picture among them."""
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    headers = {"Origin": station.origin, NAME_HEADER: USER, "Cookie": cookie}
    address = station.url.replace("http", "ws", 1) + "/live"
    with connect(address, additional_headers=headers) as socket:
        socket.send('{"watch": ["gate"]}')
        said = ""
        while isinstance(message := socket.recv(timeout=30), str):
            said += message
    return said + message.decode("latin-1")


def kiosk(environ):
    """The kiosk's page, entered with the key."""
    place = f"http://127.0.0.1:{environ['APPLIANCE_KIOSK__PORT']}"
    with httpx.Client(base_url=place, follow_redirects=True, timeout=30, **PLAIN) as client:
        entered = client.post("/enter", data={"key": TEXTS["APPLIANCE_KIOSK__KEY"]})
        assert entered.status_code == 200, entered.text
        return text_of(entered)


def test_every_secret_is_planted(environ):
    """By the settings' own fields: a new one is among them without a line here."""
    names = {each.name for each in station_variables() if each.is_secret}
    assert names < {each.name for each in SECRETS}
    assert all(seen_in(environ[each.name], SECRETS) == [each.name] for each in SECRETS)


def test_every_route_is_looked_at():
    """A new one has to be asked as well."""
    asked = [rule for rule in every_rule() if "GET" in rule.methods]
    paths = (*PATHS, *OF_MACHINES, *OF_GRADIO_ALONE)
    unasked = [
        rule.pattern.pattern for rule in asked if not any(map(rule.pattern.fullmatch, paths))
    ]
    assert unasked == []


def test_the_station_did_and_said_what_might_have_told_a_secret(heard):
    """It built an engine, read a picture, was refused by a camera, and showed its settings."""
    assert "appliance build" in heard["command lines"].replace("-m appliance", "appliance")
    assert "appliance.pictures.worker" in heard["command lines"]
    assert "refuses the user name or password" in heard["log"]
    for place in ("check", "page's events", "/api/system/support-bundle"):
        missing = [name for name in TEXTS if name not in heard[place]]
        assert missing == [], place
    assert "appliance_ready 1.0" in heard["/metrics"]
    assert '"camera"' in heard["live"]


def test_no_secret_is_in_anything_that_the_station_says(heard):
    """Log, pages, answers, bundle, metrics, commands' output, command lines of its processes."""
    assert {
        place: found for place, text in heard.items() if (found := seen_in(text, SECRETS))
    } == {}


def test_no_secret_is_told_where_the_settings_are_wrong(environ, tmp_path):
    """Neither by a command nor on the page that stands in for the station, nor in its log."""
    wrong = {**environ, "APPLIANCE_LOG__LEVEL": "loud", "APPLIANCE_WEB__PORT": str(free_port())}
    for each in SECRETS:
        wrong[f"{each.name}_FILE"] = each.text  # both at once is wrong, too
    checked = run(wrong, "check")
    assert checked.returncode == 78
    with started(wrong, tmp_path / "log") as station:
        page = station.wait_until(lambda: station.get("/", Accept="text/html").text)
        station.stop()
    said = {"check": checked.stdout + checked.stderr, "page": page}
    said["log"] = (tmp_path / "log").read_text()
    for place, text in said.items():
        assert "APPLIANCE_LOG__LEVEL" in text, place
        assert seen_in(text, SECRETS) == [], place
