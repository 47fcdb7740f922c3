"""Streams by the real server: encoded once, shared, and ended with what opened them."""

import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import cv2
import httpx
import numpy as np
import pytest

from appliance.app.servers import configuration
from appliance.pipeline import encoder as encoder_module
from appliance.settings import Role
from appliance.settings.tokens import TokenScope, new_token
from appliance.web.access.tokens import Bearers
from tests.support.fakes import counted_lease, result_of, wait_until
from tests.support.streams import parts_of
from tests.support.web import NOW_S, make_web, serving

TODAY = datetime.fromtimestamp(NOW_S, UTC).date()
TEXT, KEPT = new_token("recorder", [TokenScope.PICTURES], TODAY + timedelta(days=1))
STREAM = "/api/cameras/gate/stream"


class Wall:
    """A wall clock that the test sets."""

    now_s = NOW_S

    def __call__(self):
        return self.now_s


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def web(wall):
    """The application, whose burner runs and gets its pictures from the test."""
    web = make_web(policy={"bearers": Bearers((KEPT,), simple=None, wall_s=wall)}, viewers=4)
    burner = web.parts.streams._encoder
    burner.start()
    yield web
    burner.stop()
    assert burner.join(5)


@pytest.fixture
def url(web):
    """Of the application, served."""
    with serving(web, configuration()) as (host, port):
        yield f"http://{host}:{port}"


def offer(web, level):
    """One picture of a gray level from the camera `gate`; the lease's count."""
    web.clock.advance(1)
    lease, held = counted_lease(np.full((48, 64, 3), level, np.uint8), sequence=level + 1)
    web.parts.streams._encoder.offer(result_of("gate", lease), lease)
    lease.release()
    return held


def levels(parts):
    return [round(float(part.pixels.mean())) for part in parts]


def opened(stack, url, **headers):
    """A stream that is open until the stack ends."""
    machine = stack.enter_context(httpx.Client(headers=headers, timeout=10))
    answer = stack.enter_context(machine.stream("GET", f"{url}{STREAM}"))
    assert answer.status_code == 200
    return parts_of(answer.iter_raw())


def bearing(text=TEXT):
    return {"authorization": f"Bearer {text}"}


def test_a_picture_is_encoded_once_for_all_who_watch(web, url, monkeypatch):
    """And drawn in memory of the encoder's own, which gives the frame back first."""
    encoded = []
    real = cv2.imencode
    monkeypatch.setattr(encoder_module.cv2, "imencode", lambda *of: encoded.append(of) or real(*of))
    with ExitStack() as stack:
        all_parts = [opened(stack, url, **bearing()) for _ in range(3)]
        seen = []
        for level in (10, 60):
            held = offer(web, level)
            seen.append([next(parts) for parts in all_parts])
            assert held() == 0
    assert [levels(parts) for parts in seen] == [[10] * 3, [60] * 3]
    assert len(encoded) == 2


def test_nothing_is_encoded_while_nobody_watches(web, url):
    """The last one who goes puts it to sleep."""
    with ExitStack() as stack:
        opened(stack, url, **bearing())
        assert web.parts.hub.count() == 1
    wait_until(lambda: web.parts.hub.count() == 0)
    assert offer(web, 10)() == 0
    assert web.parts.streams._encoder.pictures() == {}


@pytest.mark.parametrize("way", ["token", "session"])
def test_a_stream_ends_soon_after_what_opened_it(web, wall, url, way):
    """A token by its day, a session by being revoked; in order, and within two seconds."""
    headers = bearing() if way == "token" else {"cookie": web.cookie(Role.VIEWER)}
    with ExitStack() as stack:
        parts = opened(stack, url, **headers)
        offer(web, 10)
        assert levels([next(parts)]) == [10]
        began_s = time.monotonic()
        wall.now_s += timedelta(days=1).total_seconds()
        web.parts.sessions.revoke_user("vera")
        assert list(parts) == []
        assert time.monotonic() - began_s < 2
    wait_until(lambda: web.parts.hub.count() == 0)


def test_the_password_of_a_proxy_says_nothing_beside_a_session(web, url):
    """Browsers send it with everything; the person is the one who has signed in."""
    headers = {"cookie": web.cookie(Role.VIEWER), "authorization": "Basic YW55Om90aGVy"}
    with ExitStack() as stack:
        opened(stack, url, **headers)
