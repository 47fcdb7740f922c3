"""The way in: the right password opens it, and a wrong one learns nothing."""

import asyncio
import os
import threading
from functools import partial

import httpx
import pytest
from pydantic import SecretStr

from appliance.errors import ApplianceError
from appliance.settings import Role, User
from appliance.web.access import login
from appliance.web.access.callers import Callers
from appliance.web.access.throttle import FREE
from tests.support.web import ORIGIN, PASSWORDS, make_web


def sign_in(web, user, password, **options):
    return web.post("/login", data={"user": user, "password": password}, **options)


def from_address(address):
    """Headers of a request that the trusted proxy hands on for this address."""
    return {"x-forwarded-for": address}


@pytest.fixture
def behind_proxy():
    """The page behind a proxy whose word about addresses is taken."""
    return make_web(policy={"callers": Callers(["127.0.0.1"])})


def test_the_right_password_opens_a_session_with_the_persons_role():
    """303 to the page, and a cookie that scripts and other sites cannot use."""
    web = make_web()
    answer = sign_in(web, "otto", PASSWORDS["otto"])
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/")
    cookie, *attributes = answer.headers["set-cookie"].lower().split("; ")
    assert cookie.startswith(f"{web.cookie_name()}=")
    assert {"httponly", "samesite=strict", "path=/"} <= set(attributes)
    token = answer.headers["set-cookie"].partition(";")[0].partition("=")[2]
    assert web.parts.sessions.find(token).role is Role.OPERATOR


def test_behind_tls_the_cookie_is_bound_to_this_host_and_travels_encrypted():
    """The name alone makes browsers insist on it."""
    web = make_web(policy={"https": True})
    own_page = {"origin": ORIGIN.replace("http:", "https:")}
    cookie = sign_in(web, "ada", PASSWORDS["ada"], headers=own_page).headers["set-cookie"]
    assert cookie.startswith("__Host-appliance-")
    assert "; Secure" in cookie


@pytest.mark.parametrize(("user", "password"), [("ada", "wrong"), ("nobody", "wrong"), ("", "")])
def test_a_wrong_user_and_a_wrong_password_look_the_same(monkeypatch, user, password):
    """Same status, same sentence, and the same work: one hash is checked in any case."""
    checked = []
    real = login.verify_password
    monkeypatch.setattr(
        login, "verify_password", lambda *given: checked.append(given) or real(*given)
    )
    answer = sign_in(make_web(), user, password)
    assert answer.status_code == 403
    assert "User or password is wrong." in answer.text
    assert "set-cookie" not in answer.headers
    assert len(checked) == 1


def test_a_name_that_nobody_has_costs_what_some_users_does(monkeypatch):
    """Hashes of two costs: each name has always the same one, and both are to be met with."""
    costs = {"ada": "m=64~t=1~p=1", "vera": "m=32~t=2~p=1"}
    people = [
        User(
            name=name,
            role=Role.VIEWER,
            hash=SecretStr(f"argon2id.v=19.{cost}.{'A' * 22}.{'A' * 43}"),
        )
        for name, cost in costs.items()
    ]
    checked = []
    monkeypatch.setattr(login, "verify_password", lambda text, _: checked.append(text))
    web = make_web(people=tuple(people), policy={"callers": Callers(["127.0.0.1"])})
    for n in range(2):
        for name in range(16):
            sign_in(web, f"nobody{name}", "wrong", headers=from_address(f"10.0.{n}.{name}"))
    found = [text.split(".")[2] for text in checked]
    assert len(found) == 32
    assert found[:16] == found[16:]
    assert set(found) == set(costs.values())


def test_a_password_that_cannot_be_checked_is_no_wrong_one(monkeypatch):
    """A box without memory says so in a sentence, and lets nobody in."""

    def fail(*_):
        raise ApplianceError("the password could not be checked", hint="give the box more memory")

    monkeypatch.setattr(login, "verify_password", fail)
    answer = sign_in(make_web(), "ada", PASSWORDS["ada"])
    assert answer.status_code == 503
    assert "the password could not be checked. give the box more memory" in answer.text
    assert "set-cookie" not in answer.headers


