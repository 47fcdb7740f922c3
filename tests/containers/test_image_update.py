"""docker/update.sh: to another version and back, whatever happens, with a real engine."""

import fcntl
import itertools
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest

from tests.support.boxes import BOOT, DOCKER_DIR, blocks, make_box
from tests.support.versions import READY, WELL, crashing_client, make_version

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAME = "vision-appliance:cpu"
HASTE = {"READY_S": "3", "WATCH_S": "1"}
CHANGES = 6  # of an update that goes well
PATIENCE_S = 20.0
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def versions(bare_engine):
    """Version 1, and others to update to, by name: their ids."""
    kinds = {
        "v1": {},
        "v2": {},
        "never-ready": {"serve": ":"},
        "ends-at-once": {"serve": "exit 3"},
        "ends-after-a-while": {"serve": f"{WELL}; sleep 1; rm {READY}; exit 3"},
        "wrong-settings": {"check": 78},
        "builds-nothing": {"build": 1},
        "migrates-and-fails": {"form": 2, "serve": ":"},
    }
    return {
        kind: make_version(bare_engine, f"registry.example/station:{kind}", **options)
        for kind, options in kinds.items()
    }


@pytest.fixture
def box(bare_engine, versions, tmp_path):
    """A box on which version 1 runs and is ready."""
    with standing_aside(bare_engine):
        bare_engine.docker("tag", versions["v1"], NAME)
        box = make_box(bare_engine, tmp_path / "box", f"update-{next(numbers)}", {})
        box.compose("up", "--detach")
        until_ready(box)
        yield box
        box.compose("down", "--volumes", "--timeout", "2")


@contextmanager
def standing_aside(engine):
    """Keeps the image that the other tests have built, whose name is needed here."""
    ours, kept = (NAME, f"{NAME}-previous", f"{NAME}-trial"), "kept:aside"
    was_there = engine.run("docker", "tag", NAME, kept, check=False).returncode == 0
    yield
    for name in ours:
        engine.run("docker", "image", "rm", "--no-prune", name, check=False)
    if was_there:
        engine.docker("tag", kept, NAME)
        engine.docker("image", "rm", kept)


def until_ready(box):
    """The version that runs says that it is ready."""
    ask = ("docker", "compose", "exec", "-T", "cpu", "appliance", "health")
    deadline = time.monotonic() + PATIENCE_S
    while box.run(*ask, check=False).returncode:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def update(box, *words, **environ):
    """What update.sh says, and its exit code."""
    return box.run("./update.sh", *words, environ={**HASTE, **environ}, check=False)


def running(box):
    """The id of the version that runs."""
    assert box.state("{{.State.Running}}") == "true"
    return box.state("{{.Image}}")


def named(box, name):
    """The id behind a name; empty where there is none."""
    form = "--format={{.Id}}"
    return box.run("docker", "image", "inspect", form, name, check=False).stdout.strip()


def test_a_version_that_does_well_stays_and_the_one_before_is_kept(box, versions):
    """By the exact id; the way back is one command."""
    assert update(box, "registry.example/station:v2").returncode == 0
    assert running(box) == versions["v2"]
    assert named(box, f"{NAME}-previous") == versions["v1"]
    assert named(box, f"{NAME}-trial") == ""
    assert update(box, "back").returncode == 0
    assert running(box) == versions["v1"]
    assert named(box, f"{NAME}-previous") == versions["v2"]


@pytest.mark.parametrize("kind", ["never-ready", "ends-at-once", "ends-after-a-while"])
def test_a_version_that_does_not_do_well_gives_way_by_itself(box, versions, kind):
    """Not ready in time, ending again and again, or well only for a moment: nobody has to come."""
    done = update(box, f"registry.example/station:{kind}", WATCH_S="8")
    assert done.returncode == 1
    assert "did not do well; the version before runs again" in done.stderr
    assert running(box) == versions["v1"]
    assert named(box, f"{NAME}-trial") == ""


@pytest.mark.parametrize("kind", ["wrong-settings", "builds-nothing"])
def test_what_can_be_known_before_is_and_nothing_stops_for_it(box, versions, kind):
    """A version that refuses the settings or builds no engine never takes the old one's place."""
    container = box.container()
    done = update(box, f"registry.example/station:{kind}")
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert (running(box), box.container()) == (versions["v1"], container)
    assert named(box, f"{NAME}-previous") == ""


def test_a_state_that_the_version_before_cannot_read_is_brought_back(box, versions):
    """The new one has migrated it before it failed: the backup from before the switch returns."""
    assert update(box, "registry.example/station:migrates-and-fails").returncode == 1
    assert running(box) == versions["v1"]
    until_ready(box)
    assert box.compose("exec", "-T", "cpu", "cat", "/var/lib/vision-appliance/form") == "1\n"


def test_a_station_that_was_not_ready_can_be_updated(box, versions):
    """A camera's model is away, say: the new version has to run on, and no more."""
    box.compose("exec", "-T", "cpu", "rm", READY)
    assert update(box, "registry.example/station:never-ready").returncode == 0
    assert running(box) == versions["never-ready"]


def test_the_version_that_runs_is_no_update(box, versions):
    """And what is no image at all changes nothing."""
    assert "runs already" in update(box, "registry.example/station:v1").stderr
    assert update(box, "registry.example/station:nobody-made-this").returncode != 0
    assert running(box) == versions["v1"]


@pytest.mark.parametrize("at", range(2, CHANGES + 1))
def test_power_that_is_lost_between_any_two_changes_leaves_a_version_that_works(
    box, versions, tmp_path, at
):
    """Cut off before the second to the last change: the next boot has one that is ready."""
    client = crashing_client(box.engine, tmp_path / "client", at)
    path = f"{client}:{box.engine.environ['PATH']}"
    environ = {**box.engine.environ, **HASTE, "PATH": path}
    command = ["./update.sh", "registry.example/station:v2"]
    cut = subprocess.run(
        command, cwd=box.folder, env=environ, start_new_session=True, check=False, timeout=120
    )
    assert cut.returncode == -signal.SIGKILL
    assert update(box, "resume").returncode == 0
    until_ready(box)
    proven = at == CHANGES
    assert running(box) == versions["v2" if proven else "v1"]
    assert named(box, NAME) == running(box)
    assert named(box, f"{NAME}-trial") == ""


def test_two_updates_at_once_are_one(box):
    """The second is told so."""
    with (box.folder / ".update.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert "another update is under way" in update(box, "resume").stderr


def test_each_boot_undoes_what_was_cut_off(box, tmp_path):
    """The box's systemd takes the unit without a word, and it is the one that is documented."""
    unit = DOCKER_DIR / "vision-appliance.service"
    assert f"enable --now /opt/vision-appliance/docker/{unit.name}\n" in blocks()[BOOT]
    here = tmp_path / unit.name
    here.write_text(unit.read_text().replace("/opt/vision-appliance/docker", str(box.folder)))
    (tmp_path / "docker.service").write_text("[Service]\nExecStart=/bin/true\n")
    verify = ["systemd-analyze", "verify", str(here)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (command,) = re.findall(r"^ExecStart=(.*)$", here.read_text(), re.M)
    box.run(*command.split())


def test_the_scripts_of_containers_have_no_finding():
    """By ShellCheck, as POSIX shell."""
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("not installed: shellcheck")
    scripts = sorted(DOCKER_DIR.glob("*.sh"))
    assert scripts
    assert all(os.access(script, os.X_OK) for script in scripts)
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
