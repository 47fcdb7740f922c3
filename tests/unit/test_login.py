"""The way in: the right password opens it, and a wrong one learns nothing."""

import pytest

from appliance.errors import ApplianceError
from appliance.settings import Role
from appliance.web import login
from tests.support.web import PASSWORDS, make_web


def sign_in(web, user, password, **options):
    return web.post("/login", data={"user": user, "password": password}, **options)


def test_the_right_password_opens_a_session_with_the_persons_role():
    """303 to the page, and a cookie that scripts and other sites cannot use."""
    web = make_web()
    answer = sign_in(web, "otto", PASSWORDS["otto"])
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/")
    cookie, *attributes = answer.headers["set-cookie"].lower().split("; ")
    assert cookie.startswith(f"{web.parts.policy.cookie}=")
    assert {"httponly", "samesite=strict", "path=/"} <= set(attributes)
    token = answer.headers["set-cookie"].partition(";")[0].partition("=")[2]
    assert web.parts.sessions.find(token).role is Role.OPERATOR


def test_behind_tls_the_cookie_is_bound_to_this_host_and_travels_encrypted():
    """The name alone makes browsers insist on it."""
    web = make_web(policy={"https": True})
    cookie = sign_in(web, "ada", PASSWORDS["ada"]).headers["set-cookie"]
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


def test_a_password_that_cannot_be_checked_is_no_wrong_one(monkeypatch):
    """A box without memory says so in a sentence, and lets nobody in."""

    def fail(*_):
        raise ApplianceError("the password could not be checked", hint="give the box more memory")

    monkeypatch.setattr(login, "verify_password", fail)
    answer = sign_in(make_web(), "ada", PASSWORDS["ada"])
    assert answer.status_code == 503
    assert "the password could not be checked. give the box more memory" in answer.text
    assert "set-cookie" not in answer.headers


def test_two_stations_on_one_host_keep_their_own_sessions():
    """Browsers part cookies by host alone, so the name tells ports and base paths apart."""
    places = [{"port": 8080}, {"port": 8081}, {"base_path": "/cam"}, {"port": 8081, "https": True}]
    names = [make_web(policy=place).parts.policy.cookie for place in places]
    assert len(set(names)) == len(places)
    assert make_web(policy=places[0]).parts.policy.cookie == names[0]  # after a restart as well


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
    assert f'{web.parts.policy.cookie}=""' in answer.headers["set-cookie"]
    assert web.ask("GET", "/player", headers={"cookie": cookie}).status_code == 401


def test_without_users_the_form_says_which_variable_to_set():
    """Nobody is let in by default, and the reason is on the page."""
    assert "APPLIANCE_AUTH__USERS" in make_web(people=()).ask("GET", "/login").text


def test_what_was_typed_comes_back_as_text():
    """A hostile user name is shown in the form again, and nothing of it runs."""
    answer = sign_in(make_web(), '"><script>alert(1)</script>', "wrong")
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert" in answer.text
