"""In which language a visitor is answered, by the real application."""

import json
import re
from dataclasses import replace

import pytest

from appliance.settings import Role
from appliance.values import CameraState
from tests.support.web import CAMERA, READING, TOKEN, make_web, whole_web

AWAY = replace(CAMERA, state=CameraState.OFFLINE, sentence="No answer from 192.0.2.10:554")
GERMAN = {"accept-language": "de-DE,de;q=0.9"}


@pytest.fixture
def web():
    return make_web(reading=replace(READING, cameras=(AWAY,)))


@pytest.fixture(scope="module")
def whole():
    """With Gradio's page."""
    return whole_web()


@pytest.mark.parametrize(
    ("headers", "language"),
    [
        ({}, "en"),
        (GERMAN, "de"),
        ({**GERMAN, "cookie": "appliance-language=en"}, "en"),
        ({"cookie": "a=b; appliance-language=de"}, "de"),
        ({**GERMAN, "cookie": "appliance-language=<b>"}, "de"),
        ({**GERMAN, "cookie": "appliance-language=en; appliance-language=xx"}, "de"),
    ],
)
def test_strangers_sign_in_in_their_language(web, headers, language):
    """The whole document is in one language, and says so."""
    text = web.ask("GET", "/login", headers=headers).text
    assert f'<html lang="{language}">' in text
    assert f"<h1>{'Anmelden' if language == 'de' else 'Sign in'}</h1>" in text
    assert f'<option value="{language}" lang="{language}" selected>' in text


def test_what_is_wrong_with_a_password_is_said_in_the_same_language(web):
    """In the form that comes back."""
    answer = web.post("/login", headers=GERMAN, data={"user": "ada", "password": "wrong"})
    assert "Benutzer oder Passwort ist falsch." in answer.text


def test_the_gate_refuses_in_the_callers_language(web):
    """Its own answers, and errors of our routes with their hints."""
    german = {**GERMAN, "cookie": web.cookie(Role.VIEWER)}
    assert web.ask("GET", "/nowhere", headers=german).text == "Hier gibt es nichts."
    refused = web.post("/api/override", headers=german, content=b"{}")
    assert refused.text == "Ihre Rolle erlaubt das nicht."
    german["cookie"] = web.cookie(Role.OPERATOR)
    asked = web.post("/api/inspect?model=x&confidence=0.5", headers=german, content=b"")
    assert asked.json() == {
        "error": "Dieses Modell ist nicht in Gebrauch.",
        "hint": "In Gebrauch: bright-spots.",
    }


def test_machines_are_answered_in_english_whatever_they_ask_for(web):
    """What they read is not for people."""
    headers = {**GERMAN, "authorization": f"Bearer {TOKEN}"}
    reading = replace(READING, reasons=("Gate is offline",))
    ready = make_web(reading=reading).ask("GET", "/api/ready", headers=headers).json()
    assert ready["reasons"] == ["Gate is offline"]
    assert "HELP" in web.ask("GET", "/metrics", headers=headers).text


def test_the_live_view_gives_a_cameras_reason_in_the_viewers_language(web):
    """Sentences are said; names and states, which scripts go by, stay."""
    headers = {**GERMAN, "cookie": web.cookie(Role.VIEWER)}
    headers |= {"host": "127.0.0.1:8080", "origin": "http://127.0.0.1:8080"}
    *_, message = web.connect("/live", headers)
    (camera,) = json.loads(message["text"])["cameras"]
    assert camera["sentence"] == "Keine Antwort von 192.0.2.10:554"
    assert (camera["state"], camera["name"]) == ("offline", "Gate")


def test_the_page_that_is_not_made_yet_says_so_in_german(web):
    """Before Gradio is there."""
    headers = {**GERMAN, "cookie": web.cookie(Role.VIEWER)}
    answer = web.ask("GET", "/ui/", headers=headers)
    assert answer.status_code == 503
    assert "Die Seite wird vorbereitet" in answer.text


@pytest.mark.parametrize(
    ("path", "language", "leads"),
    [("/ui/", "de", "/ui/de"), ("/ui/de", "en", "/ui/"), ("/ui/", "en", ""), ("/ui/de", "de", "")],
)
def test_an_address_leads_to_the_page_in_the_visitors_language(whole, path, language, leads):
    """Whoever handed it on: each reads their own."""
    cookie = f"{whole.cookie(Role.VIEWER)}; appliance-language={language}"
    answer = whole.ask("GET", path, headers={"cookie": cookie})
    assert answer.headers.get("location", "") == leads
    if not leads:
        assert answer.status_code == 200
        assert f'lang="{language}"' in answer.text[:200]
        said = json.loads(re.search(r'id="texts">(.*?)</script>', answer.text)[1])
        assert said.get("Offline", "Offline") == "Offline"
        assert ("Stalled" in said) == (language == "de")


def test_no_page_is_there_in_a_language_that_is_none(whole):
    """The gate lets nobody through to what is no page."""
    headers = {"cookie": whole.cookie(Role.ADMIN)}
    for path in ("/ui/xx", "/ui/en", "/ui/de/", "/ui/DE"):
        assert whole.ask("GET", path, headers=headers).status_code == 404
