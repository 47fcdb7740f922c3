"""The shipped Compose files on the network that they make, seen from another machine (O-17).

The engine and a visitor stand on a network of the tests' own. The files run as they are, Caddy's
and nginx's, at the addresses that stand in the examples.
"""

import re
import socket
import ssl
from contextlib import contextmanager
from dataclasses import dataclass, replace

import httpx
import pytest

from tests.support import dockerd
from tests.support.boxes import (
    PATIENCE_S,
    PROXY_USERS,
    SECRETS,
    SERVICE,
    START,
    Box,
    make_certificate,
    make_shipped_box,
    until,
)
from tests.support.dockerd import BASE_IMAGE, BOX_ADDRESS, BOX_ADDRESS_V6, VISITOR_ADDRESS, Lan
from tests.support.process import PASSWORD

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CONNECT_S = 2.0
NAME = "hall3.local"
NETWORK = "vision-appliance_default"
GATEWAY = "172.31.254.1"  # of that network: the box itself, as its containers see it
SUBNET = "172.31.254.0/28"
STATION_PORT = 8080
LIE = "203.0.113.9"
IMAGES = (BASE_IMAGE, dockerd.IMAGE, dockerd.PROXY_IMAGE, dockerd.NGINX_IMAGE)
CONNECTING = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2).close()
    print("reached")
except OSError:
    print("not reached")
"""


@dataclass(frozen=True, slots=True)
class Here:
    """A box that runs, and the network on which people reach it.

    Attributes:
        box: with the station and its proxy.
        lan: the box and a visitor.
        proxy: its kind.
        trusted: of somebody who trusts the proxy's authority.
    """

    box: Box
    lan: Lan
    proxy: str
    trusted: ssl.SSLContext

    @contextmanager
    def visiting(self, name=BOX_ADDRESS, way=BOX_ADDRESS):
        """A visitor's client, for the block: it goes to the address `way` and asks for `name`."""

        def call_by_name(request):
            request.extensions["sni_hostname"] = name

        with (
            self.lan.visitor.entered(),
            httpx.Client(
                verify=self.trusted,
                base_url=f"https://{way}",
                headers={"Host": name},
                event_hooks={"request": [call_by_name]},
                timeout=20,
            ) as client,
        ):
            yield client

    def address(self, service=SERVICE):
        """Of a service's container, on the network of Compose."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return self.box.state(form, service)


def sign_in(client, **headers):
    """The code that ada's right password is answered with."""
    headers["Origin"] = f"https://{client.headers['Host']}"
    form = {"user": "ada", "password": PASSWORD}
    return client.post("/login", data=form, headers=headers).status_code


def reaches(address, port):
    """Whether somebody in this place can open a connection."""
    try:
        socket.create_connection((address, port), timeout=CONNECT_S).close()
    except OSError:
        return False
    return True


@contextmanager
def another_address(here, before):
    """The station is stopped for the block, and then another container has its address."""
    engine = here.box.engine
    here.box.compose("stop", SERVICE)
    words = (
        "run",
        "--detach",
        f"--network={NETWORK}",
        f"--ip={before}",
        BASE_IMAGE,
        "sleep",
        "600",
    )
    squatter = ""
    try:
        yield
        squatter = engine.docker(*words).strip()
    finally:
        here.box.compose("start", SERVICE)
        if squatter:
            engine.docker("rm", "--force", squatter)


@pytest.fixture(scope="module")
def lan():
    """The network."""
    with dockerd.lan() as made:
        yield made


@pytest.fixture(scope="module")
def lan_engine(engine, lan, tmp_path_factory):
    """An engine on it, with every image that the files name."""
    dockerd.nginx_image(engine)
    with dockerd.engine(tmp_path_factory.mktemp("lan"), lan.box) as running:
        dockerd.copy_images(engine, running, IMAGES)
        yield running


@pytest.fixture(scope="module", params=PROXY_USERS)
def here(request, lan, lan_engine, tmp_path_factory):
    """A box behind each proxy, set up and started as the documents say."""
    box = make_shipped_box(lan_engine, tmp_path_factory.mktemp(request.param), request.param)
    box.typed(SECRETS)
    assert "The settings are right." in box.typed(START, patience_s=120)
    trusted = box.trust() if request.param == "caddy" else box.trusted()
    yield Here(box, lan, request.param, trusted)
    box.compose("down", "--volumes")


def test_it_becomes_healthy_and_its_proxy_waits_for_nobody(here):
    """Each started once, on a network of their own."""
    assert here.box.state("{{.State.Health.Status}}") == "healthy"
    assert here.box.state("{{.State.Running}} {{.RestartCount}}", "proxy") == "true 0"
    assert here.box.state("{{.HostConfig.NetworkMode}}") == NETWORK


def test_people_on_the_network_sign_in_by_address_and_by_name(here):
    """Through the published ports: the authority to trust, the form, the page."""
    handed_out = (here.box.folder / "secrets" / "ca.crt").read_text()
    with here.visiting() as client:
        assert client.get("/ca.crt").text.split() == handed_out.split()
        assert client.get("/ui/").status_code in {303, 401}
        assert sign_in(client) == 303
        assert client.get("/ui/").status_code == 200
    with here.visiting(NAME) as client:
        assert sign_in(client) == 303


