"""A real Docker engine of the tests' own, with real Compose; its layers are kept between runs.

There is no bridge network: builds and containers use the host's. Nothing is pulled: the base image
is a fresh Debian tree, Caddy's image holds this machine's own Caddy.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
IMAGE = "vision-appliance:cpu"
MARKER = "registry-settings-of-this-machine"
PATIENCE_S = 30.0
BUILD_PATIENCE_S = 480.0
KEPT_LAYERS = "6GB"


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
        path = f"{self.bin}:{os.environ['PATH']}:/usr/sbin"
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


@contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """An engine until the block ends, then without containers and volumes; skips without rights."""
    if os.geteuid() != 0 or DOCKERD is None:
        pytest.skip(f"{NO_ENGINE}: dockerd and root are needed")
    with (debian.kept_dir() / "docker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one engine at a time owns the layers
        (folder / "bin").mkdir(parents=True)
        running = Engine(folder / "docker.sock", folder / "bin", folder)
        _write_programs(running.bin)
        log = folder / "dockerd.log"
        with log.open("wb") as stderr:
            child = subprocess.Popen(_command(folder), stdout=stderr, stderr=stderr)
        try:
            _wait(running, child, log)
            _clear(running)
            yield running
            _clear(running)
        finally:
            child.terminate()
            child.wait(PATIENCE_S)
            # The network of this machine, which containers were given; dockerd leaves it mounted.
            left = str(_run_dir() / "netns" / "default")
            subprocess.run(["umount", left], check=False, capture_output=True)


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


def _run_dir() -> Path:
    return debian.kept_dir() / "docker.run"


def _command(folder: Path) -> list[str]:
    return [
        # Ends in order with the tests, however those end.
        *("setpriv", "--pdeathsig", "TERM", str(DOCKERD)),
        *("--data-root", str(debian.kept_dir() / "docker")),
        *("--exec-root", str(_run_dir()), "--pidfile", str(folder / "pid")),
        *("--host", f"unix://{folder / 'docker.sock'}", "--storage-driver", "overlay2"),
        *("--iptables=false", "--ip6tables=false", "--bridge=none"),
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
    running.docker("volume", "prune", "--force")
    running.docker("image", "prune", "--force")
    running.docker("builder", "prune", "--force", "--keep-storage", KEPT_LAYERS)
