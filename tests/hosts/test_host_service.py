"""The station as a service of a systemd that was really booted."""

import re
import time
from pathlib import Path

import pytest

from tests.support.hosts import CACHE, CONFIG, STATE, UNIT, host
from tests.support.process import TOKEN

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SOON = "[Service]\nRestartSec=50ms\n"
"""A drop-in for tests that need not wait as long as a box may."""

FREEZE = f"{STATE}/freeze"
FREEZER = f"""
import os, sys, threading, time

def freeze():
    while not os.path.exists("{FREEZE}"):
        time.sleep(0.05)
    os.remove("{FREEZE}")
    sys.modules["appliance.pipeline.loop"].Loop._turn = lambda *_: time.sleep(10**6)

threading.Thread(target=freeze, daemon=True).start()
"""
"""A sitecustomize.py: on demand, the next turn of the loop never ends."""

OWN = {STATE, CACHE, "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue"}  # noqa: S108 - private ones
"""Where the station may write; what is in none of the first two ends with it."""


@pytest.fixture(scope="module")
def seeing(layers, tmp_path_factory):
    """A host whose station sees; nothing in these tests harms it."""
    with host(layers, tmp_path_factory.mktemp("seeing") / "box") as made:
        made.start_and_wait()
        yield made


@pytest.fixture(scope="module")
def kept(layers, tmp_path_factory):
    """Another host, for `changing`."""
    with host(layers, tmp_path_factory.mktemp("changing") / "box") as made:
        yield made


@pytest.fixture
def changing(kept):
    """A host whose station is off and as it was installed; settings and unit may be changed."""
    yield kept
    kept.configure()
    kept.box.shell(
        f"systemctl stop {UNIT}; systemctl disable {UNIT}\n"
        f"rm -rf /etc/systemd/system/{UNIT}.d; systemctl daemon-reload\n"
        f"systemctl reset-failed {UNIT} || true  # systemd has forgotten one that has not failed\n"
        "journalctl --rotate --vacuum-time=1us"
    )
    assert restarts(kept) == 0
    assert UNIT not in kept.box.journal()


def status_of(made):
    """The lines of the station's /proc/PID/status, by name."""
    text = made.box.shell(f"cat /proc/{made.main_pid()}/status")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def in_its_place(made, script):
    """Lines of shell run by root, in the file system as the station sees it; what they print."""
    place = ("nsenter", f"--target={made.main_pid()}", "--mount", "--")
    return made.box.run(*place, "sh", "-e", input=script).stdout


def restarts(made):
    """How often systemd has started the station again."""
    return int(made.box.show(UNIT, "NRestarts"))


# What runs.


def test_the_station_tells_systemd_that_it_is_up_and_sees(seeing):
    """Frames go through the model, and systemd shows how the station is."""
    before = seeing.metric("appliance_frames_inferred_total")
    seeing.box.wait_until(lambda: seeing.metric("appliance_frames_inferred_total") > before)
    assert seeing.box.show(UNIT, "SubState") == "running"
    seeing.box.wait_until(lambda: seeing.box.show(UNIT, "StatusText") == "Ready")


def test_the_page_answers_as_soon_as_the_unit_counts_as_started(changing):
    """Who waits for the unit, as a proxy does, finds the page."""
    changing.start()
    assert changing.answers()


def test_it_starts_with_the_machine(changing):
    """Enabled once, it needs nobody."""
    changing.box.run("systemctl", "enable", UNIT)
    changing.box.power_off()
    changing.box.boot()
    changing.box.wait_until(changing.is_ready)


# What it may.


