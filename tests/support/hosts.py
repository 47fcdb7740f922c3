"""Hosts that run the station by systemd: Debian machines on which `make install` was run."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from appliance import __version__
from tests.support import debian
from tests.support.bundles import kept_wheels
from tests.support.machine import Layers, Machine, kept_tree, machine, made_once
from tests.support.models import write_bright_spots
from tests.support.process import (
    MODEL,
    PASSWORD,
    PLAIN,
    TOKEN,
    free_port,
    password_hash,
    write_clip,
)

ROOT = Path(__file__).parents[2]
NEEDED = ("ca-certificates", "git", "make", "python3-venv", "libgl1", "libglib2.0-0", "libxcb1")
"""Debian's packages that docs/install.md asks for, beside those of every machine."""

PACKAGE = ("appliance", "models", "README.md")
"""What makes the appliance's own wheel another one."""

SURROUNDINGS = ("requirements", "systemd", "pyproject.toml", "Makefile", "LICENSE", ".env.example")
"""What else `make install` reads: how it installs, and everything but the appliance's own wheel."""

RENEW = """
work=$(mktemp -d)
wheel=$(wheel "$work")
release=$HOME_DIR/releases/$(basename "$wheel" | cut -d - -f 2)
pip "$release" install --no-deps --force-reinstall "$wheel"
content "$wheel" >"$release/complete"
rm -r "$work"
"""
"""With the functions of install.sh: another wheel of the appliance's takes the place of one."""

PIP_CONF = "[install]\nno-index = true\n"
"""For /etc/pip.conf: indexes are for what is downloaded and not installed, as a demo's clip."""

AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
UNUSED_S = 2 * 24 * 3600
INSTALL_S = 600

UNIT = "appliance.service"
CONFIG = "/etc/vision-appliance"
STATE = "/var/lib/vision-appliance"
CACHE = "/var/cache/vision-appliance"


