"""Real proxies in front of a station: the files that are shipped, on ports of the tests' own."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from grp import getgrgid
from pathlib import Path
from pwd import getpwuid

from tests.support.process import free_port

ROOT = Path(__file__).parents[2]
CADDYFILE = ROOT / "docker" / "caddy" / "Caddyfile"
NGINX_CONF = ROOT / "docker" / "nginx" / "appliance.conf"
OPERATE = ROOT / "docs" / "operate.md"
PROGRAMS = {
    name: shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    for name in ("caddy", "nginx")
}
PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that runs.

    Attributes:
        origin: where browsers find the station.
        plain: the origin without TLS, which leads to the other; the same where there is no TLS.
        authority: the certificate to trust; None without TLS.
    """

    origin: str
    plain: str
    authority: Path | None


@dataclass(frozen=True, slots=True)
class Certificates:
    """An authority, and a certificate for this machine.

    Attributes:
        authority: of the authority.
        certificate: of the proxy.
        key: its key.
    """

    authority: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make both by the commands that docs/operate.md gives to people."""
    (commands,) = re.findall(r"^```sh\n(openssl req .*?)```$", OPERATE.read_text(), re.M | re.S)
    own = commands.replace("hall3.local", "localhost").replace("192.0.2.10", "127.0.0.1")
    subprocess.run(["sh", "-ec", own], cwd=folder, check=True, capture_output=True)
    return Certificates(folder / "ca.crt", folder / "station.crt", folder / "station.key")


@contextmanager
def caddy(
    folder: Path,
    station_port: int,
    *,
    tls: bool,
    forwarding: bool = True,
    certificates: Certificates | None = None,
    user_header: str = "",
) -> Iterator[Proxy]:
    """Caddy with the shipped file, until the block ends.

    Args:
        folder: for everything that it writes.
        station_port: of the station.
        tls: without it, the file without its line about certificates.
        forwarding: without it, nothing is said of the browser's side.
        certificates: of one's own; by Caddy's authority where there are none.
        user_header: by which the station knows who is signed in; the file's own where empty.
    """
    text = CADDYFILE.read_text()
    http, https = free_port(), free_port()
    names = ["localhost", "127.0.0.1"]
    if not tls:
        text = _without(text, r"\ttls .*\n")
        names = [f"http://{name}" for name in names]
    if not forwarding:
        silent = "".join(f"header_up -X-Forwarded-{what}\n" for what in ("For", "Host", "Proto"))
        text = text.replace("flush_interval", f"{silent}flush_interval")
    environ = {
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "PROXY_NAMES": ", ".join(names),
        "PROXY_DEFAULT_NAME": "127.0.0.1",
        "PROXY_UPSTREAM": f"127.0.0.1:{station_port}",
        "PROXY_BIND": "127.0.0.1",
        "PROXY_HTTP_PORT": str(http),
        "PROXY_HTTPS_PORT": str(https),
    }
    if certificates:
        environ["PROXY_CERTIFICATE"] = str(certificates.certificate)
        environ["PROXY_KEY"] = str(certificates.key)
    if user_header:
        environ["PROXY_USER_HEADER"] = user_header
    file = folder / "Caddyfile"
    file.write_text(text)
    command = ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"]
    with _running(command, folder, environ, https if tls else http):
        own = folder / "data" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        yield _proxy(http, https if tls else None, certificates.authority if certificates else own)


@contextmanager
def nginx(
    folder: Path,
    station_port: int,
    *,
    tls: bool,
    forwarding: bool = True,
    certificates: Certificates | None = None,
    user_header: str = "",
) -> Iterator[Proxy]:
    """The same with nginx, and certificates made for it where none are given."""
    certificates = certificates or make_certificates(folder)
    text = NGINX_CONF.read_text()
    http, https = free_port(), free_port()
    if not tls:  # the other server alone
        text = _without(text, r"server \{\n    listen \$\{PROXY_HTTP\};(?s:.*?)\n\}\n")
        text = _without(text.replace(" ssl http2;", ";"), r" +ssl_.*\n")
    if not forwarding:
        text = _without(text, r" +proxy_set_header X-Forwarded-.*\n")
    values = {
        "PROXY_UPSTREAM": f"127.0.0.1:{station_port}",
        "PROXY_HTTP": f"127.0.0.1:{http}",
        "PROXY_HTTPS": f"127.0.0.1:{https if tls else http}",
        "PROXY_CERTIFICATE": str(certificates.certificate),
        "PROXY_KEY": str(certificates.key),
        "PROXY_USER_HEADER": user_header or "X-Remote-User",
        "PROXY_ROLE_HEADER": "X-Remote-Role",
    }
    # As the container image of nginx does it: what is no variable of ours is nginx's own.
    filled = re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], text)
    (folder / "appliance.conf").write_text(filled)
    owner = f"{getpwuid(os.geteuid()).pw_name} {getgrgid(os.getegid()).gr_name}"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder / kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"user {owner};\nworker_processes 1;\ndaemon off;\npid {folder / 'pid'};\n"
        f"events {{}}\n"
        f"http {{\naccess_log off;\n{temporary}include {folder / 'appliance.conf'};\n}}\n"
    )
    command = ["nginx", "-e", "stderr", "-c", str(folder / "nginx.conf")]
    with _running(command, folder, {}, https if tls else http):
        yield _proxy(http, https if tls else None, certificates.authority)


PROXIES = {"caddy": caddy, "nginx": nginx}


def _proxy(http: int, https: int | None, authority: Path) -> Proxy:
    plain = f"http://127.0.0.1:{http}"
    if https is None:
        return Proxy(plain, plain, None)
    return Proxy(f"https://127.0.0.1:{https}", plain, authority)


def _without(text: str, pattern: str) -> str:
    shorter, count = re.subn(pattern, "", text)
    assert count, f"the shipped file has no {pattern}"
    return shorter


@contextmanager
def _running(
    command: list[str], folder: Path, environ: Mapping[str, str], port: int
) -> Iterator[None]:
    program, *words = command
    log = folder / f"{program}.log"
    with log.open("wb") as stderr:
        child = subprocess.Popen(
            [PROGRAMS[program] or program, *words], env={**os.environ, **environ}, stderr=stderr
        )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not _listens(port):
            assert child.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        child.terminate()
        try:
            child.wait(PATIENCE_S)
        finally:
            child.kill()
            child.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