PLACES = [
    {"host": "hall.example:8080"},
    {"host": "hall.example:8081"},
    {"host": "hall.example"},
    {"host": "hall.example", "base_path": "/cam"},
    {"host": "hall.example", "https": True},
]


def test_two_stations_on_one_host_keep_their_own_sessions():
    """Browsers separate cookies by host alone, so the name follows what the browser calls.

    Not what the station listens on: containers all have the same port inside.
    """
    jar = {}
    for place in PLACES:
        policy = {name: place[name] for name in place if name != "host"} | {
            "hosts": ["hall.example"]
        }
        web, base = make_web(policy=policy), place.get("base_path", "")
        scheme = "https" if place.get("https") else "http"
        called = {"host": place["host"], "origin": f"{scheme}://{place['host']}"}
        data = {"user": "ada", "password": PASSWORDS["ada"]}
        answer = web.ask("POST", f"{base}/login", data=data, headers=called)
        name, _, token = answer.headers["set-cookie"].partition(";")[0].partition("=")
        assert name not in jar
        jar[name] = token
        cookies = "; ".join(f"{key}={value}" for key, value in jar.items())
        seen = web.ask("GET", f"{base}/player", headers={**called, "cookie": cookies})
        assert seen.status_code == 200
    assert len(jar) == len(PLACES)


def test_signing_in_again_ends_the_session_before():
    """A token is never carried over a sign-in, so none can be planted."""
    web = make_web()
    before = web.cookie(Role.VIEWER)
    answer = sign_in(web, "ada", PASSWORDS["ada"], headers={"cookie": before})
    assert answer.status_code == 303
    assert web.ask("GET", "/player", headers={"cookie": before}).status_code == 401


def test_signing_out_ends_the_session_and_takes_the_cookie_back():
    """303 to the form; the old cookie opens nothing."""
    web = make_web()
    cookie = web.cookie(Role.VIEWER)
    answer = web.post("/logout", headers={"cookie": cookie})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert f'{web.cookie_name()}=""' in answer.headers["set-cookie"]
    assert web.ask("GET", "/player", headers={"cookie": cookie}).status_code == 401


def test_without_users_the_form_says_which_variable_to_set():
    """Nobody is let in by default, and the reason is on the page."""
    assert "APPLIANCE_AUTH__USERS" in make_web(people=()).ask("GET", "/login").text


def test_what_was_typed_comes_back_as_text():
    """A hostile user name is shown in the form again, and nothing of it runs."""
    answer = sign_in(make_web(), '"><script>alert(1)</script>', "wrong")
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert" in answer.text


def test_wrong_passwords_are_slowed_and_the_page_says_until_when():
    """429 with Retry-After, before the password is looked at; the right one enters after that."""
    web = make_web()
    statuses = [sign_in(web, "ada", "wrong").status_code for _ in range(FREE)]
    assert statuses == [403] * FREE
    answer = sign_in(web, "ada", PASSWORDS["ada"])
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "1"
    assert "Too many wrong passwords." in answer.text
    assert "Next try in 1 s." in answer.text
    assert "keep nobody waiting where they have signed in before." in answer.text
    web.clock.advance(1)
    assert sign_in(web, "ada", PASSWORDS["ada"]).status_code == 303


def test_the_wrong_password_that_uses_up_the_free_tries_is_told_at_once():
    """The form that comes back counts down already, and keeps the name."""
    web = make_web()
    answers = [sign_in(web, "ada", "wrong") for _ in range(FREE)]
    assert ["data-wait-s" in answer.text for answer in answers] == [False] * (FREE - 1) + [True]
    assert 'value="ada"' in answers[-1].text


