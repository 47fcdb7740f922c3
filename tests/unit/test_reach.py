"""How people reach the station: addresses that work, and one certificate without its key."""

import socket
import ssl
from pathlib import Path

import pytest

from appliance.errors import StoreError
from appliance.settings import Role
from appliance.settings import Web as WebSettings
from appliance.web.access.reach import Interface, Reach, machine_interfaces, read_authority
from appliance.web.tabs.system.page import render_fixed
from appliance.web.templates import Pages
from tests.support.proxies import make_certificates
from tests.support.web import make_web, tab_context

LAN = Interface("eth0", "192.0.2.7")
SIX = Interface("eth0", "2001:db8::7")
OTHER = Interface("wlan0", "198.51.100.9")


def urls(*, own_name="hall3", **settings):
    reach = Reach(
        WebSettings(**settings), interfaces=lambda: [LAN, SIX, OTHER], own_name=lambda: own_name
    )
    return [place.url for place in reach.places()]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def test_on_every_network_the_page_has_the_names_and_all_addresses():
    """Names first, each with port and base path, and version 6 in brackets."""
    assert urls(host="::", base_path="/cam", hosts=("cam.example",)) == [
        "http://cam.example:8080/cam/",
        "http://hall3.local:8080/cam/",
        "http://hall3:8080/cam/",
        "http://192.0.2.7:8080/cam/",
        "http://[2001:db8::7]:8080/cam/",
        "http://198.51.100.9:8080/cam/",
    ]


def test_who_listens_by_ipv4_alone_has_no_address_of_ipv6():
    """A browser that calls one would find nobody."""
    everywhere = "0.0.0.0"  # noqa: S104 - nothing listens here
    found = urls(host=everywhere)
    assert found[-2:] == ["http://192.0.2.7:8080/", "http://198.51.100.9:8080/"]
    assert not any("[" in url for url in found)


def test_on_one_network_it_has_that_address_alone():
    """An interface that the page does not listen on is no way to it."""
    found = urls(host="192.0.2.7", port=80)
    assert found[-1] == "http://192.0.2.7/"
    assert not any("198.51.100.9" in url for url in found)


def test_behind_a_proxy_the_port_is_the_proxys():
    """The station's own port is nothing that a browser should call."""
    found = urls(https=True, own_name="hall3.local")
    assert found[:2] == ["https://hall3.local/", "https://192.0.2.7/"]
    assert not any("8080" in url for url in found)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.9"])
def test_on_the_loopback_nobody_else_reaches_it(host):
    """The page says so, and what to set."""
    assert urls(host=host) == ["http://localhost:8080/"]
    assert Reach(WebSettings(host=host)).is_local
    assert not Reach(WebSettings(host=host, https=True)).is_local


def test_the_machines_addresses_are_real_ones():
    """None that only the machine itself, or only one cable, can call; each can be bound."""
    for _, address in machine_interfaces():
        assert not address.startswith(("127.", "::1", "fe80"))
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        socket.create_server((address, 0), family=family).close()


def test_the_certificate_is_told_as_browsers_show_it(certificates):
    """Its name, last day, and the digest that openssl prints."""
    found = read_authority(certificates.authority)
    assert found.name == "Hall 3"
    assert found.until > "2030"
    der = ssl.PEM_cert_to_DER_cert(certificates.authority.read_text())
    assert found.pem == ssl.DER_cert_to_PEM_cert(der)
    assert len(found.sha256) == 32 * 3 - 1


def test_a_key_beside_the_certificate_is_never_handed_out(certificates, tmp_path):
    """Whoever names a file with both publishes the certificate and keeps the key."""
    both = tmp_path / "both.pem"
    key = certificates.key.read_text()
    both.write_text(key + certificates.authority.read_text() + key)
    answer = make_web(ca_file=both).ask("GET", "/ca.crt")
    assert answer.status_code == 200
    assert answer.text == read_authority(certificates.authority).pem
    assert "PRIVATE" not in answer.text


def bad_files(folder, certificates):
    (folder / "empty").touch()
    (folder / "key").write_text(certificates.key.read_text())
    (folder / "leaf").write_text(certificates.certificate.read_text())
    (folder / "noise").write_bytes(bytes(range(256)))
    (folder / "broken").write_text(certificates.authority.read_text().replace("A", "B"))
    two = make_certificates(folder)
    text = certificates.authority.read_text() + two.authority.read_text()
    (folder / "two").write_text(text)
    return {
        "empty": "holds no certificate",
        "key": "holds no certificate",
        "leaf": "expected one authority's certificate, got 0",
        "noise": "holds no certificate",
        "broken": "holds no certificate",
        "two": "expected one authority's certificate, got 2",
        ".": "there is no file",
        "gone": "there is no file",
    }


def test_a_file_that_is_no_such_certificate_is_told_to_those_who_set_it(certificates, tmp_path):
    """Strangers get a 404 and no reason; System says what is wrong, and which variable it is."""
    for name, reason in bad_files(tmp_path, certificates).items():
        path = tmp_path / name
        with pytest.raises(StoreError, match=reason):
            read_authority(path)
        answer = make_web(ca_file=path).ask("GET", "/ca.crt")
        assert answer.status_code == 404
        assert str(tmp_path) not in answer.text
        text = system_page(is_admin=True, ca_file=path)
        assert reason.replace("'", "&#39;") in text
        assert "APPLIANCE_WEB__CA_FILE" in text


def test_strangers_may_fetch_the_certificate_before_they_sign_in(certificates):
    """To trust the page must not take a password; and there is nothing where none is named."""
    web = make_web(ca_file=certificates.authority)
    for role in (None, *Role):
        answer = web.ask("GET", "/ca.crt", role=role)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-x509-ca-cert"
    assert make_web().ask("GET", "/ca.crt").status_code == 404


def test_admins_alone_see_the_addresses(certificates):
    """Where the station is on the network, and the digest to compare, is theirs to hand on."""
    text = system_page(is_admin=True, ca_file=certificates.authority)
    assert "http://localhost:8080/" in text
    assert read_authority(certificates.authority).sha256 in text
    assert 'href="/cam/ca.crt"' in text
    hidden = system_page(is_admin=False, ca_file=certificates.authority)
    assert "Addresses" not in hidden
    assert "localhost" not in hidden


def system_page(*, is_admin: bool, ca_file: Path | None = None) -> str:
    pages = Pages(base="/cam", station_name="Hall 3", version="0.0")
    return render_fixed(tab_context(pages, base="/cam", ca_file=ca_file), is_admin=is_admin)
