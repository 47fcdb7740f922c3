"""A backup of the real station, made while it runs, and brought back to another one."""

import subprocess
import sys

import pytest

from tests.support.process import run, started, station_environ

pytestmark = [pytest.mark.slow]

FOLDERS = ("STATE", "CACHE")


@pytest.fixture
def environ(tmp_path):
    """A station that watches nothing: its state is what counts."""
    return station_environ(tmp_path / "one")


def test_a_station_goes_on_from_a_backup(environ, tmp_path):
    """Made while it runs: who was signed in still is, on a box that has only the backup."""
    backup = tmp_path / "station.backup"
    with started(environ, tmp_path / "log") as station:
        station.wait_until_ready()
        cookie = station.sign_in()
        made = run(environ, "backup", str(backup))
        assert made.returncode == 0, made.stderr
        refused = run(environ, "restore", str(backup))
        assert refused.returncode == 1
        assert "another station runs" in refused.stderr
        assert station.ready().status_code == 200
        station.stop()

    paths = {f"APPLIANCE_PATHS__{name}": str(tmp_path / "two" / name.lower()) for name in FOLDERS}
    other = {**environ, **paths}
    brought = run(other, "restore", str(backup))
    assert brought.returncode == 0, brought.stderr
    with started(other, tmp_path / "log") as station:
        station.wait_until_ready()
        assert station.get("/").status_code == 401
        assert station.get("/", Cookie=cookie).headers["location"] == "/ui/"


def test_a_backup_goes_through_pipes(environ, tmp_path):
    """As into a container and out of it, where no file of the host is seen."""
    command = [sys.executable, "-m", "appliance"]
    made = subprocess.run([*command, "backup", "-"], env=environ, capture_output=True, check=True)
    other = {**environ, "APPLIANCE_PATHS__STATE": str(tmp_path / "two")}
    subprocess.run([*command, "restore", "-"], env=other, input=made.stdout, check=True)
    card = "models/bright-spots/model.toml"
    assert (tmp_path / "two" / card).read_text() == (tmp_path / "one/state" / card).read_text()


def test_a_backup_is_never_written_over_another(environ, tmp_path):
    """It may be the only good one."""
    precious = tmp_path / "station.backup"
    precious.write_text("mine")
    done = run(environ, "backup", str(precious))
    assert done.returncode == 1
    assert "File exists" in done.stderr
    assert precious.read_text() == "mine"


def test_wrong_settings_are_not_in_the_way_of_a_backup(environ, tmp_path):
    """It may be what is needed to set them right elsewhere."""
    done = run({**environ, "APPLIANCE_WEB__PORT": "wrong"}, "backup", str(tmp_path / "b"))
    assert done.returncode == 0, done.stderr