def network() -> tuple[dict[str, Path], dict[str, str]]:
    """What a machine needs to reach package registries as this one does: files, variables.

    The wheels of the locks lie in folders of this one, and need not be downloaded for each; with
    `PIP_CONF` in its place, pip does not even ask an index for them.
    """
    files = {"/etc/resolv.conf": Path("/etc/resolv.conf")}
    files |= {f"/wheels/{name}": kept_wheels(name) for name in ("build", "cpu", "npm")}
    kept = ("PIP_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    variables = {name: os.environ[name] for name in kept if name in os.environ}
    variables["PIP_FIND_LINKS"] = "/wheels/build /wheels/cpu /wheels/npm"
    if AUTHORITIES.is_file():
        files[str(AUTHORITIES)] = AUTHORITIES
        variables["PIP_CERT"] = variables["SSL_CERT_FILE"] = str(AUTHORITIES)
        variables["NODE_EXTRA_CA_CERTS"] = str(AUTHORITIES)
    return files, variables


def installed() -> Layers:
    """Debian with this checkout installed: made once, and kept for as long as it is used.

    It is made as a package would be, below DESTDIR, and then moved to its place: nothing in it
    may depend on where it was made. Where only the appliance's own wheel differs from what was
    installed by the very same steps before, that wheel alone is installed anew, over it.
    """
    base = kept_tree(*NEEDED)
    whole = debian.kept_dir() / f"{base.stem}-{_content(SURROUNDINGS, __version__)}.installed"
    renewed = whole.with_name(f"{whole.stem}-{_content(PACKAGE)}.renewed")
    with made_once(whole):
        if not renewed.is_dir():
            _remove_unused(whole)
            if whole.is_dir():
                _make(renewed, (whole, base), _renew)
            else:
                _make(whole, base, _install)
                renewed.mkdir()
    for layer in (renewed, whole):
        os.utime(layer)
    return renewed, whole, base


def _make(layer: Path, below: Layers, change: Callable[[Machine, Sequence[str]], None]) -> None:
    """What a change by root, with a network and this checkout, writes over the layers below."""
    work = layer.with_suffix(f".{os.getpid()}")
    files, variables = network()
    with machine(below, work, binds={"/repo": ROOT, **files}) as box:
        conf = box.path("/etc/pip.conf")
        conf.write_text(PIP_CONF)
        box.boot()
        change(box, ("env", *(f"{name}={value}" for name, value in variables.items())))
        conf.unlink()
        box.shell("sync")
        box.power_off()
    (work / "written").rename(layer)
    shutil.rmtree(work)


def _install(box: Machine, environ: Sequence[str]) -> None:
    box.run(*environ, "make", "--directory=/repo", "install", "DESTDIR=/stage", timeout=INSTALL_S)
    box.shell("cp --archive --link /stage/. /; rm -r /stage")
    box.shell("systemd-sysusers vision-appliance.conf")


def _renew(box: Machine, environ: Sequence[str]) -> None:
    script = "systemd/install.sh"
    functions, found, _ = (ROOT / script).read_text().partition("\nusable_python\n")
    assert found
    box.run(*environ, "sh", "-ec", functions + RENEW, f"/repo/{script}", timeout=INSTALL_S)


def _content(names: Sequence[str], *words: str) -> str:
    """A digest of files and folders of this checkout, and of words."""
    digest = hashlib.sha256("\0".join(words).encode())
    places = [ROOT / name for name in names]
    files = [file for place in places for file in (place, *place.rglob("*")) if file.is_file()]
    for path in sorted(files):
        if "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _remove_unused(but: Path) -> None:
    """Layers of earlier checkouts, and what was left half made; a whole one takes a gigabyte."""
    now = time.time()
    for layer in debian.kept_dir().glob(f"{debian.SUITE}-*-*.*"):
        if layer.is_dir() and layer != but and now - layer.stat().st_mtime > UNUSED_S:
            shutil.rmtree(layer)


@dataclass(frozen=True, slots=True)
class Host:
    """A booted machine with the station installed, and with a clip as its camera.

    Attributes:
        box: the machine.
        port: of the page, at 127.0.0.1.
    """

    box: Machine
    port: int

    def get(self, path: str, **headers: str) -> httpx.Response:
        """One request without a session."""
        return httpx.get(
            f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=10, **PLAIN
        )

    def answers(self, path: str = "/api/health") -> bool:
        """Whether anybody answers there."""
        try:
            return self.get(path).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def is_ready(self) -> bool:
        """Whether engine and loop run, as the station says."""
        try:
            answer = self.get("/api/ready", Authorization=f"Bearer {TOKEN}")
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.OK

    def sign_in(self, user: str, password: str = PASSWORD) -> httpx.Response:
        """The answer to a person's password."""
        origin = f"http://127.0.0.1:{self.port}"
        form = {"user": user, "password": password}
        return httpx.post(f"{origin}/login", data=form, headers={"Origin": origin}, timeout=20)

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        text = self.get("/metrics", Authorization=f"Bearer {TOKEN}").text
        lines = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def configure(self, **changes: str) -> None:
        """Write the settings: those of a station that sees, with changes; empty takes one away."""
        values = {
            "APPLIANCE_CAMERAS__GATE__URL": "/srv/clip.avi",
            "APPLIANCE_MODEL": MODEL,
            "APPLIANCE_WEB__PORT": str(self.port),
            **changes,
        }
        lines = [f"{name}={value}\n" for name, value in values.items() if value]
        self.box.path(f"{CONFIG}/appliance.env").write_text("".join(lines))

    def secret(self, name: str, text: str) -> None:
        """Put a secret where the unit takes it from, as a person with a shell would."""
        file = self.box.path(f"{CONFIG}/credentials/{name}")
        file.write_text(text)
        file.chmod(0o600)

    def drop_in(self, lines: str) -> None:
        """Change the unit as an operator does."""
        folder = self.box.path(f"/etc/systemd/system/{UNIT}.d")
        folder.mkdir(exist_ok=True, parents=True)
        (folder / "90-test.conf").write_text(lines)
        self.box.run("systemctl", "daemon-reload")

    def start(self) -> None:
        """Start the station, which returns once it has told systemd that it is up."""
        done = self.box.run("systemctl", "start", UNIT, check=False)
        assert done.returncode == 0, self.box.journal(f"--unit={UNIT}", "--lines=60")

    def start_and_wait(self) -> None:
        """Start it, and wait until it sees."""
        self.start()
        self.box.wait_until(self.is_ready)

    def main_pid(self) -> int:
        """The station's process, by its number there; 0 while there is none."""
        return int(self.box.show(UNIT, "MainPID"))


@contextmanager
def host(layers: Layers, folder: Path) -> Iterator[Host]:
    """A machine that was installed and booted; the station has its settings and is not started."""
    with machine(layers, folder) as box:
        box.boot()
        made = Host(box, free_port())
        box.path("/srv").mkdir(exist_ok=True)
        write_clip(box.path("/srv/clip.avi"))
        box.shell(f"install -d -m 700 -o vision-appliance -g vision-appliance {STATE}")
        write_bright_spots(box.path(f"{STATE}/models/{MODEL}"))
        box.shell(f"chown -R vision-appliance: {STATE}; chmod 644 /srv/clip.avi")
        made.configure()
        made.secret("auth__metrics_token", TOKEN)
        made.secret("auth__users", f"ada:admin:{password_hash()}\n")
        yield made
