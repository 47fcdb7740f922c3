"""The unit files, as systemd itself judges them."""

import pytest

from tests.support.hosts import ROOT, UNIT
from tests.support.machine import machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

UNITS = sorted(
    path.name
    for kind in ("service", "path", "timer")
    for path in (ROOT / "systemd").glob(f"*.{kind}")
)
OPTIONS = "/usr/share/vision-appliance/options"
# What units name that is not ours, and is not on a host without a screen.
ELSEWHERE = ("/usr/bin/cage", "/usr/bin/chromium", "/usr/bin/curl")


@pytest.fixture(scope="module")
def box(layers, tmp_path_factory):
    """A booted host with the station installed; its units are looked at."""
    with machine(layers, tmp_path_factory.mktemp("units") / "box") as made:
        made.boot()
        for program in ELSEWHERE:
            made.path(program).symlink_to("/bin/true")
        yield made


@pytest.fixture
def with_options(box):
    """Switches options on as the documentation says, and off again after the test."""
    folder = f"/etc/systemd/system/{UNIT}.d"

    def switch_on(*names):
        box.run("mkdir", "--parents", folder)
        for name in names:
            box.run("ln", "--symbolic", f"{OPTIONS}/{name}.conf", folder)
        box.run("systemctl", "daemon-reload")

    yield switch_on
    box.run("rm", "--recursive", "--force", folder)
    box.run("systemctl", "daemon-reload")


def exposure(box, unit, at_most):
    """What `systemd-analyze security` says, and whether that is no more than `at_most`."""
    done = box.run(
        "systemd-analyze", "security", f"--threshold={round(at_most * 10)}", unit, check=False
    )
    return done.returncode == 0, done.stdout.splitlines()[-1]


def test_there_are_units():
    """The tests below are about these."""
    assert {UNIT, "appliance-build.service", "appliance-kiosk.service"} <= set(UNITS)


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_understands_each_unit(box, unit):
    """Not a word: of a key that it does not know it only complains, and goes on without."""
    named = unit.replace("@.", "@0.1.0.")
    done = box.run("systemd-analyze", "verify", "--recursive-errors=no", named, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_wrong_unit_would_be_noticed(box):
    """As systemd tells one apart: by a complaint, and a status that is 0 all the same."""
    box.path("/etc/systemd/system/wrong.service").write_text(
        "[Service]\nExecStart=/bin/true\nProtectSytem=strict\n"
    )
    done = box.run("systemd-analyze", "verify", "wrong.service", check=False)
    assert "ProtectSytem" in done.stderr


@pytest.mark.parametrize(
    ("options", "at_most"),
    [
        ((), 1.1),
        (("any-address",), 1.2),
        (("camera",), 1.3),
        (("gpu",), 1.4),
        (("camera", "gpu"), 1.5),
    ],
    ids=lambda value: "-".join(value) or "default" if isinstance(value, tuple) else "",
)
def test_the_station_is_hardly_exposed(box, with_options, options, at_most):
    """By systemd's own measure, from 0 to 10; a service that says nothing has 9.6."""
    with_options(*options)
    is_within, told = exposure(box, UNIT, at_most)
    assert is_within, told


def test_builds_are_no_more_exposed_than_the_station(box):
    """They run the same libraries over the same files."""
    is_within, told = exposure(box, "appliance-build.service", 1.1)
    assert is_within, told


def test_the_hardware_watchdog_is_armed_by_a_link(box):
    """The file is taken as it is, by the very systemd that runs."""
    box.shell(
        "mkdir -p /etc/systemd/system.conf.d; "
        "ln -s /usr/share/vision-appliance/watchdog.conf /etc/systemd/system.conf.d/"
    )
    box.run("systemctl", "daemon-reexec")
    assert "RuntimeWatchdogUSec=30s" in box.shell("systemctl show")
    assert "Unknown" not in box.journal("_PID=1")
