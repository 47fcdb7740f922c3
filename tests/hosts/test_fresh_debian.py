"""What README.md and docs/install.md tell people to type, typed on Debian."""

import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import pytest

from tests.support.commands import blocks
from tests.support.hosts import PIP_CONF, ROOT, STATE, Host, network
from tests.support.machine import kept_tree, machine
from tests.support.process import PASSWORD, free_port, write_clip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CLONE = "/root/clone"
INSTALLING = "## Debian with systemd, without containers"
CAMERA = "rtsp://192.0.2.10:554/stream1"
PATIENCE_S = 600


def clone_into(folder):
    """Copy what git has of this checkout, or would take."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.rstrip("\0").split("\0"):
        there = folder / name
        there.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # removed, and not committed yet
            shutil.copy2(ROOT / name, there, follow_symlinks=False)


@contextmanager
def with_clone(layers, folder):
    """A machine with a clone of this checkout and a network."""
    files, variables = network()
    with machine(layers, folder, binds=files) as box:
        clone_into(box.path(CLONE))
        box.path("/etc/pip.conf").write_text(PIP_CONF)
        box.boot()
        # As a person's profile would have them, and their systemd.
        words = [f"{name}={value}" for name, value in variables.items()]
        box.run("systemctl", "set-environment", "DEBIAN_FRONTEND=noninteractive", *words)
        made = "".join(f"export {shlex.quote(word)}\n" for word in words)
        box.path("/root/.profile").write_text(f"export DEBIAN_FRONTEND=noninteractive\n{made}")
        box.run("apt-get", "update", "--quiet", timeout=PATIENCE_S)
        yield box


@pytest.fixture
def fresh(tmp_path):
    """A Debian with a clone of this checkout and a network, and nothing else."""
    with with_clone(kept_tree("ca-certificates"), tmp_path / "fresh") as box:
        yield box


@pytest.fixture(scope="module")
def made(layers, tmp_path_factory):
    """One on which the installation was made before: it is not made anew where nothing differs."""
    with with_clone(layers, tmp_path_factory.mktemp("made") / "box") as box:
        yield box


@pytest.fixture
def tell(capsys, request):
    """Writes a line where people see it, whether the test passes or not."""

    def write(line):
        with capsys.disabled():
            sys.stdout.write(f"\n{request.node.name}: {line}\n")

    return write


def typed(box, lines, **options):
    """Lines typed in the clone, each of which must succeed; what they print, and the seconds."""
    begin = time.monotonic()
    script = f". /root/.profile; cd {CLONE}; set -e\n{lines}"
    done = box.run("sh", "-c", script, timeout=PATIENCE_S, **options)
    return done.stdout, time.monotonic() - begin


def password_of(box, unit):
    """The password that a demonstration has printed; None before."""
    told = box.journal(f"--unit={unit}")
    assert box.show(unit, "ActiveState") == "active", told
    found = re.search(r"Password +(\S+)", told)
    return found and found[1]


def test_two_commands_lead_to_a_page_that_sees(fresh, tell):
    """The README's first two: a person signs in with the password that was printed."""
    readme = (ROOT / "README.md").read_text()
    install = re.search(r"`sudo (apt install [^`]+)`", readme)[1]
    assert blocks("README.md", "## Try it")[0] == "make demo\n"
    _, packages_s = typed(fresh, install.replace("apt install", "apt-get install --yes --quiet"))
    port = free_port()
    begin = time.monotonic()
    demo = f". /root/.profile; APPLIANCE_WEB__PORT={port} exec make demo"
    fresh.run("systemd-run", "--unit=demo", f"--working-directory={CLONE}", "sh", "-c", demo)
    found = fresh.wait_until(lambda: password_of(fresh, "demo"), PATIENCE_S, every_s=2)
    host = Host(fresh, port)
    fresh.wait_until(host.answers)
    tell(f"packages {packages_s:.0f} s, make demo {time.monotonic() - begin:.0f} s")
    assert host.sign_in("admin", found).status_code == 303
    fresh.run("systemctl", "stop", "demo")


def test_the_same_packages_are_named_wherever_people_look():
    """Those of the README, which a fresh Debian has shown to be enough."""
    (readme,) = re.findall(r"`sudo apt install ([^`]+)`", (ROOT / "README.md").read_text())
    needed, *_ = blocks("docs/install.md", INSTALLING)
    assert needed.splitlines()[0] == f"apt install --yes {readme}"


def test_the_steps_of_the_installation_lead_to_a_service(made, tell):
    """Fewer than ten lines, typed as they stand, but for the camera's address."""
    needed, started, *_ = blocks("docs/install.md", INSTALLING)
    steps = [line for line in (needed + started).splitlines() if line]
    assert len(steps) < 10
    _, needed_s = typed(made, needed)
    port = free_port()
    made.path("/srv").mkdir(exist_ok=True)
    write_clip(made.path("/srv/clip.avi")).chmod(0o644)
    assert CAMERA in started
    ours = f"echo APPLIANCE_WEB__PORT={port} >>/etc/vision-appliance/appliance.env\n"
    told, started_s = typed(
        made, ours + started.replace(CAMERA, "/srv/clip.avi"), input=f"{PASSWORD}\n"
    )
    host = Host(made, port)
    made.wait_until(host.answers)
    tell(f"packages and install {needed_s:.0f} s, start {started_s:.0f} s")
    assert "The settings are right." in told
    assert host.sign_in("ada").status_code == 303
    assert made.run("systemctl", "is-enabled", "appliance").stdout.strip() == "enabled"


def test_what_was_installed_goes_again(made):
    """All but settings and state, which a person may want to keep."""
    *_, options, removal = blocks("docs/install.md", INSTALLING)
    typed(made, options)
    typed(made, removal)
    left = made.shell("find /etc /opt /usr /var -xdev -name '*appliance*' -prune").split()
    kept = {"/etc/vision-appliance", "/etc/systemd/system/appliance.service.d"}
    kept |= {"/etc/systemd/system/appliance-build.service.d"}
    kept |= {STATE, "/var/lib/vision-appliance-update"}
    assert set(left) <= kept
    assert made.path(f"{STATE}/models").is_dir()