def test_an_unknown_user_is_slowed_like_a_known_one():
    """Neither status nor wait tells who exists."""
    told = []
    for user in ("ada", "nobody"):
        web = make_web()
        answers = [sign_in(web, user, "wrong") for _ in range(FREE + 3)]
        told.append([(each.status_code, each.headers.get("retry-after")) for each in answers])
    assert told[0] == told[1]


def test_others_guesses_do_not_slow_an_address_that_has_signed_in(behind_proxy):
    """The person at work signs in again at once, while a crowd guesses at them."""
    own = from_address("192.0.2.1")
    assert sign_in(behind_proxy, "ada", PASSWORDS["ada"], headers=own).status_code == 303
    for n in range(20):
        sign_in(behind_proxy, "ada", "wrong", headers=from_address(f"10.0.0.{n}"))
    stranger = from_address("192.0.2.9")
    assert sign_in(behind_proxy, "ada", PASSWORDS["ada"], headers=stranger).status_code == 429
    assert sign_in(behind_proxy, "ada", PASSWORDS["ada"], headers=own).status_code == 303


def test_an_admin_gets_in_after_the_wait_that_the_page_showed(behind_proxy):
    """Although the crowd has gone on guessing all the time."""

    def crowd():
        for n in range(12):
            sign_in(behind_proxy, "ada", "wrong", headers=from_address(f"10.0.0.{n}"))

    crowd()
    own = from_address("192.0.2.1")
    answer = sign_in(behind_proxy, "ada", PASSWORDS["ada"], headers=own)
    assert answer.status_code == 429
    for _ in range(int(answer.headers["retry-after"])):
        behind_proxy.clock.advance(1)
        crowd()
    assert sign_in(behind_proxy, "ada", PASSWORDS["ada"], headers=own).status_code == 303


