"""Tokens of machines: each opens what it is for, and for as long as it says."""

import base64
import string
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.settings import Role, SettingsProblems, load
from appliance.settings.tokens import Token, TokenScope, digest, new_token, notices, parse_tokens
from tests.support.process import run
from tests.support.web import NOW_S, TOKEN, bearers, make_web

TODAY = datetime.fromtimestamp(NOW_S, UTC).date()
LATER = TODAY + timedelta(days=100)
METRICS, METRICS_TOKEN = new_token("prom", [TokenScope.METRICS], LATER)
READY, READY_TOKEN = new_token("probe", [TokenScope.READY], LATER)
OVER, OVER_TOKEN = new_token("old", TokenScope, TODAY)
KEPT = (METRICS_TOKEN, READY_TOKEN, OVER_TOKEN)


@pytest.fixture
def web():
    return make_web(policy={"bearers": bearers(simple=TOKEN, tokens=KEPT)})


def ask(web, path, token, **headers):
    return web.ask("GET", path, headers={"authorization": f"Bearer {token}", **headers})


def test_a_token_opens_what_it_is_for_and_nothing_else(web):
    """One for metrics reads metrics; readiness says which scope is missing."""
    assert ask(web, "/metrics", METRICS).status_code == 200
    assert ask(web, "/api/ready", READY).status_code == 200
    answer = ask(web, "/api/ready", METRICS)
    assert (answer.status_code, answer.text) == (403, "This token lacks the scope ready.")
    assert ask(web, "/metrics", READY).status_code == 403


def test_the_simple_token_opens_both(web):
    """APPLIANCE_AUTH__METRICS_TOKEN stays the way for whoever needs one token only."""
    assert ask(web, "/metrics", TOKEN).status_code == 200
    assert ask(web, "/api/ready", TOKEN).status_code == 200


def test_a_token_that_has_expired_is_told_so(web):
    """401 with a sentence that names the day and the cure."""
    answer = ask(web, "/metrics", OVER)
    assert answer.status_code == 401
    told = f"This token expired on {TODAY}: `appliance token new` makes another."
    assert answer.text == told


def test_a_token_is_good_until_the_midnight_before_its_expiry():
    """In UTC, whatever the box's time zone."""
    _, token = new_token("x", [TokenScope.READY], date(2027, 1, 31))
    midnight_s = datetime(2027, 1, 31, tzinfo=UTC).timestamp()
    assert not token.is_over(midnight_s - 1)
    assert token.is_over(midnight_s)


@pytest.mark.parametrize(
    "path", ["/", "/player", "/ui/", "/ui/config", "/api/system/support-bundle"]
)
def test_no_token_opens_a_page(web, path):
    """Machines have no session."""
    for token in (METRICS, TOKEN):
        assert ask(web, path, token).status_code == 401


def test_a_token_with_a_session_is_refused(web):
    """A browser that was made to send both could act for the machine, or the machine for it."""
    cookie = web.cookie(Role.ADMIN)
    for path in ("/metrics", "/player"):
        answer = ask(web, path, METRICS, cookie=cookie)
        assert (answer.status_code, answer.text) == (400, "Send a token or a session, not both.")


def test_a_token_may_come_as_a_password(web):
    """Players know names and passwords; the name is theirs to choose, and nothing else opens."""

    def status(pair):
        basic = base64.b64encode(pair.encode()).decode()
        headers = {"authorization": f"Basic {basic}"}
        return web.ask("GET", "/metrics", headers=headers).status_code

    assert [status(f"{name}:{METRICS}") for name in ("", "vlc")] == [200, 200]
    assert [status(pair) for pair in ("vlc:", f"{METRICS}:", f"vlc:{METRICS}x", METRICS)] == [
        401
    ] * 4


def test_the_hash_is_no_token(web):
    """Who reads the settings cannot read the station."""
    assert ask(web, "/metrics", digest(METRICS)).status_code == 401


def test_a_token_needs_no_origin(web):
    """Machines send none, and browsers send no bearer by themselves."""
    assert ask(web, "/metrics", METRICS, origin="http://evil.example").status_code == 200


def line(**changes):
    parts = {"name": "prom", "scopes": "metrics", "expires": "2027-06-30", "hash": "0f" * 32}
    return ":".join({**parts, **changes}.values())


