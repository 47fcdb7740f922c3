"""Who calls: the address behind trusted proxies, and whom such a proxy has signed in."""

import struct
import subprocess
import sys
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from appliance.settings import Role, SettingsProblems, load
from appliance.web.access.callers import (
    ADDRESS_KEY,
    CAPACITY,
    VOUCHED_KEY,
    Callers,
    SignOn,
    Vouched,
)
from appliance.web.access.gateways import gateways
from tests.support.web import PASSWORDS, make_web

PROXY = "10.0.0.5"
SIGN_ON = SignOn("x-remote-user", "x-remote-role")
NOT_FORWARDED = [(b"host", b"hall3"), (b"x-request-id", b"7"), (b"accept", b"*/*")]
FORWARDED = [
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-forwarded-prefix",
    b"forwarded",
    b"x-real-ip",
    b"x-gradio-server",
]


@pytest.fixture
def told():
    """What was logged."""
    lines = []
    sink = logger.add(lambda message: lines.append(message.record["message"]), level="WARNING")
    yield lines
    logger.remove(sink)


def read(callers, peer, *headers, kind="http"):
    """The scope after a request from `peer`."""
    scope = {"type": kind, "client": (peer, 1234), "headers": list(headers), "scheme": "http"}
    callers.read(scope)
    return scope


def forwarded(*lines):
    return [(b"x-forwarded-for", line.encode()) for line in lines]


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        ([], PROXY),
        (["192.0.2.1"], "192.0.2.1"),
        (["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
        (["6.6.6.6", "192.0.2.1"], "192.0.2.1"),
        (["6.6.6.6, 192.0.2.1, 10.0.0.6"], "192.0.2.1"),
        (["10.0.0.7, 10.0.0.6"], "10.0.0.7"),
        (["192.0.2.1:5678"], "192.0.2.1"),
        (["[2001:db8::1]:5678"], "2001:db8::1"),
        (["2001:DB8::0001"], "2001:db8::1"),
        (["::ffff:192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1, unknown"], PROXY),
        (["192.0.2.1, unknown, 10.0.0.6"], "10.0.0.6"),
        (["", ",,"], PROXY),
    ],
)
def test_behind_a_trusted_proxy_the_last_address_that_is_no_proxy_counts(lines, address):
    """What the caller itself has put in front of it does not."""
    callers = Callers([PROXY, "10.0.0.6", "10.0.0.7"])
    assert read(callers, PROXY, *forwarded(*lines))[ADDRESS_KEY] == address


@pytest.mark.parametrize("peer", ["192.0.2.9", "10.0.0.50", "2001:db8::9", "unknown"])
def test_nobody_else_may_say_for_whom_it_calls(peer):
    """From any other peer the peer's own address counts."""
    scope = read(Callers([PROXY]), peer, *forwarded("6.6.6.6"))
    assert scope[ADDRESS_KEY] == peer


def test_a_socket_that_speaks_both_protocols_knows_its_proxy():
    """::ffff:10.0.0.5 is 10.0.0.5."""
    scope = read(Callers([PROXY]), f"::ffff:{PROXY}", *forwarded("192.0.2.1"))
    assert scope[ADDRESS_KEY] == "192.0.2.1"


@pytest.mark.parametrize("peer", [PROXY, "192.0.2.9"])
def test_no_header_of_a_proxy_reaches_what_lies_behind(peer):
    """Gradio would build its addresses from them; all else goes through as it came."""
    sent = [*NOT_FORWARDED, *((name, b"evil.example") for name in FORWARDED)]
    sent += [(b"x-remote-user", b"ada"), (b"x-remote-role", b"admin")]
    assert read(Callers([PROXY], SIGN_ON), peer, *sent)["headers"] == NOT_FORWARDED


@pytest.mark.parametrize(("kind", "scheme"), [("http", "https"), ("websocket", "wss")])
def test_a_caller_knows_best_whether_it_speaks_tls(kind, scheme):
    """So the page links to itself by https, behind a proxy that nobody has named as well."""
    scope = read(Callers(), "192.0.2.9", (b"x-forwarded-proto", b"https"), kind=kind)
    assert scope["scheme"] == scheme


@given(headers=st.lists(st.tuples(st.sampled_from(FORWARDED), st.binary(max_size=40)), max_size=5))
def test_whatever_proxies_send_is_read_or_ignored(headers):
    """Never an error, and always an address."""
    scope = read(Callers([PROXY], SIGN_ON), PROXY, *headers)
    assert scope[ADDRESS_KEY]
    assert scope["headers"] == []


def vouched(peer, *headers, callers=None):
    return read(callers or Callers([PROXY], SIGN_ON, {"ada": Role.ADMIN}), peer, *headers)[
        VOUCHED_KEY
    ]


USER = b"x-remote-user"
ROLE = b"x-remote-role"


