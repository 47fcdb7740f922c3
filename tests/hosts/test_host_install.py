"""`make install`: what it puts where, and what it leaves alone."""

import re

import pytest

from appliance import __version__
from tests.support.hosts import CONFIG, PIP_CONF, ROOT, STATE, network
from tests.support.machine import machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HOME = "/opt/vision-appliance"
RELEASE = f"{HOME}/releases/{__version__}"


@pytest.fixture(scope="module")
def box(layers, tmp_path_factory):
    """A booted host with the station installed, which sees this checkout and the network."""
    files, variables = network()
    folder = tmp_path_factory.mktemp("install") / "box"
    with machine(layers, folder, binds={"/repo": ROOT, **files}) as made:
        made.path("/etc/pip.conf").write_text(PIP_CONF)
        made.boot()
        made.variables = variables
        yield made


def test_a_release_is_complete_and_is_the_one_that_runs(box):
    """A link, which an update can turn back at once, leads to it."""
    assert str(box.path(f"{HOME}/current").readlink()) == f"releases/{__version__}"
    assert box.path(f"{RELEASE}/complete").is_file()
    assert box.run(f"{HOME}/current/bin/appliance", "version").stdout.strip() == __version__


def test_nothing_tells_of_the_place_where_it_was_made(box):
    """It was made below DESTDIR, and would run nowhere else if a path of that were left."""
    places = f"{RELEASE}/bin {RELEASE}/pyvenv.cfg"
    found = box.shell(f"grep -rlI -e /stage -e partial {places} || true")
    assert found == ""
    first = box.path(f"{RELEASE}/bin/appliance").read_text().splitlines()[0]
    assert first == f"#!{RELEASE}/bin/python"


def test_nothing_is_written_that_others_may_read(box):
    """Settings may hold secrets, so only root reads them; programs are for everybody."""
    modes = box.shell(f"cd {CONFIG}; stat -c '%n %a %U' appliance.env credentials").split()
    assert modes == ["appliance.env", "600", "root", "credentials", "700", "root"]
    assert box.shell(f"find {HOME} /usr/bin/appliance -perm /022 ! -type l") == ""


def test_commands_run_as_the_station_runs(box):
    """With its settings and secrets, as its user; a person at the host needs no more than root."""
    env = box.path(f"{CONFIG}/appliance.env")
    env.write_text(env.read_text() + "APPLIANCE_STATION__NAME=Hall 3\n")
    box.path(f"{CONFIG}/credentials/auth__metrics_token").write_text("0123456789abcdef")
    told = box.run("appliance", "check").stdout
    assert "Hall 3" in told
    assert "appliance_auth__metrics_token" in told
    assert "0123456789abcdef" not in told
    assert box.shell(f"stat -c %U {STATE}").strip() == "vision-appliance"
    made = box.run("appliance", "user", "hash", "ada", "admin", input="a good password\n").stdout
    assert made.startswith("ada:admin:argon2id")
    assert box.run("appliance", "health", check=False).returncode == 1


def test_installing_again_keeps_everything(box):
    """The release that is there is right; settings and state are a person's and the station's.

    So is the kiosk's key, which is made where there is none.
    """
    before = box.path(RELEASE).stat().st_ino
    key = box.path(f"{CONFIG}/credentials/kiosk__key")
    assert not key.exists()  # what was made for many hosts brings none
    kept = (f"{CONFIG}/appliance.env", f"{STATE}/kept", f"{CONFIG}/credentials/auth__users")
    box.run("install", "-d", STATE)
    for path in kept:
        box.path(path).write_text("APPLIANCE_STATION__NAME=mine\n")
    again = ("make", "--directory=/repo", "install")
    box.run("env", *(f"{k}={v}" for k, v in box.variables.items()), *again, timeout=300)
    made = key.read_text()
    assert re.fullmatch("[0-9a-f]{64}", made)
    assert box.shell(f"stat -c '%a %U' {CONFIG}/credentials/kiosk__key") == "600 root\n"
    function = box.shell("sed -n '/^kiosk_key()/,/^}/p' /repo/systemd/install.sh")
    box.shell(f"{function}CONFIG_DIR={CONFIG}\nkiosk_key")
    assert key.read_text() == made
    assert [box.path(path).read_text() for path in kept] == ["APPLIANCE_STATION__NAME=mine\n"] * 3
    assert box.path(RELEASE).stat().st_ino == before


def test_a_python_in_a_home_folder_is_refused(box):
    """The station could not see it: told at once, with what to do, and nothing is made."""
    box.shell("cp /usr/bin/python3 /root/")
    done = box.run("make", "--directory=/repo", "install", "PYTHON=/root/python3", check=False)
    assert done.returncode
    assert "lies in a home folder" in done.stderr
    assert "PYTHON=/usr/bin/python3" in done.stderr
