"""Installing an unpacked bundle, by the real pip, without a network."""

import subprocess

import pytest

from appliance.delivery.admission import Box, admit
from appliance.delivery.install import install
from appliance.delivery.service import unit_name
from appliance.errors import DeliveryError
from tests.support.bundles import Keys, write_bundle

CODE = """
import small_part
from pathlib import Path

def main():
    print(*(path.read_text() for path in Path(__file__).parent.glob("models/*/model.toml")))
"""


@pytest.fixture
def unpacked(tmp_path):
    """An unpacked bundle whose command prints the cards that came with it."""
    keys = Keys.make(tmp_path / "keys")
    card = tmp_path / "card"
    card.write_text("the card")
    models = {"gate/model.toml": card}
    bundle = write_bundle(tmp_path, keys, "0.2.0", code=CODE, models=models)
    folder = tmp_path / "unpacked"
    folder.mkdir()
    with bundle.open("rb") as stream:
        admit(stream, Box.here("0.1.0", newest="0.1.0"), keys=keys.trusted, into=folder)
    return folder


@pytest.mark.slow
def test_a_release_runs_from_its_own_folder(unpacked, tmp_path, monkeypatch):
    """With its models, whatever somebody has told pip on this machine."""
    nowhere = tmp_path / "pip.conf"
    nowhere.write_text("[install]\nprefix = /nowhere\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(nowhere))
    monkeypatch.setenv("PIP_TARGET", "/nowhere")
    release = tmp_path / "releases" / "0.2.0"
    install(unpacked, release)
    command = str(release / "bin" / "appliance")
    said = subprocess.run([command], capture_output=True, text=True, check=True).stdout
    assert said == "the card\n"


@pytest.mark.slow
def test_a_wheel_that_is_not_the_signed_one_is_not_installed(unpacked, tmp_path):
    """Pip checks once more, by the hashes of the signed list."""
    (wheel,) = unpacked.glob("wheels/small_part*")
    with wheel.open("ab") as file:
        file.write(b"more")
    with pytest.raises(DeliveryError, match=r"cannot be installed here: .*HASHES"):
        install(unpacked, tmp_path / "release")


def test_versions_fit_into_names_of_units():
    """Whatever a version may hold comes back as it was."""
    for version in ("0.2.0", "1.0rc1", "1!2.0", "2.0+hall.3"):
        name = unit_name(version)
        assert name.isascii()
        assert not set(name) & set("+!/ ")
    assert unit_name("2.0+hall.3") == r"appliance-trial@2.0\x2bhall.3.service"
