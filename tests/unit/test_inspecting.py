"""The routes of Inspect and of overrides: who may call them, and what they answer."""

import asyncio
import base64
import json
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from types import MethodType

import cv2
import httpx
import numpy as np
import pytest

from appliance.pipeline.criteria import Criteria
from appliance.settings import Role
from appliance.web.tabs.inspect import routes as inspecting_module
from tests.support.fakes import counted_lease, result_of, wait_until
from tests.support.people import blank_png, encoded, upright
from tests.support.routes import every_handler
from tests.support.web import ORIGIN, make_web
from tests.unit.test_inspector import done, seen

ASK = "/api/inspect?model=bright-spots&confidence=0.5"
PICTURE = encoded(upright(), "PNG")


@contextmanager
def looking(inspect=lambda *_: done(seen((1, 2, 33.3, 44, 0.87654), (0, 0, 9, 9, 0.1))), **options):
    """The web application with an inspector at work."""
    web = make_web(looking=inspect, **options)
    inspector = web.parts.tabs.inspector
    inspector.start()
    try:
        yield web
    finally:
        inspector.stop()
        assert inspector.join(10)


def inspecting_of(web):
    """What the routes of the tab ask."""
    return next(
        handler.__wrapped__.__self__
        for handler in every_handler(web)
        if isinstance(getattr(handler, "__wrapped__", None), MethodType)
        and isinstance(handler.__wrapped__.__self__, inspecting_module.Inspecting)
    )


def test_a_picture_in_and_json_out():
    """What was seen, by which engine, how fast; and the picture with its boxes."""
    with looking() as web:
        answer = web.post(ASK, role=Role.OPERATOR, content=PICTURE)
    assert answer.status_code == 200
    found = answer.json()
    jpeg = base64.b64decode(found.pop("picture").removeprefix("data:image/jpeg;base64,"))
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (64, 96, 3)
    assert found.pop("total_ms") > 0
    assert found == {
        "model": "bright-spots",
        "engine": "Fake engine fp32",
        "input_wh": [32, 32],
        "picture_wh": [96, 64],
        "task": "detection",
        "form": 1,
        "confidence": 0.5,
        "detections": [
            {
                "class": "thing",
                "class_id": 0,
                "score": 0.8765,
                "box_xyxy_px": [1.0, 2.0, 33.3, 44.0],
            }
        ],
        "below_confidence": 1,
        "inference_ms": 5.0,
        "waited_ms": 1.0,
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", ASK),
        ("GET", "/api/inspect/cameras/gate"),
        ("POST", "/api/override"),
        ("DELETE", "/api/override"),
    ],
)
def test_operators_and_admins_only(method, path):
    """A viewer is refused by role, a stranger is sent away, and so is another site's page."""
    with looking() as web:
        assert web.ask(method, path, headers={"origin": ORIGIN}).status_code == 401
        viewer = web.ask(method, path, role=Role.VIEWER, headers={"origin": ORIGIN})
        assert viewer.status_code == 403
        if method != "GET":
            foreign = {"origin": "http://elsewhere.example"}
            assert web.ask(method, path, role=Role.ADMIN, headers=foreign).status_code == 403
        assert web.audit.notes == []


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("model=other&confidence=0.5", "no such model"),
        ("confidence=0.5", "no such model"),
        ("model=bright-spots", "confidence"),
        ("model=bright-spots&confidence=nan", "confidence"),
        ("model=bright-spots&confidence=1.1", "confidence"),
        ("model=bright-spots&confidence=high", "confidence"),
    ],
)
def test_a_question_without_sense_is_answered_in_words(query, told):
    """Before any of the picture is read."""
    with looking() as web:
        answer = web.post(f"/api/inspect?{query}", role=Role.OPERATOR, content=PICTURE)
    assert answer.status_code == 400
    assert told in answer.json()["error"].lower()
    assert answer.json()["hint"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "The file is empty."),
        (b"no picture", "This is no picture that can be read."),
        (encoded(upright(), "JPEG")[:-2], "The picture is incomplete or damaged."),
        (blank_png(12_000), "The picture has 12000 × 12000 pixels"),
        (blank_png(30_000), "The picture is far too large"),
    ],
)
def test_a_picture_that_cannot_be_inspected_is_answered_in_words(data, told):
    """With what to do about it (O-02, O-03)."""
    with looking() as web:
        answer = web.post(ASK, role=Role.OPERATOR, content=data)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(told)
    assert answer.json()["hint"]


