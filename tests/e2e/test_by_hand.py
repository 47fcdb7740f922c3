"""The lines that documents tell people to type by hand, in a real shell and a clone."""

import os
import subprocess

import pytest

from appliance.settings import load
from appliance.settings.secrets import verify_password
from tests.support.commands import ROOT, blocks
from tests.support.models import write_bright_spots
from tests.support.process import free_port, write_clip

pytestmark = pytest.mark.slow

MODEL = "centernet-mobilenetv3"
CAMERA = "rtsp://192.0.2.10:554/stream1"


@pytest.fixture
def shell(tmp_path):
    """Types lines in the clone, with a home of their own and nothing else in the environment."""
    home = {"HOME": str(tmp_path), "PATH": os.defpath, "APPLIANCE_WEB__PORT": str(free_port())}

    def shell(lines, **environ):
        return subprocess.run(
            ["sh", "-ec", lines],
            cwd=ROOT,
            env={**home, **environ},
            input="correct horse\n",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return shell


def test_the_readmes_lines_lead_to_a_station(shell, tmp_path):
    """As they stand, but for the camera and the last: what would be served is printed instead.

    The weights are a small model's, which is there already, so nothing is downloaded.
    """
    write_bright_spots(tmp_path / ".local" / "state" / "vision-appliance" / "models" / MODEL)
    (lines,) = blocks("README.md", "## Run a station")
    assert CAMERA in lines
    assert lines.endswith("appliance serve\n")
    lines = lines.replace(CAMERA, str(write_clip(tmp_path / "clip.avi")))
    lines = lines.removesuffix("appliance serve\n") + 'appliance check\nenv -0 >"$HOME/environ"\n'
    done = shell(lines)
    assert done.returncode == 0, done.stderr
    assert "The settings are right." in done.stdout
    pairs = (tmp_path / "environ").read_text().split("\0")
    auth = load(dict(pair.split("=", 1) for pair in pairs if pair)).settings.auth
    (user,) = auth.users
    assert (user.name, str(user.role)) == ("ada", "admin")
    assert verify_password(user.hash.get_secret_value(), "correct horse")


def test_the_line_that_builds_a_model_of_ones_own(shell, tmp_path):
    """In the folder that the page names, with the frames that it names."""
    state = tmp_path / "state"
    write_bright_spots(state / "models" / "parts")
    (line,) = blocks("docs/heads.md", "## The folder, and the build")
    assert "/srv/parts.mp4" in line
    done = shell(
        line.replace("/srv/parts.mp4", str(write_clip(tmp_path / "clip.avi"))),
        PATH=f"{ROOT / '.venv/bin'}:{os.defpath}",
        APPLIANCE_PATHS__STATE=str(state),
        APPLIANCE_MODEL="parts",
    )
    assert done.returncode == 0, done.stderr
    assert "parts" in done.stdout


def test_a_token_is_made_by_the_documented_line(shell):
    """The token, and its line in the settings."""
    (line,) = (
        each
        for each in blocks("docs/integrate.md", "## Let them in")
        if each.startswith("appliance token new")
    )
    done = shell(line, PATH=f"{ROOT / '.venv/bin'}:{os.defpath}")
    assert done.returncode == 0, done.stderr
    *_, setting = done.stdout.splitlines()
    assert load({"APPLIANCE_AUTH__TOKENS": setting}).settings.auth.tokens[0].name == "recorder"
