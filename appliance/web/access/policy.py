"""What the settings say of the page's address, and what a request says of it."""

import hashlib
import ipaddress
import re
from dataclasses import dataclass, field

from appliance.web.access.callers import Callers
from appliance.web.access.tokens import Bearers
from appliance.web.asgi import Scope, cookie_of, header

SAFE_METHODS = {"GET", "HEAD"}
_HOST = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>\d{1,5}))?"
)
# Separators, and what needs no code: letters, digits, and `-._~`.
_RESPELLED = re.compile(rb"%(2[DEF]|3[0-9]|[46][1-9A-F]|[57][0-9A]|5[CF]|7E)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """What the gate needs of the settings.

    Attributes:
        base_path: "" or as "/cam".
        hosts: names by which the page may be called, beside addresses and the host's own names.
        https: a proxy in front speaks TLS.
        bearers: judges machines' tokens; refuses them all unless told of some.
        callers: reads who calls; trusts no proxy unless told of one.
    """

    base_path: str
    hosts: tuple[str, ...]
    https: bool
    bearers: Bearers = field(default_factory=lambda: Bearers((), simple=None, wall_s=lambda: 0.0))
    callers: Callers = field(default_factory=Callers)

    def cookie_name(self, scope: Scope) -> str:
        """The session cookie's name for whoever calls; with TLS one that binds it to this host.

        Browsers separate cookies by host, not by port: two stations on one host would sign each
        other's people out. So the name follows the port that the browser calls. The station's own
        may be another, and the same in each container; and a copy of its state knows no better.
        """
        host = _HOST.fullmatch(header(scope, b"host"))
        port = (host["port"] or "") if host is not None else ""
        mark = hashlib.sha256(f"{port}{self.base_path}".encode()).hexdigest()[:8]
        return f"__Host-appliance-{mark}" if self.https else f"appliance-{mark}"

    def token_of(self, scope: Scope) -> str:
        """What the session cookie holds; nothing without one."""
        return cookie_of(scope, self.cookie_name(scope))

    def is_base(self, scope: Scope) -> bool:
        """Whether the base path itself is asked for, without the slash at its end."""
        is_plain = scope["path"] == self.base_path and not _is_respelled(scope)
        return is_plain and scope["method"] in SAFE_METHODS

    def path_of(self, scope: Scope) -> str | None:
        """The path below the base path; None outside it, and for one that is spelled otherwise."""
        path, base = str(scope["path"]), self.base_path
        if not path.startswith(f"{base}/") or _is_respelled(scope):
            return None
        return path[len(base) :]

    def same_origin(self, scope: Scope) -> bool:
        """The Origin header must be there and name the host that was called.

        Behind HTTPS no page that came without it is ours: anybody on the way may have made it.
        """
        host, origin = header(scope, b"host"), header(scope, b"origin")
        own = {f"https://{host}"} if self.https else {f"http://{host}", f"https://{host}"}
        return bool(host) and origin in own


def host_called(scope: Scope) -> str:
    """The name or address by which the page is called, without its port; empty where it is none."""
    host = _HOST.fullmatch(header(scope, b"host"))
    return (host["v6"] or host["name"]).lower().removesuffix(".") if host is not None else ""


def _is_respelled(scope: Scope) -> bool:
    """Whether a path says by a code what it could say plainly: a proxy's rules may miss it."""
    return _RESPELLED.search(scope.get("raw_path") or b"") is not None


def is_address(name: str) -> bool:
    """Whether a host is called by its address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