def test_a_file_that_is_too_large_is_refused_by_what_it_says_and_by_what_it_is():
    """Told so before it is sent, or as soon as the limit is passed where nothing was told."""
    large = bytes(10_000_001)

    async def unannounced():
        for _ in range(11):
            yield bytes(1_000_000)

    with looking() as web:
        for content in (large, unannounced()):
            answer = web.post(ASK, role=Role.OPERATOR, content=content)
            assert answer.status_code == 413
            assert answer.json()["error"] == "The file is larger than 10 MB."
            assert "APPLIANCE_INSPECT__PICTURE_MB" in answer.json()["hint"]


def test_an_engine_that_is_not_there_yet_says_so():
    """A person hears why and when, and waits for nothing."""
    web = make_web()
    inspector = web.parts.tabs.inspector
    inspector.start()
    answer = web.post(ASK, role=Role.OPERATOR, content=PICTURE)
    inspector.stop()
    assert inspector.join(10)
    assert answer.status_code == 503
    assert answer.json() == {
        "error": "No engine runs bright-spots yet.",
        "hint": "Try again then.",
    }


def test_too_many_at_once_are_told_to_come_again(monkeypatch):
    """Pictures in memory are counted from their first byte on."""
    monkeypatch.setattr(inspecting_module, "ONE_LIMIT", 0)
    with looking() as web:
        answer = web.post(ASK, role=Role.OPERATOR, content=PICTURE)
        assert answer.status_code == 503
        monkeypatch.setattr(inspecting_module, "ONE_LIMIT", 1)
        for _ in range(3):  # each gives its place back
            assert web.post(ASK, role=Role.OPERATOR, content=PICTURE).status_code == 200


def test_one_person_takes_no_other_persons_place():
    """What one sends, however much, counts as theirs."""
    with looking() as web:
        under_way = inspecting_of(web)._under_way
        under_way["somebody else"] = inspecting_module.ONE_LIMIT
        assert web.post(ASK, role=Role.OPERATOR, content=PICTURE).status_code == 200
        under_way["a third one"] = inspecting_module.ALL_LIMIT - inspecting_module.ONE_LIMIT
        assert web.post(ASK, role=Role.OPERATOR, content=PICTURE).status_code == 503


def test_who_goes_away_takes_the_question_along():
    """The page was closed: the engine is not asked any more, and the place is free."""
    never, was_asked = Future(), threading.Event()

    def look(*_):
        was_asked.set()
        return never

    with looking(look) as web:

        async def leave():
            sent = [
                {"type": "http.request", "body": PICTURE},
                {"type": "http.disconnect"},
            ]

            async def receive():
                if len(sent) == 1:
                    await asyncio.to_thread(was_asked.wait, 30)
                return sent.pop(0)

            async def send(message):
                answers.append(message)

            scope = {
                "type": "http",
                "method": "POST",
                "path": "/api/inspect",
                "query_string": b"model=bright-spots&confidence=0.5",
                "headers": [
                    (b"host", b"127.0.0.1:8080"),
                    (b"origin", ORIGIN.encode()),
                    (b"cookie", web.cookie(Role.OPERATOR).encode()),
                ],
                "client": ("127.0.0.1", 5),
                "server": ("127.0.0.1", 8080),
                "scheme": "http",
                "root_path": "",
            }
            await web.app(scope, receive, send)

        answers = []
        asyncio.run(leave())
        assert answers[0]["status"] == inspecting_module.GONE
        wait_until(never.cancelled)
        assert not inspecting_of(web)._under_way


