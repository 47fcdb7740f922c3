"""A real Docker engine of the tests' own, with real Compose; its layers are kept between runs.

Images are built on this machine's own network, since builds ask package registries; there is no
bridge there, and containers share it. Bridges and published ports take an engine within a network
of the tests' own, a `Lan`: nothing of this machine's network changes, and what is left over after a
crash ends with the processes. That engine has layers of its own, into which images are copied once.
With the other's it would have to take turns, and a bridge that a crash left in their records would
be made again on this machine's network, by whichever engine comes next.

Nothing is pulled: the base image is a fresh Debian tree, the proxies' images hold this machine's
own Caddy and nginx.
"""

import ctypes
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import debian
from tests.support.process import PASSWORD

ROOT = Path(__file__).parents[2]
DOCKER = "/usr/bin/docker"  # Debian's: it builds by BuildKit without a plug-in
DOCKERD = shutil.which("dockerd", path="/usr/sbin:/usr/bin")
NO_ENGINE = "no Docker engine may run here"
BASE_IMAGE = "debian:bookworm-slim"
PROXY_IMAGE = "caddy:2.10"
NGINX_IMAGE = "nginxinc/nginx-unprivileged:1.28"
IMAGE = "vision-appliance:cpu"
MARKER = "registry-settings-of-this-machine"
PATIENCE_S = 30.0
BUILD_PATIENCE_S = 480.0
KEPT_LAYERS = "6GB"
SYSTEM_PATH = "/usr/sbin:/sbin"  # where Debian has what only root needs
CLONE_NEWNET = 0x40000000

# The examples' own addresses, so that these need not be changed.
BOX_ADDRESS = "192.0.2.10"
BOX_ADDRESS_V6 = "2001:db8::10"
VISITOR_ADDRESS = "192.0.2.30"

# A box as it comes, which forwards nothing, and somebody on the same network. The first line finds
# out whether there can be bridges.
CABLING = f"""
ip link add trial type bridge && ip link delete trial
echo 0 >/proc/sys/net/ipv4/ip_forward
ip link set lo up
ip link add lan type veth peer name lan netns "$VISITOR"
ip address add {BOX_ADDRESS}/24 dev lan
ip address add {BOX_ADDRESS_V6}/64 dev lan nodad
ip link set lan up
"""
VISITING = f"""
ip link set lo up
ip address add {VISITOR_ADDRESS}/24 dev lan
ip address add 2001:db8::30/64 dev lan nodad
ip link set lan up
"""

