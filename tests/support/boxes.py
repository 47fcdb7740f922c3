"""A box with the station in containers: a copy of docker/, set up by what docs/install.md says."""

import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.dockerd import BOX_ADDRESS, ROOT, Engine
from tests.support.process import free_port, write_clip

SERVICE = "cpu"
PATIENCE_S = 60.0
DOCKER_DIR = ROOT / "docker"
INSTALL = ROOT / "docs" / "install.md"
OPERATE = ROOT / "docs" / "operate.md"
INSTALLING = "## x86 with Docker"
# Which of the document's blocks of commands does what.
PLACE, BUILD, EXAMPLES, SECRETS, START, TRUST, BOOT, OWN_CERTIFICATE = range(8)
PROXY_USERS = {"caddy": 0, "nginx": 101}  # whom their images run as

# On an engine without a bridge nothing is published and nothing is parted: both use this machine's
# network, on ports and addresses of the tests' own. Health is asked for more often, and a sign of
# life is waited for less long.
ON_THIS_NETWORK = """
services:
  cpu:
    network_mode: host
    networks: !reset null
    healthcheck: {{ interval: 2s }}
    command: [guard, "8", appliance, serve]
    environment:
      APPLIANCE_WEB__HOST: 127.0.0.1
      APPLIANCE_WEB__PORT: "{station}"
      APPLIANCE_WEB__TRUSTED_PROXIES: 127.0.0.1
    volumes: ["{clip}:/clip.avi:ro"]
  proxy:
    network_mode: host
    networks: !reset null
    ports: !reset []
    environment:
      PROXY_BIND: 127.0.0.1
      PROXY_UPSTREAM: "127.0.0.1:{station}"
      PROXY_HTTP_PORT: "{http}"
      PROXY_HTTPS_PORT: "{https}"
"""

# Where there are bridges, the files run as they are: a clip takes the camera's place.
ON_A_LAN = """
services:
  cpu:
    healthcheck: {{ interval: 2s }}
    volumes: ["{clip}:/clip.avi:ro"]
"""


@dataclass(frozen=True, slots=True)
class Box:
    """A folder to run Compose in.

    Attributes:
        engine: on which it runs.
        folder: a copy of docker/.
        url: where browsers find the page.
    """

    engine: Engine
    folder: Path
    url: str

    def run(self, *command: str, **options) -> subprocess.CompletedProcess[str]:
        """One command in the folder, to its end."""
        return self.engine.run(*command, cwd=self.folder, **options)

    def compose(self, *words: str, **options) -> str:
        """What `docker compose` says."""
        return self.run("docker", "compose", *words, **options).stdout

    def appliance(self, *words: str, **options) -> str:
        """What one command of the appliance says, in the running station's container."""
        return self.compose("exec", "-T", SERVICE, "appliance", *words, **options)

    def state(self, form: str, service: str = SERVICE) -> str:
        """One value of a service's container, in Go's template language."""
        return self.engine.inspect(self.container(service), form)

    def container(self, service: str = SERVICE) -> str:
        """The container of a service."""
        return self.compose("ps", "--all", "--quiet", service).strip()

    def typed(self, block: int, **options) -> str:
        """Types one block of the document's commands, each of which must succeed."""
        return self.run("sh", "-ec", f"BOX={SERVICE}\n{blocks()[block]}", **options).stdout

    def trust(self) -> ssl.SSLContext:
        """Brings Caddy's certificate to where the station hands it out, and trusts it."""
        self.typed(TRUST)
        return self.trusted()

    def trusted(self) -> ssl.SSLContext:
        """What somebody has who trusts the authority that the station hands out."""
        return ssl.create_default_context(cafile=self.folder / "secrets" / "ca.crt")


def blocks() -> list[str]:
    """The blocks of commands that the document gives, in their order."""
    section = re.split(r"^## ", INSTALL.read_text().partition(f"{INSTALLING}\n")[2], flags=re.M)[0]
    found = re.findall(r"^ *```sh\n(.*?)^ *```$", section, re.M | re.S)
    assert len(found) == OWN_CERTIFICATE + 1
    return found


def make_box(engine: Engine, folder: Path, name: str, settings: Mapping[str, str]) -> Box:
    """A box that has not been started: the two example files, filled in.

    Args:
        engine: on which it will run, without bridges.
        folder: for the project.
        name: of the Compose project, so of its containers and volumes.
        settings: more variables for station.env.
    """
    https = free_port()
    override = _override(
        folder, ON_THIS_NETWORK, station=free_port(), http=free_port(), https=https
    )
    box = _example(engine, folder, f"https://127.0.0.1:{https}", override)
    fill_in(box.folder / ".env", {"hall3.local": "localhost", BOX_ADDRESS: "127.0.0.1"})
    with (box.folder / ".env").open("a") as more:
        more.write(f"COMPOSE_FILE=compose.yaml:compose.tests.yaml\nCOMPOSE_PROJECT_NAME={name}\n")
    with (box.folder / "station.env").open("a") as more:
        more.writelines(f"{variable}={value}\n" for variable, value in settings.items())
    return box


def make_shipped_box(engine: Engine, folder: Path, proxy: str) -> Box:
    """A box that has not been started: the two example files as they are, but for the camera.

    Args:
        engine: on which it will run, on a LAN.
        folder: for the project.
        proxy: one of PROXY_USERS; Caddy makes its own certificate, nginx gets one.
    """
    box = _example(engine, folder, f"https://{BOX_ADDRESS}", _override(folder, ON_A_LAN))
    files = "compose.yaml"
    if proxy == "nginx":
        files += ":compose.nginx.yaml"
        make_certificate(box, proxy)
    with (box.folder / ".env").open("a") as more:
        more.write(f"COMPOSE_FILE={files}:compose.tests.yaml\n")
    return box


def make_certificate(box: Box, proxy: str) -> None:
    """Makes one of one's own and brings it to its place, by what the documents say."""
    (commands,) = re.findall(r"^```sh\n(openssl req .*?)```$", OPERATE.read_text(), re.M | re.S)
    box.engine.run("sh", "-ec", commands, cwd=box.folder / "certificates")
    (box.folder / "certificates" / "ca.key").unlink()  # it stays elsewhere
    box.typed(OWN_CERTIFICATE, environ={"OWNER": str(PROXY_USERS[proxy])})
    env = box.folder / ".env"
    env.write_text(re.sub(r"^#(PROXY_\w+=)", r"\1", env.read_text(), flags=re.M))


def _example(engine: Engine, folder: Path, url: str, override: str) -> Box:
    """A copy of docker/ with the two files made, and the camera's place taken by a clip."""
    shutil.copytree(DOCKER_DIR, folder / "docker")
    box = Box(engine, folder / "docker", url)
    engine.run("sh", "-ec", blocks()[EXAMPLES], cwd=folder)
    (box.folder / "compose.tests.yaml").write_text(override)
    fill_in(box.folder / "station.env", {"rtsp://192.0.2.20:554/stream1": "/clip.avi"})
    return box


def _override(folder: Path, text: str, **ports: int) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    clip = write_clip(folder / "clip.avi")
    clip.chmod(0o644)
    return text.format(clip=clip, **ports)


def fill_in(path: Path, values: Mapping[str, str]) -> None:
    """Put what is true here in the place of what stands in an example."""
    text = path.read_text()
    for example, value in values.items():
        assert example in text
        text = text.replace(example, value)
    path.write_text(text)


def until(what: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """The first true value of `what()`; nobody who answers counts as not yet."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if value := what():
                return value
        time.sleep(0.2)
    raise AssertionError(f"waited {patience_s} s in vain")