def test_who_comes_when_all_is_taken_is_told_so_and_costs_nothing(monkeypatch):
    """Two checks run, a few wait, the rest hear 503 with Retry-After; memory is bounded by it."""
    web = make_web(policy={"callers": Callers(["127.0.0.1"])})
    release, running, most = threading.Event(), [], []

    def slow(*_):
        running.append(1)
        most.append(len(running))
        release.wait(20)
        running.pop()
        return False

    monkeypatch.setattr(login, "verify_password", slow)

    async def rush():
        transport = httpx.ASGITransport(web.app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:

            def one(n):
                headers = {"origin": ORIGIN, **from_address(f"10.0.0.{n}")}
                data = {"user": f"user{n}", "password": "x"}
                return asyncio.create_task(client.post("/login", data=data, headers=headers))

            asked = [one(n) for n in range(60)]
            room = login.CHECKS_AT_A_TIME + login.CHECKS_WAITING
            answered = asyncio.as_completed(asked)
            early = [await next(answered) for _ in range(60 - room)]
            release.set()
            return early, await asyncio.gather(*asked)

    early, answers = asyncio.run(rush())
    assert {answer.status_code for answer in early} == {503}
    assert {answer.headers["retry-after"] for answer in early} == {"5"}
    assert "Try again in a few seconds." in early[0].text
    assert sorted({answer.status_code for answer in answers}) == [403, 503]
    assert max(most) == login.CHECKS_AT_A_TIME


def trying(client, user, address):
    """A sign-in with some password, begun and not waited for."""
    headers = {"origin": ORIGIN, **from_address(address)}
    data = {"user": user, "password": "x"}
    return asyncio.create_task(client.post("/login", data=data, headers=headers))


@pytest.mark.parametrize("flooding", ["one address", "one user"])
def test_who_signs_in_without_pause_keeps_nobody_waiting(behind_proxy, monkeypatch, flooding):
    """One address, and one user, have a share of the checks; the next one is checked at once."""
    release = threading.Event()
    monkeypatch.setattr(login, "verify_password", lambda *_: release.wait(20))

    async def rush():
        transport = httpx.ASGITransport(behind_proxy.app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            one = partial(trying, client)
            crowd = [
                one(f"user{n % 4}", "10.0.0.1")
                if flooding == "one address"
                else one("vera", f"10.0.0.{n % 4}")
                for n in range(login.CHECKS_OF_ONE)
            ]
            await asyncio.sleep(0)
            refused = await one("vera", "10.0.0.1")
            other = one("ada", "192.0.2.1")
            await asyncio.sleep(0.01)
            release.set()
            await asyncio.gather(*crowd)
            return refused, await other

    refused, other = asyncio.run(rush())
    assert (refused.status_code, other.status_code) == (503, 303)


@pytest.mark.parametrize(
    "guessed", [lambda _: "ada", lambda n: f"user{n}"], ids=["at them", "at anybody"]
)
def test_a_crowd_takes_no_place_where_somebody_signed_in_before(behind_proxy, monkeypatch, guessed):
    """As many guesses are checked as may be; the admin at their own address is checked at once."""
    own = from_address("192.0.2.1")
    assert sign_in(behind_proxy, "ada", PASSWORDS["ada"], headers=own).status_code == 303
    release = threading.Event()
    monkeypatch.setattr(login, "verify_password", lambda *_: release.wait(20))

    async def rush():
        transport = httpx.ASGITransport(behind_proxy.app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            one = partial(trying, client)
            crowd = [one(guessed(n), f"10.0.0.{n}") for n in range(40)]
            stranger, admin = one("ada", "192.0.2.9"), one("ada", "192.0.2.1")
            answered = await stranger
            release.set()
            await asyncio.gather(*crowd)
            return answered, await admin

    stranger, admin = asyncio.run(rush())
    assert stranger.status_code in {429, 503}
    assert admin.status_code == 303


def test_one_check_in_a_few_seconds_is_prompt_and_a_flood_has_a_low_priority(monkeypatch):
    """Whoever tries; lower than that of the thread which answers requests, and of inference."""
    seen = []
    monkeypatch.setattr(
        login, "verify_password", lambda *_: seen.append(os.getpriority(os.PRIO_PROCESS, 0))
    )
    web = make_web()
    here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    low = min(19, here + login.NICE)
    for user in ("ada", "nobody", "ada"):
        sign_in(web, user, "wrong")
    assert seen == [here, low, low]
    web.clock.advance(login.PROMPT_EVERY_S)
    sign_in(web, "nobody", "wrong")
    assert seen == [here, low, low, here]


def test_who_comes_and_goes_is_audited(behind_proxy):
    """Sign-in, refusal and sign-out, each with the real address; never what was typed."""
    headers = from_address("192.0.2.1")
    sign_in(behind_proxy, "ada", "wrong", headers=headers)
    sign_in(behind_proxy, "hunter2", "wrong", headers=headers)
    answer = sign_in(behind_proxy, "ada", PASSWORDS["ada"], headers=headers)
    cookie = answer.headers["set-cookie"].partition(";")[0]
    behind_proxy.post("/logout", headers={"cookie": cookie, **headers})
    assert behind_proxy.audit.notes == [
        ("sign_in_refused", "ada", "192.0.2.1", ""),
        ("sign_in_refused", "", "192.0.2.1", "unknown user"),
        ("sign_in", "ada", "192.0.2.1", ""),
        ("sign_out", "ada", "192.0.2.1", ""),
    ]


def test_a_session_knows_where_it_was_opened(behind_proxy):
    """Address and browser, for the list of sessions."""
    headers = {"user-agent": "Browser 7", **from_address("192.0.2.1")}
    sign_in(behind_proxy, "ada", PASSWORDS["ada"], headers=headers)
    (session,) = behind_proxy.parts.sessions.list()
    assert (session.address, session.agent) == ("192.0.2.1", "Browser 7")
