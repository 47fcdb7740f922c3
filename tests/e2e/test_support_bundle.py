"""The support bundle of a real station, whose environment is full of secrets."""

import csv
import io
import json
import zipfile

import pytest

from tests.support.process import (
    MODEL,
    PASSWORD,
    free_port,
    password_hash,
    started,
    station_environ,
    write_clip,
)
from tests.support.secrecy import found_in_zip

pytestmark = pytest.mark.slow

IN_URL = "hunter2/secret+pa ss"
IN_VARIABLE = "öffne&dich=1%41"
IN_QUERY = "queried-token-7281"
IN_FILE = "token-out-of-a-file-9c1e"


@pytest.fixture(scope="module")
def secrets():
    """Every secret that is planted, by what it is."""
    return {
        "password in a URL": IN_URL,
        "password in a variable": IN_VARIABLE,
        "token in a query": IN_QUERY,
        "token in a file": IN_FILE,
        "hash of a password": password_hash(),
        "password of a person": PASSWORD,
    }


@pytest.fixture(scope="module")
def station(tmp_path_factory, secrets):
    """One camera that plays, and three that are not there and say so in the log."""
    folder = tmp_path_factory.mktemp("station")
    token = folder / "token"
    token.write_text(f"{IN_FILE}\n")
    escaped = IN_URL.replace("/", "%2F").replace("+", "%2B").replace(" ", "%20")
    hashed = secrets["hash of a password"]
    environ = station_environ(
        folder,
        APPLIANCE_LOG__LEVEL="debug",
        APPLIANCE_AUTH__USERS=f"ada:admin:{hashed},otto:operator:{hashed},vera:viewer:{hashed}",
        APPLIANCE_AUTH__METRICS_TOKEN="",
        APPLIANCE_AUTH__METRICS_TOKEN_FILE=str(token),
        APPLIANCE_CAMERAS__GATE__URL=str(write_clip(folder / "clip.avi")),
        APPLIANCE_CAMERAS__DOCK__URL=f"rtsp://user:{escaped}@127.0.0.1:{free_port()}/x",
        APPLIANCE_CAMERAS__YARD__URL=f"rtsp://127.0.0.1:{free_port()}/x",
        APPLIANCE_CAMERAS__YARD__USERNAME="user",
        APPLIANCE_CAMERAS__YARD__PASSWORD=IN_VARIABLE,
        APPLIANCE_CAMERAS__HALL__URL=f"http://127.0.0.1:{free_port()}/x?token={IN_QUERY}",
    )
    with started(environ, folder / "log") as process:
        process.wait_until(
            lambda: process.get("/api/ready", Authorization=f"Bearer {IN_FILE}").status_code == 200
        )
        process.wait_until(
            lambda: all(f"camera={key}" in process.log.read_text() for key in ("dock", "yard"))
        )
        yield process


@pytest.fixture(scope="module")
def bundle(station):
    """A bundle from the moment on that the last hour has begun."""
    cookie = station.sign_in()

    def download():
        answer = station.get("/api/system/support-bundle", Cookie=cookie)
        assert answer.status_code == 200, answer.text
        rates = [float(row["fps"] or 0) for row in hour(answer.content) if row["camera"] == "gate"]
        return answer.content if any(rates) else None

    return station.wait_until(download)


def hour(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return list(csv.DictReader(io.StringIO(archive.read("history.csv").decode())))


def test_the_bundle_tells_how_the_station_is(bundle):
    """Reading, settings, last hour, log and the proof of the engine that runs."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        members = {name: archive.read(name).decode() for name in archive.namelist()}
    station = json.loads(members["station.json"])
    assert {camera["key"] for camera in station["cameras"]} == {"gate", "dock", "yard", "hall"}
    settings = {row["variable"]: row for row in json.loads(members["settings.json"])}
    assert settings["APPLIANCE_AUTH__METRICS_TOKEN"]["origin"].startswith("file ")
    assert settings["APPLIANCE_CAMERAS__YARD__PASSWORD"]["value_text"] == "••••"
    assert json.loads(members["hardware.json"])["cores"] >= 1
    away = [row for row in hour(bundle) if row["camera"] == "dock"]
    assert len(away) > 300
    assert not any(row["fps"] or row["age_ms"] for row in away)
    assert "camera=dock" in members["log.txt"]
    (proof,) = [text for name, text in members.items() if name.startswith(f"engines/{MODEL}/")]
    assert json.loads(proof)["verification"]["verdict"] in {"proven", "unproven"}


def test_no_planted_secret_is_in_the_bundle(bundle, secrets, station):
    """Searched in every member: as it is, as in URLs, and as base64."""
    assert found_in_zip(bundle, list(secrets.values())) == []
    planted = "\n".join(station.environ.values())
    for secret in (secrets["hash of a password"], IN_VARIABLE, IN_QUERY):
        assert secret in planted  # the search looks for what is really there


def test_only_admins_get_it(station):
    """A viewer and an operator are refused, a stranger must sign in."""
    for user in ("otto", "vera"):
        cookie = station.sign_in(user)
        assert station.get("/api/system/support-bundle", Cookie=cookie).status_code == 403
    assert station.get("/api/system/support-bundle").status_code == 401
    to_login = station.get("/api/system/support-bundle", Accept="text/html")
    assert to_login.status_code == 303


def test_the_download_is_in_the_log_by_name(station):
    """Who took the station's insides home is written down."""
    station.get("/api/system/support-bundle", Cookie=station.sign_in())
    assert "audit: export user=ada address=127.0.0.1" in station.log.read_text()
