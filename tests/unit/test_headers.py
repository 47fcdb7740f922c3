"""What every answer tells the browser: nothing foreign, nothing framed, nothing kept."""

import re

import pytest

from appliance.settings import Role
from appliance.web.access.headers import Answered, secured
from appliance.web.files import made_files
from tests.support.web import ORIGIN, TOKEN, make_web, whole_web

BEARER = {"authorization": f"Bearer {TOKEN}"}
ANSWERS = {
    "the sign-in": ("GET", "/login", None, {}),
    "a public file": ("GET", "/static/public/tokens.css", None, {}),
    "a file that is not there": ("GET", "/static/public/none.css", None, {}),
    "the player": ("GET", "/player", Role.VIEWER, {}),
    "metrics": ("GET", "/metrics", None, BEARER),
    "a redirect": ("GET", "/ui/", None, {"accept": "text/html"}),
    "no session": ("GET", "/player", None, {}),
    "no rule": ("GET", "/nowhere", Role.ADMIN, {}),
    "another host": ("GET", "/login", None, {"host": "evil.example"}),
    "another origin": ("POST", "/login", None, {"origin": "http://evil.example"}),
    "a wrong password": ("POST", "/login", None, {"origin": ORIGIN}),
    "a method that is not allowed": ("OPTIONS", "/login", None, {"origin": "http://evil.example"}),
}


@pytest.fixture(scope="module")
def web():
    return make_web()


@pytest.fixture(scope="module")
def whole():
    return whole_web()


@pytest.fixture(params=ANSWERS)
def answer(request, web):
    method, path, role, headers = ANSWERS[request.param]
    return web.ask(method, path, role=role, headers=headers)


def test_every_answer_carries_the_policy(answer):
    """Pages, files, redirects and refusals alike."""
    headers = answer.headers
    assert headers["content-security-policy"].startswith("default-src 'none'; ")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert len(headers.get_list("content-security-policy")) == 1


def test_no_answer_lets_another_origin_read_it(answer):
    """There is no CORS header, whoever asks."""
    assert [name for name in answer.headers if name.startswith("access-control-")] == []


FOR_GOOD = "private, max-age=31536000, immutable"


def test_pages_are_not_kept_and_plain_files_are_asked_for_again(web):
    """After signing out, the back button shows nothing; files are checked for a newer version."""
    assert web.ask("GET", "/player", role=Role.VIEWER).headers["cache-control"] == "no-store"
    file = web.ask("GET", "/static/player.js", role=Role.VIEWER)
    assert file.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize("name", made_files())
def test_a_file_named_after_its_content_is_kept_for_good(web, name):
    """It is never asked for again: changed content has another name. It comes packed, too."""
    file = made_files()[name]
    role = None if name.startswith("public/") else Role.VIEWER
    for encoding, is_packed in (("gzip, br", True), ("br", False), ("gzip;q=0", False)):
        asked = {"accept-encoding": encoding}
        answer = web.ask("GET", f"/static/{file.place}", role=role, headers=asked)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == FOR_GOOD
        assert answer.headers["vary"] == "Accept-Encoding"
        assert ("content-encoding" in answer.headers) == is_packed
        assert answer.content == file.content


def test_a_name_that_no_file_has_is_not_kept(web):
    """As one of another version: for a year it would stay away."""
    answer = web.ask("GET", "/static/player-0123456789ab.js", role=Role.VIEWER)
    assert answer.status_code == 404
    assert answer.headers["cache-control"] == "no-store"
    refused = web.ask("GET", f"/static/{made_files()['player.js'].place}")
    assert refused.status_code == 401
    assert refused.headers["cache-control"] == "no-store"


def test_gradios_files_are_kept_for_good_where_their_names_say_what_is_in_them(whole):
    """Those that its builder named after their content, and the theme that is asked for by it."""
    page = whole.ask("GET", "/ui/", role=Role.VIEWER).text
    (script,) = re.findall(r'src="\./(assets/index-[^"]+)"', page)
    (theme,) = re.findall(r'"theme_hash":"(\w+)"', page)
    for path, keeping in (
        (script, FOR_GOOD),
        (f"theme.css?v={theme}", FOR_GOOD),
        ("theme.css", "no-store"),
        ("static/js/iframeResizer.contentWindow.min.js", "private, no-cache"),
        ("assets/index-DphvyggX.js", "no-store"),
    ):
        answer = whole.ask("GET", f"/ui/{path}", role=Role.VIEWER)
        assert answer.headers["cache-control"] == keeping, path
        assert (answer.status_code == 200) == (path != "assets/index-DphvyggX.js")