def test_http_leads_to_https(here):
    """At the address that was typed, without a port of the container's."""
    with here.visiting() as client:
        answer = client.get(f"http://{BOX_ADDRESS}/login?from=here")
    assert answer.status_code == 308
    assert answer.headers["location"] == f"https://{BOX_ADDRESS}/login?from=here"


def test_nothing_listens_on_the_box_but_the_two_ports(here):
    """For others than the box itself, by either kind of address."""
    lines = [line.split() for line in here.lan.box.sh("ss -ltnH").splitlines()]
    addresses = {line[3] for line in lines}
    outside = {it for it in addresses if not it.startswith(("127.", "[::1]"))}
    assert {it.rpartition(":")[2] for it in outside} == {"80", "443"}


def test_the_station_is_reached_by_nobody_but_the_box(here):
    """Not at the box's address, and not at its own, whichever way a neighbor takes."""
    station = here.address()
    with here.lan.box.entered():
        assert reaches(station, STATION_PORT)
    here.lan.visitor.sh(f"ip route replace {SUBNET} via {BOX_ADDRESS}")
    with here.lan.visitor.entered():
        assert reaches(BOX_ADDRESS, 443)
        assert not reaches(BOX_ADDRESS, STATION_PORT)
        assert not reaches(station, STATION_PORT)


def test_a_container_on_another_network_cannot_reach_the_station(here):
    """One on its own network could: that network is for these two alone."""
    engine, station = here.box.engine, here.address()

    def look(network):
        words = ["run", "--rm", f"--network={network}", BASE_IMAGE]
        return engine.docker(*words, "python3", "-c", CONNECTING, station, str(STATION_PORT))

    engine.docker("network", "create", "neighbors")
    try:
        assert look("neighbors") == "not reached\n"
    finally:
        engine.docker("network", "rm", "neighbors")
    assert look(NETWORK) == "reached\n"


@pytest.mark.parametrize(
    ("way", "known_as"), [(BOX_ADDRESS, VISITOR_ADDRESS), (f"[{BOX_ADDRESS_V6}]", GATEWAY)]
)
def test_the_log_names_who_signs_in_and_not_who_they_say_they_are(here, way, known_as):
    """By IPv4 the visitor's own address; by IPv6 the box's, since Docker takes that way itself."""
    with here.visiting(NAME, way) as client:
        assert sign_in(client, **{"X-Forwarded-For": LIE}) == 303
    log = here.box.compose("logs", "--no-log-prefix", SERVICE)
    line = [it for it in log.splitlines() if "audit: sign_in " in it][-1]
    assert re.search(rf"\b{re.escape(known_as)}\b", line)
    assert LIE not in log
    assert "is no trusted proxy" not in log


def test_it_reaches_cameras_on_the_boxs_network(here):
    """They see the box's address."""
    with here.lan.visitor.entered():
        camera = socket.create_server((VISITOR_ADDRESS, 0))
    with camera:
        camera.settimeout(PATIENCE_S)
        where = (VISITOR_ADDRESS, str(camera.getsockname()[1]))
        said = here.box.compose("exec", "-T", SERVICE, "python3", "-c", CONNECTING, *where)
        accepted, (peer, _) = camera.accept()
        accepted.close()
    assert (said, peer) == ("reached\n", BOX_ADDRESS)


def test_a_station_that_comes_back_is_found_wherever_it_is(here):
    """After a restart, and with another address; meanwhile the proxy says that nobody answers."""
    with here.visiting() as client:
        assert sign_in(client) == 303
        here.box.compose("restart", SERVICE)
        until(lambda: client.get("/ui/").status_code == 200)
        before = here.address()
        with another_address(here, before):
            answer = client.get("/")
            assert answer.status_code in {502, 504}  # as it takes the proxy to find out
            assert "does not answer yet" in answer.text
        assert here.address() != before
        until(lambda: client.get("/ui/").status_code == 200)


def test_a_container_beside_the_station_is_not_taken_for_it(here):
    """What update.sh and people run beside it has no name there."""
    asking = "import socket; print(*socket.gethostbyname_ex('station')[2])"
    words = ("run", "--rm", "--no-deps", "-T", SERVICE, "python3", "-c", asking)
    assert here.box.compose(*words).split() == [here.address()]


def test_a_certificate_of_ones_own_takes_the_place_of_the_one_before(here):
    """The proxy shows that one once it is started again; the authority before has no say."""
    make_certificate(here.box, here.proxy)
    here.box.compose("up", "--detach", "--force-recreate", "proxy")
    renewed = replace(here, trusted=here.box.trusted())
    with renewed.visiting(NAME) as client:
        until(lambda: client.get("/login").status_code == 200)
    with here.visiting(NAME) as client, pytest.raises(httpx.ConnectError, match="verify failed"):
        client.get("/login")
