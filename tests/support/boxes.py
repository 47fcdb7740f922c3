"""A box with the station in containers: a copy of docker/, set up by what docs/install.md says."""

import re
import shutil
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.dockerd import ROOT, Engine
from tests.support.process import free_port, write_clip

SERVICE = "cpu"
DOCKER_DIR = ROOT / "docker"
INSTALL = ROOT / "docs" / "install.md"
INSTALLING = "## x86 with Docker"
# Which of the document's blocks of commands does what.
PLACE, BUILD, EXAMPLES, SECRETS, START, TRUST, BOOT = range(7)

# There is no bridge network here, so nothing is published and nothing is parted: both use this
# machine's network, on ports and addresses of the tests' own. Health is asked for more often, and a
# sign of life is waited for less long.
OVERRIDE = """
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


@dataclass(frozen=True, slots=True)
class Box:
    """A folder to run Compose in.

    Attributes:
        engine: on which it runs.
        folder: a copy of docker/.
        station_port: where the station listens, without TLS.
        https_port: where the proxy listens.
    """

    engine: Engine
    folder: Path
    station_port: int
    https_port: int

    @property
    def url(self) -> str:
        """Where browsers find the page."""
        return f"https://127.0.0.1:{self.https_port}"

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
        return ssl.create_default_context(cafile=self.folder / "secrets" / "ca.crt")


def blocks() -> list[str]:
    """The blocks of commands that the document gives, in their order."""
    section = re.split(r"^## ", INSTALL.read_text().partition(f"{INSTALLING}\n")[2], flags=re.M)[0]
    found = re.findall(r"^ *```sh\n(.*?)^ *```$", section, re.M | re.S)
    assert len(found) == BOOT + 1
    return found


def make_box(engine: Engine, folder: Path, name: str, settings: Mapping[str, str]) -> Box:
    """A box that has not been started: the two example files, filled in.

    Args:
        engine: on which it will run.
        folder: for the project.
        name: of the Compose project, so of its containers and volumes.
        settings: more variables for station.env.
    """
    shutil.copytree(DOCKER_DIR, folder / "docker")
    clip = write_clip(folder / "clip.avi")
    clip.chmod(0o644)
    box = Box(engine, folder / "docker", free_port(), free_port())
    engine.run("sh", "-ec", blocks()[EXAMPLES], cwd=folder)
    (box.folder / "compose.tests.yaml").write_text(
        OVERRIDE.format(station=box.station_port, http=free_port(), https=box.https_port, clip=clip)
    )
    fill_in(box.folder / ".env", {"hall3.local": "localhost", "192.0.2.10": "127.0.0.1"})
    with (box.folder / ".env").open("a") as more:
        more.write(f"COMPOSE_FILE=compose.yaml:compose.tests.yaml\nCOMPOSE_PROJECT_NAME={name}\n")
    fill_in(box.folder / "station.env", {"rtsp://192.0.2.20:554/stream1": "/clip.avi"})
    with (box.folder / "station.env").open("a") as more:
        more.writelines(f"{variable}={value}\n" for variable, value in settings.items())
    return box


def fill_in(path: Path, values: Mapping[str, str]) -> None:
    """Put what is true here in the place of what stands in an example."""
    text = path.read_text()
    for example, value in values.items():
        assert example in text
        text = text.replace(example, value)
    path.write_text(text)
