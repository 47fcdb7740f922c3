"""Who a request comes from: the address behind trusted proxies, and whom such a proxy vouches for.

What a proxy says travels in headers, and anybody can send headers. So all of them are taken away
here, before anything else sees the request; only what a trusted peer said is kept, in the scope.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from loguru import logger

from appliance.settings import Role
from appliance.web.access.gateways import Address, gateways
from appliance.web.asgi import Scope, header

ADDRESS_KEY = "appliance.address"
VOUCHED_KEY = "appliance.vouched"
CAPACITY = 500  # vouched names whose roles are remembered, as many as there are sessions

_FORWARDED = re.compile(rb"x-forwarded-.*|forwarded|x-real-ip|x-gradio-server")
_NAME = re.compile(r"[\w.@+-]{1,64}")


@dataclass(frozen=True, slots=True)
class Vouched:
    """A person whom a trusted proxy has signed in."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class SignOn:
    """How a trusted proxy says who is signed in.

    Attributes:
        header: with the person's name, in lower case; empty: no proxy is asked.
        role_header: with the role, in lower case; empty for none.
        role: of those for whom the role header names none.
    """

    header: str = ""
    role_header: str = ""
    role: Role = Role.VIEWER


class Callers:
    """Reads who calls, and removes what only a trusted proxy may say.

    Args:
        trusted: addresses and networks of proxies.
        sign_on: how they say who is signed in.
        roles: of the people in the settings; these hold whatever a proxy says.
        gateways: of this process's networks. One that is trusted only as a part of its network
            vouches for nobody: in a container's network it is every account of the host.

    Attributes:
        vouched_roles: of the people for whom a proxy has vouched, by name.
    """

    def __init__(
        self,
        trusted: Sequence[str] = (),
        sign_on: SignOn | None = None,
        roles: Mapping[str, Role] | None = None,
        *,
        gateways: Callable[[], AbstractSet[Address]] = gateways,
    ) -> None:
        self._trusted = tuple(ipaddress.ip_network(network) for network in trusted)
        self._sign_on = sign_on or SignOn()
        self._roles = dict(roles or {})
        self._gateways = gateways
        self._told: set[str] = set()
        self.vouched_roles: dict[str, Role] = {}

    def read(self, scope: Scope) -> None:
        """Note in the scope who calls, and take the headers of proxies out of it."""
        peer = str((scope.get("client") or ("unknown",))[0])
        address = _parsed(peer)
        is_trusted = self._trusts(address)
        scope[ADDRESS_KEY] = self._behind(scope, peer) if is_trusted else _plain(peer)
        scope[VOUCHED_KEY] = self._vouched(scope, address) if is_trusted else None
        # Its own word about its own connection: it changes nothing but what this caller is sent.
        proto = header(scope, b"x-forwarded-proto").partition(",")[0]
        if proto.strip().lower() == "https":
            scope["scheme"] = "wss" if scope["type"] == "websocket" else "https"
        if not is_trusted:
            self._complain(scope, peer)
        own = {self._sign_on.header.encode(), self._sign_on.role_header.encode()}
        scope["headers"] = [
            (name, value)
            for name, value in scope["headers"]
            if name not in own and not _FORWARDED.fullmatch(name)
        ]

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)

    def _is_mere_gateway(self, address: Address | None) -> bool:
        """Whether it is trusted as a part of its network alone, and is that network's gateway."""
        if address is None or any(address in each for each in self._trusted if _is_one(each)):
            return False
        return type(address)(int(address)) in self._gateways()  # without its interface

    def _behind(self, scope: Scope, peer: str) -> str:
        """The last address on the way that no trusted proxy has; the peer's where there is none.

        Read from the right: a caller may write into the left of the header what it likes.
        """
        lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        hops = b",".join(lines).decode("latin-1").split(",")
        nearest = _plain(peer)
        for hop in reversed(hops):
            address = _parsed(hop)
            if address is None:
                break
            nearest = str(address)
            if not self._trusts(address):
                break
        return nearest

    def _vouched(self, scope: Scope, peer: Address | None) -> Vouched | None:
        name = _text(scope, self._sign_on.header)
        if not name:
            return None
        if self._is_mere_gateway(peer):
            self._tell_once(
                "gateway",
                "{} sent {}, and is the gateway of a trusted network: nobody is signed in by it. "
                "If it is your proxy, name its address itself in APPLIANCE_WEB__TRUSTED_PROXIES",
                str(peer),
                self._sign_on.header,
            )
            return None
        if not _NAME.fullmatch(name):
            self._tell_once("name", "a proxy vouches for a name that is none; it is not let in")
            return None
        role = self._roles.get(name) or self._role(_text(scope, self._sign_on.role_header))
        self.vouched_roles.pop(name, None)
        self.vouched_roles[name] = role
        if len(self.vouched_roles) > CAPACITY:
            del self.vouched_roles[next(iter(self.vouched_roles))]
        return Vouched(name, role)

    def _role(self, text: str) -> Role:
        known = {role.value: role for role in Role}
        return known.get(text.lower(), self._sign_on.role)

    def _complain(self, scope: Scope, peer: str) -> None:
        """Of each kind once, since anybody can cause it."""
        name = self._sign_on.header
        if name and any(key == name.encode() for key, _ in scope["headers"]):
            self._tell_once(
                "sign-on",
                "{} sent {}, and is no trusted proxy: nobody is signed in by it. If it is your "
                "proxy, add it to APPLIANCE_WEB__TRUSTED_PROXIES",
                peer,
                name,
            )
        if any(key == b"x-forwarded-for" for key, _ in scope["headers"]):
            self._tell_once(
                "forwarded",
                "{} says whom it calls for, and is no trusted proxy: everybody behind it counts "
                "as one address. If it is your proxy, add it to APPLIANCE_WEB__TRUSTED_PROXIES",
                peer,
            )

    def _tell_once(self, kind: str, message: str, *values: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            logger.warning(message, *values)


def _text(scope: Scope, name: str) -> str:
    return header(scope, name.encode()).strip() if name else ""


def _is_one(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return network.num_addresses == 1


def _parsed(text: str) -> Address | None:
    """An address as proxies write it: alone, with a port, or in brackets."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _plain(peer: str) -> str:
    """The peer's address in its usual spelling, or what the server calls it."""
    return str(_parsed(peer) or peer)
