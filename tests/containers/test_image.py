"""The image of the CPU box, as Docker's own engine builds and describes it."""

import json
import subprocess

import pytest

from appliance import __version__
from tests.support.dockerd import DOCKER, IMAGE, MARKER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LARGEST_BYTES = 900 * 10**6
BUILDS = ("cc", "c++", "gcc", "g++", "make", "ld", "as", "pip", "pip3", "npm", "node", "uv")
"""Programs that make or bring other programs."""


@pytest.fixture(scope="module")
def config(engine):
    """What the image says of itself."""
    return json.loads(engine.inspect(IMAGE, "{{json .Config}}"))


def inside(engine, *command):
    """What a command in a fresh container says: without a network, on a read-only root."""
    shut = ("--rm", "--network=none", "--read-only", "--cap-drop=ALL", "--tmpfs=/tmp")
    return engine.docker("run", *shut, IMAGE, *command)


def test_it_is_small(engine):
    """Below 900 MB, also on a base that is larger than the usual one."""
    assert int(engine.inspect(IMAGE, "{{.Size}}")) < LARGEST_BYTES


def test_it_says_what_it_is(engine, config):
    """Version, revision and license stand in the labels that registries and scanners read."""
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in config["Labels"].items()
    }
    assert labels["title"] == "Vision Appliance"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"] == __version__
    assert len(labels["revision"]) == 40
    assert inside(engine, "appliance", "version").strip() == __version__


def test_it_runs_as_nobody_in_particular_and_asks_itself_how_it_is(config):
    """One numeric user, two volumes, one command, health by the appliance's own word."""
    assert config["User"] == "10001:10001"
    assert set(config["Volumes"]) == {"/var/lib/vision-appliance", "/var/cache/vision-appliance"}
    assert config["Cmd"] == ["guard", "60", "appliance", "serve"]
    assert config["Entrypoint"] is None
    assert config["Healthcheck"]["Test"] == ["CMD", "appliance", "health"]
    assert set(config["ExposedPorts"]) == {"8080/tcp"}


def test_nothing_in_it_builds_or_installs(engine):
    """No compiler, no pip, no Node, no lists or archives of packages."""
    look = f"for it in {' '.join(BUILDS)}; do command -v $it; done; python3 -m pip --version"
    assert inside(engine, "sh", "-c", f"{look} 2>/dev/null || true") == ""
    left = "find /var/lib/apt/lists /var/cache/apt /root -type f -size +0 | grep -v '/root/\\.'"
    assert inside(engine, "sh", "-c", f"{left} 2>/dev/null || true") == ""


def test_registry_settings_and_authorities_of_the_builder_are_in_no_layer(engine):
    """What reached the build as a secret is neither in a file nor in the image's history."""
    assert MARKER not in engine.docker("history", "--no-trunc", IMAGE)
    with subprocess.Popen(
        [DOCKER, "save", IMAGE], env=engine.environ, stdout=subprocess.PIPE
    ) as saving:
        found = subprocess.run(
            ["grep", "--text", "--count", "--fixed-strings", MARKER],
            stdin=saving.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
    assert saving.returncode == 0
    assert found.stdout.strip() == "0"


def test_the_model_is_in_it(engine):
    """A box without a network runs it: weights came with the build, checked by their sums."""
    assert "here" in inside(engine, "appliance", "models", "list").split("centernet")[1]


def test_a_station_of_its_own_never_writes_outside_its_volumes(engine):
    """On a read-only root every setting's check passes."""
    assert "The settings are right." in inside(engine, "appliance", "check")
