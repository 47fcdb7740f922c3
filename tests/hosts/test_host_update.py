"""Updates of a host: a file in the inbox, and the real systemd, pip and power."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import __version__
from tests.support.bundles import Keys, archive_of, members_of, real_parts, write_bundle
from tests.support.hosts import STATE, host
from tests.support.models import write_bright_spots

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FOLDER = "/var/lib/vision-appliance-update"
ROOT = "/opt/vision-appliance"
UPDATE = "appliance-update.service"
SWIFT = """
[Service]
ExecStart=
ExecStart=appliance update run --steady-s 4 --grace-s {grace_s}
"""
STATION = """
import json, os, socket, sys, threading, time

def main():
    if sys.argv[1:] == ["check"]:
        CHECK
    elif sys.argv[1:] == ["serve"]:
        BEHAVIOR()

def exits():
    sys.exit("nothing works")

def hangs():
    time.sleep(10**6)

def serves():
    def answer():
        while True:
            with health.accept()[0] as caller:
                caller.send(json.dumps({"ready": True, "health": "ready", "reasons": []}).encode())

    os.chdir(os.environ["STATE_DIRECTORY"])
    if os.path.exists("health.sock"):
        os.remove("health.sock")
    health = socket.socket(socket.AF_UNIX)
    health.bind("health.sock")
    health.listen()
    threading.Thread(target=answer).start()
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(b"READY=1\\nWATCHDOG=1", os.environ["NOTIFY_SOCKET"])
        time.sleep(5)
