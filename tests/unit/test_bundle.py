"""The support bundle: everything that helps, in one file of a bounded size, without secrets."""

import base64
import csv
import io
import json
import zipfile
from collections import Counter
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest

from appliance.logs import LogLine
from appliance.pipeline.history import STEPS, History
from appliance.readings import PictureReading
from appliance.redaction import Redactor
from appliance.settings import Role
from appliance.values import Drop, Skip
from appliance.web.tabs.system.bundle import CUT, LONGEST_MEMBER, SupportBundle
from appliance.web.templates import Pages
from tests.support.fakes import Clock
from tests.support.secrecy import found_in_zip, spellings
from tests.support.web import CAMERA, READING, make_web, tab_context

SECRET = 'pa/ss "wörd"+1'


def make(*, redactor=None, sidecars=None, name="Hall 3", **changes):
    pages = Pages(base="", station_name=name, version="0.0")
    context = replace(tab_context(pages), **changes)
    return SupportBundle(
        context,
        station_name=name,
        sidecars=lambda: sidecars or {},
        redactor=redactor or Redactor(),
    ).make()


def members(bundle):
    with zipfile.ZipFile(io.BytesIO(bundle.content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def lines(count, text):
    ring = tab_context(Pages(base="", station_name="", version="")).ring
    for index in range(count):
        ring.add(LogLine(float(index), "error", text, {"camera": "gate"}, "Traceback\n  File"))
    return ring


def test_a_bundle_holds_what_a_helper_asks_for():
    """Reading, settings, versions and packages, machine, last hour, log, proofs."""
    clock = Clock()
    history = History(["gate"], clock)
    history.add("gate", 25.0, 38.0, None)
    bundle = make(
        history=history.hour,
        ring=lines(3, "it broke"),
        sidecars={"m/1a2b": '{"verdict": "proven"}'},
    )
    found = members(bundle)
    about = json.loads(found["about.json"])
    assert about["versions"] == {"Vision Appliance": "0.0"}
    assert about["packages"]["numpy"] == version("numpy")
    station = json.loads(found["station.json"])
    assert station["health"] == "ready"
    assert station["cameras"][0]["key"] == "gate"
    assert json.loads(found["settings.json"])[0]["origin"] == "environment"
    assert json.loads(found["hardware.json"])["cores"] == 4
    rows = list(csv.DictReader(io.StringIO(found["history.csv"])))
    assert len(rows) == STEPS
    assert (rows[-1]["fps"], rows[-1]["age_ms"], rows[-1]["inference_ms"]) == (
        "25.000",
        "38.000",
        "",
    )
    assert rows[0]["time"] < rows[-1]["time"] == "1970-01-01T00:33:20+00:00"
    assert found["log.txt"].count("it broke") == 3
    assert "Traceback" in found["log.txt"]
    assert json.loads(found["engines/m/1a2b.json"]) == {"verdict": "proven"}


def test_a_bundle_is_made_whatever_stands_in_a_reading():
    """Pictures that were skipped, numbers of libraries: all is told."""
    pictures = {"gate": PictureReading(3, Counter({Skip.VIEWER: 2}))}
    camera = replace(CAMERA, age_ms=np.float32(1.5), drops={Drop.NEWER: 4})
    reading = replace(READING, cameras=(camera,), pictures=pictures)
    found = members(make(reading=lambda: reading))
    station = json.loads(found["station.json"])
    assert station["pictures"] == {"gate": {"sent": 3, "skips": {"viewer": 2}}}
    assert station["cameras"][0]["drops"] == {"newer": 4}
    assert float(station["cameras"][0]["age_ms"]) == 1.5


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("Hall 3, gate north", "support-hall-3-gate-north-19700101T003320Z.zip"),
        ("", "support-19700101T003320Z.zip"),
        ('../"; x=\r\nÄ', "support-x-19700101T003320Z.zip"),
        (f"Hall {SECRET}", "support-hall-19700101T003320Z.zip"),
    ],
)
def test_the_file_is_named_after_the_station_and_the_time(name, file):
    """A person's text becomes letters and dashes, and no secret in it passes."""
    assert make(name=name, redactor=Redactor([SECRET])).name == file


def test_no_member_tells_a_secret():
    """Wherever a secret has got into, in whatever spelling, it is taken out."""
    camera = replace(CAMERA, sentence=f"cannot open rtsp://u:{SECRET}@door/1", next_step=SECRET)
    rows = [replace(row, value_text=SECRET) for row in make_web().parts.tabs.settings]
    bundle = make(
        redactor=Redactor([SECRET]),
        reading=lambda: replace(READING, cameras=(camera,), reasons=(SECRET,)),
        settings=rows,
        versions=lambda: {SECRET: SECRET},
        ring=lines(2, f"refused: {SECRET}"),
        sidecars={"m/1": json.dumps({"note": SECRET})},
    )
    assert found_in_zip(bundle.content, [SECRET]) == []
    for name in ("station.json", "settings.json", "about.json", "log.txt", "engines/m/1.json"):
        assert "•••" in members(bundle)[name]


def test_the_search_would_find_a_secret():
    """What the test above looks for is found where nobody takes it out, packed or not."""
    leaked = f"token {base64.b64encode(f'user:{SECRET}'.encode()).decode()}"
    for text in (SECRET, *spellings(SECRET), leaked):
        assert found_in_zip(make(ring=lines(1, text)).content, [SECRET]), text


def test_a_bundle_stays_small_whatever_is_logged():
    """A member keeps its end, where the newest lines are, and never half a secret."""
    text = f"{'x' * 4000} {SECRET}"
    bundle = make(ring=lines(500, text), redactor=Redactor([SECRET]))
    log = members(bundle)["log.txt"]
    assert log.startswith(CUT)
    assert len(log) == LONGEST_MEMBER + len(CUT)
    assert log.rstrip().endswith("File")
    assert found_in_zip(bundle.content, [SECRET]) == []


def test_an_admin_downloads_it():
    """As a file to keep, which no cache keeps."""
    answer = make_web().ask("GET", "/api/system/support-bundle", role=Role.ADMIN)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"].startswith('attachment; filename="support-hall-3-')
    assert answer.headers["cache-control"] == "no-store"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert "engines/m/1.json" in archive.namelist()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_others_are_refused(role):
    """Whoever sees the page does not take the station's insides home."""
    assert make_web().ask("GET", "/api/system/support-bundle", role=role).status_code == 403


def test_a_stranger_is_sent_to_sign_in():
    """A browser goes to the form, anything else learns that it must sign in."""
    web = make_web()
    assert web.ask("GET", "/api/system/support-bundle").status_code == 401
    browser = web.ask("GET", "/api/system/support-bundle", headers={"accept": "text/html"})
    assert (browser.status_code, browser.headers["location"]) == (303, "/login")