def test_the_station_has_no_rights(seeing):
    """Not root, no capability and none to be had, and its system calls are filtered."""
    told = status_of(seeing)
    user = int(seeing.box.shell("id --user vision-appliance"))
    assert user
    assert set(map(int, told["Uid"].split())) == {user}
    assert {int(told[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")


@pytest.mark.parametrize("user", ["root", "vision-appliance"])
def test_the_station_writes_into_its_own_folders_and_nowhere_else(seeing, user):
    """Not even root could, from where the station is, but for pseudo devices."""
    tried, written = in_its_place(
        seeing,
        f"""
        {{ find / -xdev -maxdepth 3 -type d; cut -d ' ' -f 5 /proc/self/mountinfo; }} |
          grep -v -e '^/proc' -e '^/sys' >/tmp/folders
        wc -l </tmp/folders
        setpriv --reuid={user} --regid={user} --clear-groups sh -c '
          while read -r folder; do
            if [ -d "$folder" ] && touch "$folder/probe" 2>/dev/null; then
              rm "$folder/probe"; echo "$folder"; fi
          done' </tmp/folders
        """,
    ).split(maxsplit=1)
    own = {*OWN, "/dev"} if user == "root" else OWN
    outside = [
        each
        for each in written.splitlines()
        if not any(Path(each).is_relative_to(folder) for folder in own)
    ]
    assert int(tried) > 100
    assert {STATE, CACHE} <= set(written.splitlines())
    assert outside == []


def test_what_lies_in_its_folders_is_not_executed(seeing):
    """A program that somebody brought in as a model stays a file."""
    tried = f"cp /bin/true {STATE}/true; if {STATE}/true 2>&1; then echo ran; fi; rm {STATE}/true"
    assert "Permission denied" in in_its_place(seeing, tried)


def test_no_device_of_the_host_is_there(seeing):
    """The usual pseudo devices, and no disk, camera or terminal."""
    there = set(in_its_place(seeing, "ls /dev").split())
    assert {"null", "urandom"} <= there
    assert not [name for name in there if re.match(r"(sd|vd|nvme|video|kmsg|mem|console)", name)]


def test_cameras_at_the_box_are_opened_by_an_option(changing):
    """Linked as the documentation says, it gives the station what is the video group's."""
    changing.box.shell(
        "install -m 660 -g video /dev/null /srv/for-video; "
        f"mkdir /etc/systemd/system/{UNIT}.d; "
        f"ln -s /usr/share/vision-appliance/options/camera.conf /etc/systemd/system/{UNIT}.d/"
    )
    changing.drop_in("[Service]\nExecStartPre=/usr/bin/cat /srv/for-video\n")
    changing.start_and_wait()
    video = changing.box.shell("getent group video").split(":")[2]
    assert video in status_of(changing)["Groups"].split()


def test_what_steps_back_may(seeing):
    """Password checks and builds let everything else go first, which the sandbox leaves them."""
    assert seeing.sign_in("ada").status_code == 303
    assert "may end the station in its place" not in seeing.box.journal()


# Secrets.


def test_a_secret_reaches_the_station_and_shows_nowhere(seeing):
    """A credential is at work, and is in no property, variable, argument or log line."""
    assert seeing.is_ready()  # it took TOKEN
    assert seeing.sign_in("ada").status_code == 303
    pid = seeing.main_pid()
    shown = seeing.box.shell(
        f"systemctl show {UNIT}; systemctl cat {UNIT}; systemctl status {UNIT}; journalctl --boot; "
        f"tr '\\0' '\\n' </proc/{pid}/environ; tr '\\0' ' ' </proc/{pid}/cmdline"
    )
    assert "CREDENTIALS_DIRECTORY" in shown
    assert TOKEN not in shown
    assert "argon2id" not in shown


def test_the_files_of_secrets_are_for_root_alone(seeing):
    """The station itself sees no more than what was handed to it."""
    assert seeing.box.shell(f"stat -c %a {CONFIG}/credentials").strip() == "700"
    assert seeing.box.shell(f"stat -c %a {CONFIG}/appliance.env").strip() == "600"


# What goes wrong.


def test_a_killed_station_is_started_again(changing):
    """Whatever killed it."""
    changing.drop_in(SOON)
    changing.start_and_wait()
    changing.box.run("kill", "-KILL", str(changing.main_pid()))
    changing.box.wait_until(lambda: restarts(changing) == 1 and changing.is_ready())


def test_a_process_that_stands_still_is_started_again(changing):
    """The watchdog ends it, and it sees again without a hand on it."""
    changing.drop_in(f"{SOON}WatchdogSec=2\nTimeoutAbortSec=2\n")
    changing.start_and_wait()
    changing.box.run("kill", "-STOP", str(changing.main_pid()))
    changing.box.wait_until(lambda: restarts(changing) == 1 and changing.is_ready())
    assert "Watchdog timeout" in changing.box.journal()


def test_a_loop_that_hangs_is_noticed_though_everything_else_works(changing):
    """The page answers and yet the station is started again; the journal tells where it hung."""
    faults = changing.box.path("/srv/faults")
    faults.mkdir()
    (faults / "sitecustomize.py").write_text(FREEZER)
    changing.drop_in(f"{SOON}WatchdogSec=2\nEnvironment=PYTHONPATH=/srv/faults\n")
    changing.start_and_wait()
    changing.box.path(FREEZE).touch()
    changing.box.wait_until(lambda: not changing.is_ready())
    assert changing.answers()
    changing.box.wait_until(lambda: restarts(changing) == 1 and changing.is_ready())
    assert "/srv/faults/sitecustomize.py" in changing.box.journal(f"--unit={UNIT}")


def test_wrong_settings_are_shown_for_as_long_as_they_are_wrong(changing):
    """The page that lists them is up, and the watchdog leaves it alone."""
    changing.drop_in(f"{SOON}WatchdogSec=1\n")
    changing.configure(APPLIANCE_MODLE="x")
    changing.start()
    assert "APPLIANCE_MODLE" in changing.get("/").text
    time.sleep(3)
    assert (restarts(changing), changing.box.show(UNIT, "SubState")) == (0, "running")
    assert changing.get("/api/health").status_code == 200
    changing.configure()
    changing.box.run("systemctl", "restart", UNIT)
    changing.box.wait_until(changing.is_ready)


def test_who_cannot_even_show_that_page_is_not_started_again(changing):
    """Exit code 78 would be the same each time: the reason is in the journal, once."""
    changing.drop_in(SOON)
    changing.configure(APPLIANCE_WEB__PORT="80")
    assert changing.box.run("systemctl", "start", UNIT, check=False).returncode
    time.sleep(1)
    assert changing.box.show(UNIT, "ExecMainStatus") == "78"
    assert (restarts(changing), changing.box.show(UNIT, "ActiveState")) == (0, "failed")
    assert "port 80 needs privileges" in changing.box.journal(f"--unit={UNIT}")


def test_an_address_that_the_box_does_not_have_yet_is_waited_for(changing):
    """A network may be slow to come, and nobody is there to start the station after it."""
    changing.drop_in(SOON)
    changing.configure(APPLIANCE_WEB__HOST="192.0.2.7")
    changing.box.run("systemctl", "start", UNIT, check=False)
    changing.box.wait_until(lambda: restarts(changing) > 1)
    assert "this box has no such address" in changing.box.journal(f"--unit={UNIT}")


def test_any_other_failure_is_tried_again_for_ever(changing):
    """However often and fast it fails: who could start it by hand may be far away."""
    changing.drop_in(f"{SOON}ExecStartPre=/bin/false\n")
    changing.box.run("systemctl", "start", UNIT, check=False)
    changing.box.wait_until(lambda: restarts(changing) > 20)


def test_the_station_stops_in_time(changing):
    """In order, within 8 seconds, and not as a failure."""
    changing.start_and_wait()
    begin = time.monotonic()
    changing.box.run("systemctl", "stop", UNIT)
    assert time.monotonic() - begin < 8
    assert changing.box.show(UNIT, "Result") == "success"
    assert "stopped" in changing.box.journal(f"--unit={UNIT}")