def test_a_trusted_proxy_says_who_is_signed_in():
    """Name and role; without a role, or with one that is none, the default; the settings win."""
    assert vouched(PROXY, (USER, b"grace"), (ROLE, b"operator")) == Vouched("grace", Role.OPERATOR)
    assert vouched(PROXY, (USER, b"grace")) == Vouched("grace", Role.VIEWER)
    assert vouched(PROXY, (USER, b"grace"), (ROLE, b"root")) == Vouched("grace", Role.VIEWER)
    assert vouched(PROXY, (USER, b"ada"), (ROLE, b"viewer")) == Vouched("ada", Role.ADMIN)
    assert vouched(PROXY) is None


@pytest.mark.parametrize(
    "headers",
    [
        [(USER, b"grace"), (USER, b"ada")],
        [(USER, b"a b")],
        [(USER, b"x" * 65)],
        [(USER, "gräce,ada".encode())],
        [(b"x_remote_user", b"grace")],
        [(USER, b"")],
    ],
)
def test_a_name_that_is_none_is_not_let_in(headers):
    """Two names, or one with other letters than names have."""
    assert vouched(PROXY, *headers) is None


def test_nobody_else_may_say_who_is_signed_in_and_it_is_told_once(told):
    """From any other peer the header does nothing, and the log says so once, however often."""
    callers = Callers([PROXY], SIGN_ON)
    for _ in range(5):
        headers = [(USER, b"ada"), (ROLE, b"admin"), (b"x-forwarded-for", b"6.6.6.6")]
        assert vouched("192.0.2.9", *headers, callers=callers) is None
    assert len(told) == 2
    assert "192.0.2.9 sent x-remote-user, and is no trusted proxy" in told[0]
    assert "everybody behind it counts as one address" in told[1]


def test_without_the_setting_no_header_signs_anybody_in():
    """It is off until it is named."""
    assert vouched(PROXY, (USER, b"ada"), callers=Callers([PROXY])) is None


def test_roles_of_vouched_people_are_remembered_and_bounded():
    """The tabs ask for them by name."""
    callers = Callers([PROXY], SIGN_ON)
    for n in range(CAPACITY + 20):
        vouched(PROXY, (USER, f"user{n}".encode()), (ROLE, b"operator"), callers=callers)
    assert len(callers.vouched_roles) == CAPACITY
    assert callers.vouched_roles[f"user{CAPACITY + 19}"] is Role.OPERATOR


HTML = {"accept": "text/html"}


@pytest.fixture
def web():
    """The page behind a proxy that signs people in."""
    return make_web(policy={"callers": Callers(["127.0.0.1"], SIGN_ON, {"ada": Role.ADMIN})})


def cookie_of(answer):
    return answer.headers["set-cookie"].partition(";")[0]


def test_whom_the_proxy_has_signed_in_never_sees_the_form(web):
    """A page of ours follows, not a redirect: the cookie must come along from another site too."""
    grace = {"x-remote-user": "grace", "x-remote-role": "operator", **HTML}
    assert web.ask("GET", "/ui/", headers=grace).headers["location"] == "/login"
    answer = web.ask("GET", "/login", headers=grace)
    assert answer.status_code == 200
    assert '<meta http-equiv="refresh" content="0; url=/ui/">' in answer.text
    with_cookie = {"cookie": cookie_of(answer), **grace}
    assert web.ask("GET", "/player", headers=with_cookie).status_code == 200
    assert web.ask("GET", "/api/system/reports/x", headers=with_cookie).status_code == 404
    assert web.ask("GET", "/api/system/support-bundle", headers=with_cookie).status_code == 403
    assert web.audit.notes == [("sign_in", "grace", "127.0.0.1", "by the proxy")]


@pytest.mark.parametrize(
    "later",
    [
        {"x-remote-user": "heidi", "x-remote-role": "operator"},
        {"x-remote-user": "grace", "x-remote-role": "viewer"},
    ],
)
def test_a_session_of_somebody_else_does_not_go_on(web, later):
    """The proxy has signed in another person, or this one in another role."""
    grace = {"x-remote-user": "grace", "x-remote-role": "operator"}
    cookie = {"cookie": cookie_of(web.ask("GET", "/login", headers=grace))}
    assert web.ask("GET", "/player", headers={**cookie, **grace}).status_code == 200
    assert web.ask("GET", "/player", headers={**cookie, **later}).status_code == 401


def test_signing_out_does_not_sign_in_again_by_itself(web):
    """The form says whom the proxy names, and waits for a click."""
    grace = {"x-remote-user": "grace"}
    cookie = {"cookie": cookie_of(web.ask("GET", "/login", headers=grace))}
    left = web.post("/logout", headers={**cookie, **grace})
    assert left.headers["location"] == "/login?left"
    answer = web.ask("GET", "/login?left", headers=grace)
    assert "set-cookie" not in answer.headers
    assert "Sign in as grace" in answer.text


def test_passwords_work_beside_it(web):
    """For whoever comes through the proxy without its sign-on."""
    answer = web.post("/login", data={"user": "vera", "password": PASSWORDS["vera"]})
    assert answer.status_code == 303
    assert web.ask("GET", "/player", headers={"cookie": cookie_of(answer)}).status_code == 200