def test_a_cameras_next_picture_comes_as_a_jpeg():
    """What the camera sends from now on, not what it sent before somebody asked."""
    with looking() as web:
        snapshots = web.parts.tabs.snapshots
        lease, _ = counted_lease(np.full((48, 64, 3), (10, 100, 200), np.uint8))

        async def ask():
            transport = httpx.ASGITransport(web.app)
            headers = {"cookie": web.cookie(Role.OPERATOR)}
            async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
                asked = asyncio.create_task(
                    client.get("/api/inspect/cameras/gate", headers=headers)
                )
                await asyncio.to_thread(wait_until, lambda: snapshots._waiting["gate"])
                snapshots.offer(result_of("gate", lease), lease)
                return await asked

        answer = asyncio.run(ask())
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_allclose(picture[20, 20], (10, 100, 200), atol=3)


def test_a_camera_that_sends_nothing_is_told(monkeypatch):
    """Nobody waits for ever, and Live knows more."""
    monkeypatch.setattr(inspecting_module, "CAMERA_S", 0.02)
    with looking() as web:
        answer = web.ask("GET", "/api/inspect/cameras/gate", role=Role.OPERATOR)
        assert answer.status_code == 504
        assert answer.json()["error"] == "The camera sends no picture now."
        other = web.ask("GET", "/api/inspect/cameras/cellar", role=Role.OPERATOR)
        assert other.json()["error"] == "There is no such camera."


def test_an_override_acts_is_audited_and_ends():
    """Rules reach the loop, the record says who, from where and what, and so does the end."""
    judged = []
    with looking(judge_by=judged.append) as web:
        body = {"confidence": 0.45, "classes": "person=0.5, car"}
        answer = web.post("/api/override", role=Role.OPERATOR, json=body)
        lines = ["APPLIANCE_CAMERAS__GATE__CONFIDENCE=0.45"]
        lines.append("APPLIANCE_CAMERAS__GATE__CLASSES=person=0.5, car")
        assert (answer.status_code, answer.json()) == (200, {"lines": lines})
        overrides = web.parts.overriding._overrides
        assert overrides.reading().user == "otto"
        assert judged[-1] == Criteria(0.45, {"person": 0.5, "car": None})

        headers = {"origin": ORIGIN}
        ended = web.ask("DELETE", "/api/override", role=Role.ADMIN, headers=headers)
        again = web.ask("DELETE", "/api/override", role=Role.ADMIN, headers=headers)
        assert (ended.status_code, again.status_code) == (200, 200)
        assert judged[-1] is None
        assert overrides.reading() is None
    assert [(what, user, detail) for what, user, _, detail in web.audit.notes] == [
        ("override_set", "otto", "; ".join(lines)),
        ("override_cleared", "ada", ""),
    ]
    assert {address for _, _, address, _ in web.audit.notes} == {"127.0.0.1"}


def test_an_override_that_is_set_back_by_hand_is_audited_as_ended():
    """What the settings say again is no override, and whoever reads the record knows since when."""
    with looking() as web:
        for confidence in (0.45, 0.3, 0.3):
            body = {"confidence": confidence, "classes": ""}
            assert web.post("/api/override", role=Role.OPERATOR, json=body).status_code == 200
    assert [what for what, *_ in web.audit.notes] == ["override_set", "override_cleared"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "the request"),
        (b"[1]", "the request"),
        (b'{"confidence": "high"}', "confidence"),
        (b'{"confidence": 1.5}', "confidence"),
        (b'{"confidence": NaN}', "confidence"),
        (b'{"classes": "car"}', "confidence"),
        (b'{"confidence": 0.5, "classes": "car=2"}', "classes"),
        (b'{"confidence": 0.5, "classes": "car, car"}', "classes"),
        (b'{"confidence": 0.5, "colour": "red"}', "colour"),
        (json.dumps({"confidence": 0.5, "classes": "x" * 5000}).encode(), "classes"),
    ],
)
def test_an_override_without_sense_is_answered_in_words(body, told):
    """Nothing acts, nothing is recorded."""
    with looking() as web:
        answer = web.post("/api/override", role=Role.OPERATOR, content=body)
        assert answer.status_code == 400
        assert answer.json()["error"].lower().startswith(told)
        assert answer.json()["hint"]
        assert web.parts.overriding._overrides.reading() is None
        assert web.audit.notes == []
