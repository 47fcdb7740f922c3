"""The unit of the host's own screen on a booted host; a program that waits stands in for cage."""

import re

import httpx
import pytest

from tests.support.hosts import host
from tests.support.process import KIOSK_KEY, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

UNIT = "appliance-kiosk.service"
FOLDER = "/run/appliance-kiosk"
PAGE = f"{FOLDER}/kiosk.html"
CAGE = "#!/bin/sh\nsleep infinity\n"
# A machine of the tests has no terminal.
DROP_IN = """\
[Service]
PAMName=
TTYPath=
TTYReset=no
StandardInput=null
UtmpIdentifier=
Environment=KIOSK_URL={}/
"""


@pytest.fixture(scope="module")
def kiosk(layers, tmp_path_factory):
    """A host whose station and screen run, and the kiosk's address."""
    with host(layers, tmp_path_factory.mktemp("kiosk") / "box") as made:
        url = f"http://127.0.0.1:{free_port()}"
        made.configure(APPLIANCE_KIOSK__PORT=url.rpartition(":")[2])
        made.secret("kiosk__key", KIOSK_KEY)
        made.box.path("/usr/bin/cage").write_text(CAGE)
        made.box.shell("chmod 755 /usr/bin/cage; ln -sf /bin/true /usr/bin/curl; useradd kiosk")
        folder = made.box.path(f"/etc/systemd/system/{UNIT}.d")
        folder.mkdir(parents=True)
        (folder / "90-test.conf").write_text(DROP_IN.format(url))
        made.box.run("systemctl", "daemon-reload")
        made.start()
        done = made.box.run("systemctl", "start", UNIT, check=False)
        assert done.returncode == 0, made.box.journal(f"--unit={UNIT}")
        yield made, url


def test_the_browser_gets_in_by_the_page_that_its_unit_writes(kiosk):
    """Station and screen are handed the same file."""
    made, url = kiosk
    page = made.box.shell(f"cat {PAGE}")
    (place,), (key,) = re.findall('action="(.*?)"', page), re.findall('value="(.*?)"', page)
    assert place == f"{url}/enter"
    assert httpx.get(f"{url}/player", timeout=10).status_code == 403
    answer = httpx.post(place, data={"key": key}, headers={"Origin": "null"}, timeout=10)
    assert answer.status_code == 303
    assert made.box.shell(f"tr '\\0' ' ' </proc/{pid_of(made)}/cmdline").strip().endswith(PAGE)


def test_the_key_is_for_the_browsers_user_alone(kiosk):
    """By file, by command line, by what systemd tells and by the journal."""
    made, _ = kiosk
    modes = made.box.shell(f"stat -c '%a %U' {FOLDER} {PAGE}").splitlines()
    assert modes == ["700 kiosk", "600 kiosk"]
    as_another = "setpriv --reuid=nobody --regid=nogroup --clear-groups"
    told = made.box.shell(
        f"{as_another} cat {PAGE} /run/credentials/{UNIT}/* 2>&1 || true; "
        f"cat /proc/[0-9]*/cmdline | tr '\\0' ' '; systemctl show {UNIT}; systemctl cat {UNIT}; "
        f"systemctl status {UNIT}; journalctl --boot; tr '\\0' '\\n' </proc/{pid_of(made)}/environ"
    )
    assert "Permission denied" in told
    assert "KIOSK_URL" in told
    assert KIOSK_KEY not in told


def pid_of(made):
    """The process in the browser's place."""
    return int(made.box.show(UNIT, "MainPID"))