def test_a_stranger_that_sends_the_header_sees_the_form():
    """The same header from a peer that is no trusted proxy."""
    web = make_web(policy={"callers": Callers(["192.0.2.77"], SIGN_ON)})
    answer = web.ask("GET", "/login", headers={"x-remote-user": "ada"})
    assert 'name="password"' in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"PROXY_HEADER": "X-Remote-User"}, "no proxy is trusted"),
        ({"PROXY_ROLE_HEADER": "X-Remote-Role"}, "not the header with the person's name"),
        ({"PROXY_HEADER": "Cookie"}, "is not the name of a header"),
        ({"PROXY_HEADER": "X Remote"}, "is not the name of a header"),
    ],
)
def test_settings_that_would_let_anybody_in_are_refused(environ, words):
    """The header without a proxy that may send it, and names that mean something else."""
    with pytest.raises(SettingsProblems, match=words):
        load({f"APPLIANCE_AUTH__{name}": value for name, value in environ.items()})


def test_settings_for_a_sign_on_are_taken():
    """Header names in any case; a role for those without one."""
    auth = load(
        {
            "APPLIANCE_AUTH__PROXY_HEADER": "X-Remote-User",
            "APPLIANCE_AUTH__PROXY_ROLE": "operator",
            "APPLIANCE_WEB__TRUSTED_PROXIES": "10.0.0.5",
        }
    ).settings.auth
    assert (auth.proxy_header, auth.proxy_role) == ("x-remote-user", Role.OPERATOR)


GATEWAY = "172.31.254.1"


def signed_in_by(peer, *trusted):
    """For whom a request of `peer` counts where the network's gateways are known."""
    known = frozenset(map(ip_address, (GATEWAY, "fd00::1", "fe80::1")))
    callers = Callers(trusted, SIGN_ON, gateways=lambda: known)
    return read(callers, peer, (b"x-remote-user", b"eve"), (b"x-remote-role", b"admin"))


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        (GATEWAY, "172.31.254.0/28"),
        (f"::ffff:{GATEWAY}", "172.31.254.0/28"),
        ("fd00::1", "fd00::/64"),
        ("fe80::1%eth0", "fe80::/10"),
        (GATEWAY, "0.0.0.0/0"),
    ],
)
def test_the_gateway_of_a_trusted_network_signs_nobody_in(told, peer, network):
    """In a container's network it is any account of the host; the log tells the way out, once."""
    assert signed_in_by(peer, network)[VOUCHED_KEY] is None
    (line,) = told
    assert "APPLIANCE_WEB__TRUSTED_PROXIES" in line
    assert "eve" not in line


def test_a_gateway_that_is_named_itself_signs_people_in():
    """Somebody has said that it is the proxy, and may name its network as well."""
    for trusted in ([GATEWAY], [f"{GATEWAY}/32"], ["172.31.254.0/28", GATEWAY]):
        assert signed_in_by(GATEWAY, *trusted)[VOUCHED_KEY] == Vouched("eve", Role.ADMIN)


def test_others_of_a_trusted_network_sign_people_in():
    """The proxy's address in a container's network is known only once it runs."""
    vouched = signed_in_by("172.31.254.2", "172.31.254.0/28")[VOUCHED_KEY]
    assert vouched == Vouched("eve", Role.ADMIN)


def test_the_gateway_of_a_trusted_network_still_says_for_whom_it_calls():
    """Where guesses are counted it takes nothing from anybody but itself."""
    callers = Callers(["172.31.254.0/28"], gateways=lambda: {ip_address(GATEWAY)})
    assert read(callers, GATEWAY, *forwarded("192.0.2.1"))[ADDRESS_KEY] == "192.0.2.1"


ROUTES_4 = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t{default}\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t00FE1FAC\t00000000\t0001\t0\t0\t0\tF0FFFFFF\t0\t0\t0
"""
ROUTES_6 = f"""\
{"fd".ljust(32, "0")} 40 {"0" * 32} 00 {"0" * 32} 00000100 00000001 00000000 00000001     eth0
{"0" * 32} 00 {"0" * 32} 00 {"fd" + "1".zfill(30)} 00000400 00000003 00000000 00000003     eth0
"""


def test_the_kernel_tells_the_gateways(tmp_path):
    """Of both families; networks that are reached directly have none."""
    packed = struct.pack("=4s", ip_address(GATEWAY).packed)
    default = f"{int.from_bytes(packed, sys.byteorder):08X}"
    (tmp_path / "route").write_text(ROUTES_4.format(default=default))
    assert gateways(tmp_path) == {ip_address(GATEWAY)}  # a kernel without IPv6
    (tmp_path / "ipv6_route").write_text(ROUTES_6)
    assert gateways(tmp_path) == {ip_address(GATEWAY), ip_address("fd00::1")}


def test_the_gateways_of_this_machine_are_those_of_its_own_tool():
    """What is read of the kernel is what `ip` makes of it."""
    shown = [
        line.split()
        for family in ("-4", "-6")
        for line in subprocess.run(
            ["ip", family, "route", "show", "table", "all"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
    ]
    via = {ip_address(words[words.index("via") + 1]) for words in shown if "via" in words}
    assert gateways() == via