def test_a_file_that_the_browser_has_is_not_sent_again(whole):
    """Gradio's plain files, too, which itself answers with the whole of them."""
    for path in ("/ui/static/js/iframeResizer.contentWindow.min.js", "/static/public/icon.svg"):
        first = whole.ask("GET", path, role=Role.VIEWER)
        known = {"if-none-match": first.headers["etag"]}
        again = whole.ask("GET", path, role=Role.VIEWER, headers=known)
        assert (first.status_code, again.status_code) == (200, 304)
        assert again.content == b""
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["content-security-policy"]
        other = whole.ask("GET", path, role=Role.VIEWER, headers={"if-none-match": '"x"'})
        assert other.content == first.content


def test_only_the_player_may_be_framed_and_only_by_us(web):
    """The page holds the player in a frame; nothing else fits into one."""
    player = web.ask("GET", "/player", role=Role.VIEWER).headers
    assert "frame-ancestors 'self'" in player["content-security-policy"]
    assert player["x-frame-options"] == "SAMEORIGIN"
    login = web.ask("GET", "/login").headers
    assert "frame-ancestors 'none'" in login["content-security-policy"]
    assert login["x-frame-options"] == "DENY"


def test_a_report_may_do_nothing_but_lie_there(tmp_path):
    """One file with its pictures in it, in no origin: no script, no request, no form, no frame."""
    report = tmp_path / "report.html"
    report.write_text("<script>alert(1)</script>", encoding="utf-8")
    web = make_web(reports=lambda _model: report)
    answer = web.ask("GET", "/api/system/reports/bright-spots", role=Role.OPERATOR)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
    )
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"


def test_our_own_pages_allow_no_inline_code(web):
    """Script and style of the sign-in and the player come from files alone."""
    for path in ("/login", "/player"):
        policy = web.ask("GET", path, role=Role.VIEWER).headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "nonce" not in policy


def test_tls_is_remembered_only_where_there_is_tls(web):
    """HSTS on a station without TLS would lock everybody out of it."""
    assert "strict-transport-security" not in web.ask("GET", "/login").headers
    answer = make_web(policy={"https": True}).ask("GET", "/login")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_ours_win_over_an_answers_own():
    """A library that opens itself to every origin, or names another policy, is overruled."""
    own = [
        (b"Access-Control-Allow-Origin", b"*"),
        (b"access-control-allow-credentials", b"true"),
        (b"Content-Security-Policy", b"default-src *"),
        (b"cache-control", b"public"),
        (b"content-type", b"text/html"),
    ]
    told = secured(own, Answered("/x"), status=200)
    assert [value for name, value in told if name.lower() == b"cache-control"] == [b"no-store"]
    assert (b"content-type", b"text/html") in told
    names = [name.lower() for name, _ in told]
    assert names.count(b"content-security-policy") == 1
    assert not [name for name in names if name.startswith(b"access-control-")]


def test_gradios_page_runs_only_scripts_that_carry_this_answers_nonce(whole):
    """Every script tag has the nonce of the policy, and the next answer has another one."""
    nonces = []
    for _ in range(2):
        answer = whole.ask("GET", "/ui/", role=Role.VIEWER, headers={"accept-encoding": "gzip"})
        assert answer.status_code == 200
        (nonce,) = re.findall(r"'nonce-([^']+)'", answer.headers["content-security-policy"])
        tags = re.findall(r"<script[^>]*>", answer.text)
        assert len(tags) > 2
        assert [tag for tag in tags if f'nonce="{nonce}"' not in tag] == []
        assert answer.headers["content-encoding"] == "gzip"
        assert int(answer.headers["content-length"]) < len(answer.content) / 3
        nonces.append(nonce)
    assert nonces[0] != nonces[1]


def test_gradios_page_loads_our_files_and_nothing_from_elsewhere(whole):
    """Our tags stand at the end of its head; no tag names another host."""
    answer = whole.ask("GET", "/ui/", role=Role.VIEWER, headers={"accept-encoding": "identity"})
    text = answer.text
    assert int(answer.headers["content-length"]) == len(answer.content)
    head = text.partition("</head>")[0]
    for name in ("public/first.js", "page.css", "page.js"):
        assert f'"/static/{made_files()[name].place}"' in head
    foreign = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(?:https?:)?//[^\"]+", text)
    assert foreign == []


def test_bar_player_and_shapes_stand_in_gradios_page(whole):
    """They wait for none of Gradio's scripts, and a shape for no further request."""
    text = whole.ask("GET", "/ui/", role=Role.VIEWER).text
    before, _, after = text.partition("<gradio-app")
    assert '<symbol id="shape-live"' in before
    assert 'id="station-bar"' in before
    assert '<iframe class="player-frame" src="/player"' in after