# What nginx's own image has in these two places, as far as it matters to the shipped file.
NGINX_CONF = """
pid /tmp/nginx.pid;
events {}
http {
    access_log /dev/stdout;
    client_body_temp_path /tmp/client_temp;
    proxy_temp_path /tmp/proxy_temp;
    fastcgi_temp_path /tmp/fastcgi_temp;
    uwsgi_temp_path /tmp/uwsgi_temp;
    scgi_temp_path /tmp/scgi_temp;
    include /etc/nginx/conf.d/*.conf;
}
"""
NGINX_ENTRYPOINT = r"""#!/usr/bin/python3
import os, re, sys
from pathlib import Path

def value(found):  # only what is set: the rest are variables of nginx
    return os.environ.get(found[1] or found[2], found[0])

for template in Path("/etc/nginx/templates").glob("*.template"):
    filled = re.sub(r"\$(?:\{(\w+)\}|(\w+))", value, template.read_text())
    (Path("/etc/nginx/conf.d") / template.stem).write_text(filled)
os.execvp(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True, slots=True)
class Engine:
    """A Docker engine that runs.

    Attributes:
        socket: where it listens.
        bin: a folder with `docker`, whose `docker compose` is the real one.
        folder: for files of the tests.
    """

    socket: Path
    bin: Path
    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        """Variables with which `docker` and `docker compose` reach it."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        path = f"{self.bin}:{os.environ['PATH']}:{SYSTEM_PATH}"
        return {**kept, "PATH": path, "DOCKER_HOST": f"unix://{self.socket}"}

    def docker(self, *words: str, patience_s: float = 120.0, check: bool = True, **options) -> str:
        """What one command says, to its end; fails with its own words."""
        return self.run("docker", *words, patience_s=patience_s, check=check, **options).stdout

    def run(
        self,
        *command: str,
        environ: Mapping[str, str] | None = None,
        patience_s: float = 120.0,
        check: bool = True,
        **options,
    ) -> subprocess.CompletedProcess[str]:
        """One command that may use `docker`, to its end."""
        done = subprocess.run(
            command,
            env={**self.environ, **(environ or {})},
            capture_output=True,
            text=True,
            timeout=patience_s,
            check=False,
            **options,
        )
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def inspect(self, name: str, form: str) -> str:
        """One value of a container or an image, in Go's template language."""
        return self.docker("inspect", "--format", form, name).strip()


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network of its own: it lasts until the descriptor is closed and its processes have ended.

    Attributes:
        descriptor: of the namespace.
    """

    descriptor: int

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets that this thread makes in the block, and processes, are part of it."""
        with _own_network() as own:
            _system("setns", self.descriptor, CLONE_NEWNET)
            try:
                yield
            finally:
                _system("setns", own, CLONE_NEWNET)

    def sh(self, script: str, **environ: str) -> str:
        """What lines of shell say that run in it, each of which must succeed."""
        path = f"{os.environ['PATH']}:{SYSTEM_PATH}"
        with self.entered():
            done = subprocess.run(
                ["sh", "-ec", script],
                env={"PATH": path, **environ},
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
        if done.returncode:
            raise OSError(done.stderr.strip())
        return done.stdout


@dataclass(frozen=True, slots=True)
class Lan:
    """A network with two on it.

    Attributes:
        box: at BOX_ADDRESS and BOX_ADDRESS_V6, for an engine.
        visitor: at VISITOR_ADDRESS.
    """

    box: Namespace
    visitor: Namespace


@contextmanager
def lan() -> Iterator[Lan]:
    """A network apart from this machine's, until the block ends; skips without rights."""
    if os.geteuid() != 0:
        pytest.skip(f"{NO_ENGINE}: root is needed")
    if shutil.which("ip", path=SYSTEM_PATH) is None:
        pytest.skip("not installed: iproute2")
    with ExitStack() as opened:
        try:
            both = Lan(opened.enter_context(_namespace()), opened.enter_context(_namespace()))
            end = f"/proc/{os.getpid()}/fd/{both.visitor.descriptor}"
            both.box.sh(CABLING, VISITOR=end)
            both.visitor.sh(VISITING)
        except OSError as error:
            pytest.skip(f"{NO_ENGINE}: no network of its own: {error}")
        yield both


@contextmanager
def engine(folder: Path, place: Namespace | None = None) -> Iterator[Engine]:
    """An engine until the block ends, then without containers and volumes; skips without rights.

    Args:
        folder: for files of the tests.
        place: where it runs, with bridges and NAT; without both, on this machine's own network,
            where none is given.
    """
    if os.geteuid() != 0 or DOCKERD is None:
        pytest.skip(f"{NO_ENGINE}: dockerd and root are needed")
    kept = debian.kept_dir() / ("docker-on-a-lan" if place else "docker")
    run_dir = kept.with_suffix(".run")
    command = _command(folder, kept, run_dir)
    if place is None:
        command += ["--iptables=false", "--ip6tables=false"]
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one engine at a time owns the layers
        (folder / "bin").mkdir(parents=True)
        running = Engine(folder / "docker.sock", folder / "bin", folder)
        _write_programs(running.bin)
        log = folder / "dockerd.log"
        environ = {**os.environ, "PATH": f"{os.environ['PATH']}:{SYSTEM_PATH}"}
        with log.open("wb") as stderr, place.entered() if place else nullcontext():
            child = subprocess.Popen(command, env=environ, stdout=stderr, stderr=stderr)
        try:
            _wait(running, child, log)
            _clear(running)
            yield running
            _clear(running)
        finally:
            child.terminate()
            child.wait(PATIENCE_S)
            # The network that containers were given; dockerd leaves it mounted.
            left = str(run_dir / "netns" / "default")
            subprocess.run(["umount", left], check=False, capture_output=True)


def copy_images(source: Engine, target: Engine, names: Sequence[str]) -> None:
    """Bring images from one engine to another, unless these very ones are there."""
    ids = ("docker", "image", "inspect", "--format={{.Id}}", *names)
    wanted = source.run(*ids).stdout
    if target.run(*ids, check=False).stdout == wanted:
        return
    save = [DOCKER, "save", *names]
    with subprocess.Popen(save, env=source.environ, stdout=subprocess.PIPE) as saving:
        target.docker("load", stdin=saving.stdout, patience_s=BUILD_PATIENCE_S)
    assert saving.returncode == 0
    assert target.run(*ids).stdout == wanted


def base_image(running: Engine) -> None:
    """A fresh Debian under the name that the Dockerfile starts from."""
    archive = debian.archive("python3")
    known = running.docker("images", "--quiet", "--filter", f"label=archive={archive.name}")
    if not known:
        label = f"LABEL archive={archive.name}"
        running.docker("import", "--change", label, str(archive), BASE_IMAGE)


def proxy_image(running: Engine) -> None:
    """This machine's Caddy, in an image as compose.yaml names it.

    As in Caddy's own, the file carries the capability to bind low ports, as rights of version 2.
    """
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("not installed: caddy")
    context = running.folder / "caddy"
    context.mkdir()
    shutil.copy(caddy, context / "caddy")
    (context / "Dockerfile").write_text(
        f"FROM {BASE_IMAGE}\nCOPY caddy /usr/bin/caddy\n"
        'RUN python3 -c "import os, struct;'
        " os.setxattr('/usr/bin/caddy', 'security.capability',"
        " struct.pack('<5I', 0x02000001, 1 << 10, 0, 0, 0))\"\n"
        "ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data\n"
    )
    built = ("build", "--quiet", "--network=none", "--tag", PROXY_IMAGE, str(context))
    running.docker(*built, environ={"DOCKER_BUILDKIT": "1"})


def nginx_image(running: Engine) -> None:
    """This machine's nginx, in an image as compose.nginx.yaml names it.

    As in nginx's own, user 101 fills in what templates have in ${...}, and becomes nginx.
    """
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:{SYSTEM_PATH}")
    if nginx is None:
        pytest.skip("not installed: nginx")
    context = running.folder / "nginx"
    context.mkdir()
    shutil.copy(nginx, context / "nginx")
    (context / "nginx.conf").write_text(NGINX_CONF)
    (context / "docker-entrypoint.sh").write_text(NGINX_ENTRYPOINT)
    (context / "docker-entrypoint.sh").chmod(0o755)
    (context / "Dockerfile").write_text(
        f"FROM {BASE_IMAGE}\nCOPY nginx /usr/sbin/nginx\n"
        "COPY nginx.conf /etc/nginx/nginx.conf\nCOPY docker-entrypoint.sh /\n"
        'USER 101\nENTRYPOINT ["/docker-entrypoint.sh"]\nCMD ["nginx", "-g", "daemon off;"]\n'
    )
    built = ("build", "--quiet", "--network=none", "--tag", NGINX_IMAGE, str(context))
    running.docker(*built, environ={"DOCKER_BUILDKIT": "1"})


def station_image(running: Engine, command: str) -> None:
    """The image for a CPU, by a line of shell that says so to people as $BOX."""
    secrets = registry_settings(running.folder / "registries")
    words = ["--network=host", *(f"--secret=id={path.name},src={path}" for path in secrets)]
    environ = {"BOX": "cpu", "ARGS": " ".join(words)}
    building = ("sh", "-ec", command)
    running.run(*building, environ=environ, patience_s=BUILD_PATIENCE_S, cwd=ROOT)


def registry_settings(folder: Path) -> list[Path]:
    """What this machine needs to reach package registries: secrets named pip, npm and ca."""
    folder.mkdir()
    authority = Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")
    pip, npm = folder / "pip", folder / "npm"
    pip.write_text(f"# {MARKER}\n[global]\ncert = /run/secrets/ca\ntimeout = 180\n")
    npm.write_text(f"; {MARKER}\ncafile=/run/secrets/ca\n")
    ca = folder / "ca"
    ca.write_text(f"# {MARKER}\n{authority.read_text()}")
    return [pip, npm, ca]


@contextmanager
def _namespace() -> Iterator[Namespace]:
    """A new namespace, in which this thread does not stay."""
    with _own_network() as own:
        _system("unshare", CLONE_NEWNET)
        try:
            made = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            _system("setns", own, CLONE_NEWNET)
    try:
        yield Namespace(made)
    finally:
        os.close(made)


@contextmanager
def _own_network() -> Iterator[int]:
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield own
    finally:
        os.close(own)


def _system(name: str, *numbers: int) -> None:
    """A call of Linux that this Python has no name for."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*numbers):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _command(folder: Path, data: Path, run_dir: Path) -> list[str]:
    return [
        # Ends in order with the tests, however those end.
        *("setpriv", "--pdeathsig", "TERM", str(DOCKERD)),
        *("--data-root", str(data), "--exec-root", str(run_dir), "--pidfile", str(folder / "pid")),
        *("--host", f"unix://{folder / 'docker.sock'}", "--storage-driver", "overlay2"),
        "--bridge=none",
    ]


def _write_programs(folder: Path) -> None:
    """`docker` with real Compose, and what else a person types: root needs no sudo."""
    compose = Path(sys.executable).with_name("docker-compose")
    programs = {
        "docker": f'[ "$1" = compose ] || exec {DOCKER} "$@"\nshift\nexec {compose} "$@"',
        "sudo": 'exec "$@"',
        "systemd-ask-password": f"echo {PASSWORD}",
    }
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)


def _wait(running: Engine, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while running.run("docker", "info", check=False).returncode:
        if child.poll() is not None:
            last = log.read_text().strip().splitlines()[-1:]
            pytest.skip(f"{NO_ENGINE}: {' '.join(last)}")
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def _clear(running: Engine) -> None:
    """Take away everything but images in use and their layers."""
    if containers := running.docker("ps", "--all", "--quiet").split():
        running.docker("rm", "--force", "--volumes", *containers)
    running.docker("network", "prune", "--force")
    running.docker("volume", "prune", "--force")
    running.docker("image", "prune", "--force")
    running.docker("builder", "prune", "--force", "--keep-storage", KEPT_LAYERS)
