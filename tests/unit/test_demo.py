"""The demonstration: everything is brought and built, then a station with a new password."""

import re
from types import SimpleNamespace

import pytest

from appliance import cli
from appliance.app.demo import CLIP, USER, prepare_demo
from appliance.pipeline.start_up import process_age_s
from appliance.settings import load, prepare_process
from appliance.settings.secrets import verify_password
from tests.support.models import write_bright_spots
from tests.support.process import write_clip
from tests.support.web import cheap_hash


def progress(_stage, _share):
    """Told to nobody."""


@pytest.fixture
def environ(tmp_path):
    """A box that has model and clip already, so that nothing is downloaded."""
    variables = {
        "APPLIANCE_PATHS__STATE": str(tmp_path / "state"),
        "APPLIANCE_PATHS__CACHE": str(tmp_path / "cache"),
        "APPLIANCE_MODEL": "bright-spots",
        "APPLIANCE_WEB__PORT": "8123",
        "APPLIANCE_WEB__BASE_PATH": "/cam",
    }
    prepare_process(load(variables).settings.paths, environ=dict(variables))
    write_bright_spots(tmp_path / "state" / "models" / "bright-spots")
    (tmp_path / "state" / "demo").mkdir()
    write_clip(tmp_path / "state" / "demo" / "street.mp4")
    return variables


@pytest.mark.slow
def test_the_stage_is_a_station_that_can_start(environ):
    """One camera plays the clip, one administrator signs in with the password that is told."""
    said, stages = [], []
    stage = prepare_demo(environ, said.append, lambda stage, _: stages.append(stage))
    settings = load(stage.environ).settings
    assert settings.cameras["street"].url.endswith("/demo/street.mp4")
    (user,) = settings.auth.users
    password = re.search(r"Password +(\S+)", stage.welcome).group(1)
    assert (user.name, str(user.role)) == (USER, "admin")
    assert verify_password(user.hash.get_secret_value(), password)
    assert "http://127.0.0.1:8123/cam/" in stage.welcome
    assert any("bright-spots" in sentence for sentence in said)
    assert "Optimizing the graph" in stages


@pytest.mark.slow
def test_every_run_has_its_own_password(environ):
    """No demonstration in the world shares one, and none is kept."""
    users = {
        prepare_demo(environ, str, progress).environ["APPLIANCE_AUTH__USERS"] for _ in range(2)
    }
    assert len(users) == 2


@pytest.mark.slow
def test_what_a_person_has_set_wins(environ):
    """With users of their own, no password is made up and none is told."""
    own = {
        "APPLIANCE_AUTH__USERS": f"ada:admin:{cheap_hash('secret')}",
        "APPLIANCE_STATION__NAME": "Mine",
    }
    mine = {**environ, **own}
    stage = prepare_demo(mine, str, progress)
    settings = load(stage.environ).settings
    assert [user.name for user in settings.auth.users] == ["ada"]
    assert settings.station.name == "Mine"
    assert "Password" not in stage.welcome


def test_the_clip_is_pinned():
    """What is downloaded is one file of one version, checked by its hash."""
    assert re.fullmatch(r"[\d.]+", CLIP.version)
    (member,) = CLIP.members.values()
    assert re.fullmatch(r"[0-9a-f]{64}", member.sha256)


def test_the_start_is_counted_from_the_stations(environ, monkeypatch):
    """The build before it, which may take a minute, is no part of it."""
    served = []
    told = SimpleNamespace(environ=environ, welcome="")
    monkeypatch.setattr(cli, "prepared_paths", lambda: None)
    monkeypatch.setattr("appliance.app.demo.prepare_demo", lambda *_: told)
    monkeypatch.setattr(cli, "_start", lambda _: (None, None))
    monkeypatch.setattr(cli, "_serve", lambda *_, age_s: served.append(age_s()))
    cli.demo()
    assert 0 <= served[0] < process_age_s()
