"""Which requests have a rule: the list is short, and no spelling gets around it."""

import pytest

from appliance.settings import Role
from appliance.settings.tokens import TokenScope
from appliance.web.access import routes
from appliance.web.access.routes import Audience
from appliance.web.tab import every_rule

RULES = every_rule()


def find(path, method):
    return routes.find(path, method, RULES)


def test_strangers_may_sign_in_and_load_that_page_and_nothing_else():
    """Four patterns answer without a session, one of them whatever else is said; no more."""
    open_to = {each: set() for each in Audience}
    for rule in RULES:
        if isinstance(rule.audience, Audience):
            open_to[rule.audience].add(rule.pattern.pattern)
    assert open_to[Audience.STRANGER] == {"/login", "/static/public/[a-z0-9._-]+", r"/ca\.crt"}
    assert open_to[Audience.ANYBODY] == {"/api/health"}


def test_machines_read_two_pages_and_see_pictures():
    """A token opens readiness, metrics, and what cameras see, and no page."""
    machines = {
        rule.pattern.pattern: rule.audience
        for rule in RULES
        if isinstance(rule.audience, TokenScope)
    }
    assert machines == {"/api/ready": TokenScope.READY, "/metrics": TokenScope.METRICS}
    shared = {rule.pattern.pattern: rule.opened_by for rule in RULES if rule.opened_by}
    assert shared == {"/api/cameras/[a-z0-9_]+/(stream|snapshot)": TokenScope.PICTURES}


@pytest.mark.parametrize(
    "path",
    [
        "/ui/gradio_api/info",
        "/ui/gradio_api/api/predict",
        "/ui/gradio_api/call/predict",
        "/ui/gradio_api/run/predict",
        "/ui/gradio_api/upload",
        "/ui/gradio_api/file=/etc/passwd",
        "/ui/gradio_api/proxy=http://example.org",
        "/ui/gradio_api/token",
        "/ui/gradio_api/startup-events",
        "/ui/gradio_api/app_id",
        "/ui/login",
        "/ui/logout",
        "/ui/openapi.json",
        "/ui/monitoring",
        "/ui/pwa_icon/6000",
        "/ui/manifest.json",
        "/docs",
        "/openapi.json",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_the_page_does_not_need_has_no_rule(path, method):
    """Gradio's API, files, proxy and tokens answer nobody, signed in or not."""
    assert find(path, method) is None


@pytest.mark.parametrize(
    "path",
    [
        "",
        "login",
        "/login/",
        "/login.",
        "/login;x",
        "/login\n",
        "/LOGIN",
        "//login",
        "/./login",
        "/static/public",
        "/static/public/",
        "/static/public/../player.js",
        "/static/public/..",
        "/static/public//player.js",
        "/static/public/%2e%2e/player.js",
        "/static/public/x/y.js",
        "/static/public/a\\..\\player.js",
        "/static/public/a;b",
        "/api/health/",
        "/api/health/../ready",
        "/ui/../metrics",
        "/ui",
        "/ui/assets/../config",
        "/live/",
    ],
)
def test_another_spelling_of_an_open_path_has_no_rule_for_strangers(path):
    """Dots, slashes, semicolons and letters of another case do not pass as something else."""
    for method in ("GET", "HEAD", "POST", "WEBSOCKET"):
        rule = find(path, method)
        assert rule is None or not isinstance(rule.audience, Audience)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get"])
def test_unusual_methods_have_no_rule(method):
    """Only the methods that the page uses are let through."""
    assert {find(path, method) for path in ("/", "/login", "/api/health", "/ui/", "/live")} == {
        None
    }


def test_public_files_are_not_the_rest_of_the_files():
    """The folder for strangers and the one for people who are signed in stay apart."""
    assert find("/static/public/tokens.css", "GET").audience is Audience.STRANGER
    assert find("/static/player/connection.js", "GET").audience is Role.VIEWER


def test_only_what_a_person_does_keeps_a_session_alive():
    """Gradio's heartbeat and timers run by themselves, so they are no sign of a person."""
    assert find("/ui/", "GET").by_hand
    assert find("/player", "GET").by_hand
    assert not find("/api/cameras/gate/stream", "GET").by_hand
    assert not find("/ui/gradio_api/queue/join", "POST").by_hand
    assert not find("/ui/gradio_api/queue/data", "GET").by_hand
    assert not find("/ui/gradio_api/heartbeat/abc", "GET").by_hand


def test_bodies_are_small():
    """No request but a picture needs more than a form or an event; reading needs no body at all."""
    assert find("/login", "POST").body_limit == 4096
    large = [rule for rule in RULES if rule.body_limit > 1 << 18]
    assert large == [find("/api/inspect", "POST")]
    assert large[0].body_limit == 60_000_000
    assert {rule.body_limit for rule in RULES if "GET" in rule.methods} == {0}