"""
"""A release that is small and does one thing."""


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """The keys of the maker."""
    return Keys.make(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def small(keys, tmp_path):
    """Makes a bundle of a small release that behaves so."""

    def make(version, behavior, check="pass"):
        code = STATION.replace("BEHAVIOR", behavior).replace("CHECK", check)
        return write_bundle(tmp_path, keys, version, code=code)

    return make


def set_up(made, keys, grace_s=12):
    """A host whose station sees, and which takes updates from this maker."""
    box = made.box
    for key in keys.trusted.iterdir():
        box.path(f"/etc/vision-appliance/update-keys/{key.name}").write_bytes(key.read_bytes())
    folder = box.path(f"/etc/systemd/system/{UPDATE}.d")
    folder.mkdir(parents=True)
    (folder / "90-test.conf").write_text(SWIFT.format(grace_s=grace_s))
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "enable", "appliance.service")
    box.run("systemctl", "enable", "--now", UPDATE, "appliance-update.path")
    made.start_and_wait()
    return made


@pytest.fixture(scope="module")
def updating(layers, keys, tmp_path_factory):
    """A host on which the station sees again after each of its tests.

    Its settings are those of the release before, with a name that is an old one since.
    """
    with host(layers, tmp_path_factory.mktemp("updating") / "box") as made:
        made.configure(APPLIANCE_DETECTION__CONFIDENCE="0.4")
        yield set_up(made, keys)


@pytest.fixture
def own(own_host, keys):
    """A host that a test may do anything to; a release has time for a boot beside other work."""
    return set_up(own_host, keys, grace_s=30)


def bring(made, bundle):
    """Copy a bundle into the inbox as a careful person does: under its name once it is whole."""
    inbox = made.box.path(f"{FOLDER}/inbox")
    partial = inbox / "coming"
    partial.write_bytes(bundle.read_bytes())
    partial.rename(inbox / bundle.name)


def last(made):
    """The newest result, or nothing."""
    path = made.box.path(f"{FOLDER}/results.jsonl")
    return json.loads(path.read_text().splitlines()[-1]) if path.exists() else None


def result_of(made, order, patience_s=180):
    """What became of an order, once it has left the inbox and the update has ended."""
    return made.box.wait_until(
        lambda: (
            (told := last(made))
            and told["order"] == order
            and not made.box.path(f"{FOLDER}/journal.json").exists()
            and told
        ),
        patience_s,
    )


def running(made):
    """The release that `current` leads to."""
    return Path(made.box.path(f"{ROOT}/current").readlink()).name


def step_of(made):
    """Where the update stands."""
    try:
        return json.loads(made.box.path(f"{FOLDER}/journal.json").read_text())["step"]
    except FileNotFoundError:
        return ""


def test_the_units_are_sound(updating):
    """Systemd finds nothing to say about them, and their sandbox is worth its name."""
    units = (UPDATE, "appliance-update.path", "appliance-trial@0.1.0.service")
    done = updating.box.run("systemd-analyze", "verify", *units)
    assert (done.stdout, done.stderr) == ("", "")
    for unit, most in ((UPDATE, "40"), ("appliance-trial@0.1.0.service", "15")):
        updating.box.run("systemd-analyze", "security", f"--threshold={most}", unit)


@pytest.mark.parametrize(("version", "behavior"), [("9.1.0", "exits"), ("9.2.0", "hangs")])
def test_a_release_that_does_not_prove_itself_is_undone(updating, small, version, behavior):
    """One that ends at once, and one that never answers: the station before sees again."""
    bring(updating, small(version, behavior))
    told = result_of(updating, f"{version}.bundle")
    assert (told["is_done"], told["version"]) == (False, __version__), told
    assert "it does not answer" in told["message"]
    updating.box.wait_until(updating.is_ready)
    assert not updating.box.path(f"{ROOT}/releases/{version}").exists()


def test_a_bundle_that_was_tampered_with_is_refused_and_that_is_said(updating, small):
    """The station goes on undisturbed; the journal and the result tell why."""
    content = members_of(small("9.0.0", "serves"))
    name = next(name for name in content if name.startswith("wheels/vision"))
    content[name] += b"\0"
    before = updating.main_pid()
    partial = updating.box.path(f"{FOLDER}/inbox/coming")
    partial.write_bytes(archive_of(*content.items()).getvalue())
    partial.rename(partial.with_name("evil.bundle"))
    told = result_of(updating, "evil.bundle")
    assert not told["is_done"]
    assert updating.main_pid() == before
    assert told["message"] in updating.box.journal(f"--unit={UPDATE}")


def test_a_release_that_does_not_take_the_settings_is_not_switched_to(updating, small):
    """Its own words are told; the station is not stopped for that."""
    missing = "error: APPLIANCE_NEW is missing"
    before = updating.main_pid()
    bring(updating, small("9.3.0", "serves", check=f"sys.exit('{missing}')"))
    told = result_of(updating, "9.3.0.bundle")
    assert (told["is_done"], told["version"]) == (False, __version__)
    assert "does not take this box's settings: APPLIANCE_NEW is missing" in told["message"]
    assert updating.main_pid() == before


def test_a_bundle_in_the_inbox_updates_the_host_and_a_file_takes_it_back(updating, keys, tmp_path):
    """The whole release, made by the command, installed without a network, and undone again."""
    lock, wheels = real_parts(tmp_path, "9.9.9")
    bundle = tmp_path / "station.bundle"
    write_bright_spots(tmp_path / "state" / "models" / "spots-of-tomorrow")
    command = [sys.executable, "-m", "appliance", "bundle", f"--out={bundle}"]
    command += [f"--key={keys.private}", f"--requirements={lock}", f"--wheels={wheels}"]
    command += ["--model=spots-of-tomorrow"]
    environ = {**os.environ, "APPLIANCE_PATHS__STATE": str(tmp_path / "state")}
    subprocess.run(command, env=environ, check=True, timeout=120)
    bring(updating, bundle)
    told = result_of(updating, "station.bundle", patience_s=400)
    assert (told["is_done"], told["version"]) == (True, "9.9.9"), told
    assert updating.is_ready()
    assert "9.9.9" in updating.box.run("appliance", "version").stdout
    journal = updating.box.journal("--unit=appliance.service")
    assert "write APPLIANCE_CAMERAS__GATE__CONFIDENCE=0.4 in its place" in journal
    models = updating.box.run("appliance", "models", "list").stdout.splitlines()
    assert any(line.startswith("spots-of-tomorrow ") and " here" in line for line in models)
    # The station's own user can tell what became of it.
    said = updating.box.run("appliance", "update", "last").stdout
    assert "release 9.9.9 runs" in said

    (updating.box.path(f"{FOLDER}/inbox") / "rollback").touch()
    told = result_of(updating, "rollback")
    assert (told["is_done"], told["version"]) == (True, __version__), told
    assert updating.is_ready()


@pytest.mark.parametrize("step", ["preparing", "watching"])
def test_a_power_cut_in_the_middle_of_an_update_is_no_harm(own, small, step):
    """The update goes on at the next boot, by itself."""
    bring(own, small("9.0.0", "serves"))
    own.box.wait_until(lambda: step_of(own) == step)
    own.box.power_cut()
    assert running(own) in {__version__, "9.0.0"}
    own.box.boot()
    told = result_of(own, "9.0.0.bundle")
    assert (told["is_done"], told["version"]) == (True, "9.0.0"), told
    assert own.box.show("appliance.service", "ActiveState") == "active"


def test_a_power_cut_while_a_broken_release_is_watched_ends_with_the_old_one(own, small):
    """The broken one cannot mend itself: the one before does."""
    bring(own, small("9.0.0", "exits"))
    own.box.wait_until(lambda: step_of(own) == "watching")
    own.box.power_cut()
    assert running(own) == "9.0.0"
    own.box.boot()
    told = result_of(own, "9.0.0.bundle")
    assert (told["is_done"], told["version"]) == (False, __version__), told
    own.box.wait_until(own.is_ready)
    assert own.box.run("stat", "--format=%U", STATE).stdout.strip() == "vision-appliance"
