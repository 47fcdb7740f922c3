"""How people reach this station: its addresses, and the certificate that their browsers need."""

import hashlib
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import psutil

from appliance.errors import StoreError
from appliance.settings import Web

LARGEST_BYTES = 64 * 1024
CERTIFICATE_PATH = "/ca.crt"
HINT = "Check APPLIANCE_WEB__CA_FILE: one authority's certificate, as PEM text."


@dataclass(frozen=True, slots=True)
class Place:
    """One address of the page.

    Attributes:
        url: scheme, host, port and base path.
        via: what makes this host the station's.
    """

    url: str
    via: str


@dataclass(frozen=True, slots=True)
class Authority:
    """Who has signed the proxy's certificate.

    Attributes:
        pem: its own certificate, and nothing else of the file that it was in.
        name: as it calls itself.
        until: its last day, as an ISO date in UTC.
        sha256: of the certificate, as browsers and operating systems show it.
    """

    pem: str
    name: str
    until: str
    sha256: str


class Interface(NamedTuple):
    """An address that a network interface of this machine has."""

    name: str
    address: str


class Reach:
    """What the System page says of it; asked anew each time, since cables and leases change.

    Args:
        web: where the page listens, and what stands in front of it.
        interfaces: of this machine.
        own_name: of this machine.
    """

    def __init__(
        self,
        web: Web,
        *,
        interfaces: Callable[[], Sequence[Interface]] | None = None,
        own_name: Callable[[], str] = socket.gethostname,
    ) -> None:
        self._web = web
        self._interfaces = interfaces or machine_interfaces
        self._own_name = own_name

    @property
    def is_local(self) -> bool:
        """Whether nobody but this machine, and no proxy that is known of, reaches the page."""
        return not self._web.https and _is_loopback(self._web.host)

    def places(self) -> list[Place]:
        """Every address by which browsers may call the page: names first."""
        found = {host: via for host, via in self._hosts() if host}
        return [Place(self._url(host), via) for host, via in found.items()]

    def authority(self) -> Authority | None:
        """Who people have to trust; None where no file is named.

        Raises:
            StoreError: the file cannot be read, or is no such certificate.
        """
        path = self._web.ca_file
        return None if path is None else read_authority(path)

    def _hosts(self) -> Iterator[tuple[str, str]]:
        if self.is_local:
            yield "localhost", "this machine alone: APPLIANCE_WEB__HOST"
            return
        for host in self._web.hosts:
            yield host, "APPLIANCE_WEB__HOSTS"
        own = self._own_name().lower()
        if own != "localhost":
            yield f"{own.removesuffix('.local')}.local", "this machine, where mDNS is at work"
            yield own, "this machine, where the network knows its name"
        listens = None if self._web.https else _address_of(self._web.host)
        for name, address in self._interfaces():
            # Whoever listens at :: hears both families, at 0.0.0.0 the one.
            every = "::" if ":" in address else "0.0.0.0"  # noqa: S104 - compared, not bound
            if listens in {None, every, "::", address}:
                yield address, f"interface {name}"

    def _url(self, host: str) -> str:
        """With HTTPS the port is the proxy's own, and most likely the usual one."""
        shown = f"[{host}]" if ":" in host else host
        port = "" if self._web.https or self._web.port == 80 else f":{self._web.port}"
        return f"http{'s' * self._web.https}://{shown}{port}{self._web.base_path}/"


def machine_interfaces() -> list[Interface]:
    """Addresses of the interfaces that are up, without those that no other machine can call."""
    states = psutil.net_if_stats()
    return [
        Interface(name, entry.address)
        for name, entries in psutil.net_if_addrs().items()
        if name in states and states[name].isup
        for entry in entries
        if entry.family in {socket.AF_INET, socket.AF_INET6}
        and "%" not in entry.address  # a link-local one, which browsers do not take
        and not ip_address(entry.address).is_loopback
    ]


def read_authority(path: Path) -> Authority:
    """The certificate in a file.

    Only what was understood as a certificate is handed on: a key that stands in the same file
    stays there.

    Raises:
        StoreError: the file cannot be read, or does not hold exactly one authority's certificate.
    """
    try:
        if not path.is_file():  # to open a pipe could wait for ever
            raise StoreError(f"there is no file {path}", hint=HINT)
        with path.open("rb") as file:
            text = file.read(LARGEST_BYTES).decode("ascii", "ignore")
        store = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        store.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise StoreError(f"{path} holds no certificate", hint=HINT) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}", hint=HINT) from error
    found = store.get_ca_certs(binary_form=True)
    if len(found) != 1:
        expected = "expected one authority's certificate"
        raise StoreError(f"{path}: {expected}, got {len(found)}", hint=HINT)
    (told,) = store.get_ca_certs()
    until_s = ssl.cert_time_to_seconds(str(told["notAfter"]))
    digest = hashlib.sha256(found[0]).digest()
    return Authority(
        pem=ssl.DER_cert_to_PEM_cert(found[0]),
        name=_common_name(told),
        until=datetime.fromtimestamp(until_s, UTC).date().isoformat(),
        sha256=digest.hex(":").upper(),
    )


def _common_name(certificate: Mapping[str, object]) -> str:
    """The authority's name, of a form that the standard library types loosely."""
    subject = certificate.get("subject", ())
    assert isinstance(subject, tuple)  # noqa: S101 - for the type checker
    names = {key: value for part in subject for key, value in part}
    return str(names.get("commonName") or names.get("organizationName") or "–")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address_of(host: str) -> str:
    """An address in its usual spelling; a name as it is."""
    try:
        return str(ip_address(host))
    except ValueError:
        return host