@pytest.mark.parametrize(
    "text",
    [
        f"{line()}\n{line(name='probe', scopes='ready+metrics')}",
        f"{line()}, {line(name='probe', scopes='METRICS+ready')},",
        f'["{line()}", "{line(name="probe", scopes="metrics+ready", hash="0F" * 32)}"]',
    ],
)
def test_tokens_may_be_written_in_many_ways(text):
    """One a line, with commas, as JSON."""
    tokens = load({"APPLIANCE_AUTH__TOKENS": text}).settings.auth.tokens
    assert [token.name for token in tokens] == ["prom", "probe"]
    assert tokens[1].scopes == {TokenScope.METRICS, TokenScope.READY}
    assert {token.hash.get_secret_value() for token in tokens} == {"0f" * 32}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prom:metrics", "entry 1 is not name:scopes:expiry:hash"),
        (line(name="a b"), "entry 1 has a name with other characters"),
        (
            line(scopes="metrics+admin"),
            "entry 1 has a scope that is none of metrics, pictures, ready",
        ),
        (line(scopes=""), "entry 1 has a scope that is none of"),
        (line(expires="soon"), "entry 1 has an expiry that is no date such as"),
        (line(expires="2027-02-30"), "entry 1 has an expiry that is no date such as"),
        (line(hash="0f" * 31), "entry 1 has something else than 64 hex digits"),
        (f"{line()},{line(name='PROM')}", "two entries have the same name"),
        (f"x,{line()},y", "entry 1 is not name.*; entry 3 is not name"),
    ],
)
def test_what_is_wrong_with_a_token_is_told_without_its_text(text, words):
    """By position, never by what stands there."""
    with pytest.raises(SettingsProblems, match=words) as raised:
        load({"APPLIANCE_AUTH__TOKENS": text})
    assert "0f0f" not in str(raised.value)


names = st.text(string.ascii_letters + string.digits + "._@+-", min_size=1, max_size=64)
scopes = st.sets(st.sampled_from(TokenScope), min_size=1)


@given(name=names, scopes=scopes, expires=st.dates())
def test_the_line_that_is_printed_is_the_token_that_is_read(name, scopes, expires):
    """Whatever the name, the scopes and the day."""
    _, token = new_token(name, scopes, expires)
    assert parse_tokens(token.line()) == (token,)


def test_soon_and_past_expiries_are_told():
    """From two weeks before; not those that have time."""
    made = {days: TODAY + timedelta(days=days) for days in (-3, 0, 1, 14, 15, 400)}
    tokens = [new_token(f"t{days}", TokenScope, day)[1] for days, day in made.items()]
    told = list(notices(tokens, NOW_S))
    assert [text.partition(" on ")[0] for text in told] == [
        "The token t-3 expired",
        "The token t0 expired",
        "The token t1 expires",
        "The token t14 expires",
    ]
    assert all("appliance token new" in text for text in told)


def test_tokens_that_never_expire_are_not_told():
    """The simple one has no day."""
    simple = Token(name="x", scopes=frozenset(TokenScope), expires=None, hash="0f" * 32)
    assert list(notices([simple], NOW_S)) == []
    assert not simple.is_over(NOW_S)


@pytest.mark.slow
def test_the_command_prints_a_token_that_its_own_line_opens(tmp_path):
    """The token once, the line for the settings, and what is which on standard error."""
    words = ("token", "new", "prom", "--scope", "metrics", "--days", "30")
    done = run({"HOME": str(tmp_path)}, *words)
    text, printed = done.stdout.split()
    (token,) = load({"APPLIANCE_AUTH__TOKENS": printed}).settings.auth.tokens
    assert token.hash.get_secret_value() == digest(text)
    assert token.scopes == {TokenScope.METRICS}
    assert len(text) >= 43
    assert "cannot be shown again" in done.stderr


@pytest.mark.slow
def test_the_command_says_what_is_wrong_with_a_name(tmp_path):
    """A sentence, and no token."""
    done = run({"HOME": str(tmp_path)}, "token", "new", "a b", "--scope", "ready")
    assert done.returncode == 1
    assert "the token has a name with other characters" in done.stderr
    assert done.stdout == ""
