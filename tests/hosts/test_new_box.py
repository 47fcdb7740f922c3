"""What docs/operate.md tells people to type when one box takes the place of another."""

import shutil

import pytest

from tests.support.commands import blocks
from tests.support.hosts import Host
from tests.support.machine import machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BROUGHT = ("/root/settings.tar.gz", "/root/state.backup", "/srv/clip.avi")


def led_to(made, cookie=""):
    """What the page answers whoever has this cookie, and where it leads them."""
    answer = made.get("/", Cookie=cookie)
    return answer.status_code, answer.headers.get("location")


def test_a_new_box_goes_on_where_the_old_one_was(layers, own_host, tmp_path):
    """Its settings, secrets, model and people: who was signed in still is."""
    there, here = blocks("docs/operate.md", "## Replace the box")
    own_host.start_and_wait()
    cookie = own_host.sign_in("ada").headers["set-cookie"].partition(";")[0]
    before = led_to(own_host, cookie)
    own_host.box.shell(f"cd /root\n{there}")
    own_host.box.power_off()
    with machine(layers, tmp_path / "new") as box:
        box.path("/srv").mkdir(exist_ok=True)
        for name in BROUGHT:
            shutil.copy(own_host.box.path(name), box.path(name))
        box.boot()
        box.shell(f"cd /root\n{here}")
        new = Host(box, own_host.port)
        box.wait_until(new.is_ready)
        assert led_to(new, cookie) == before != led_to(new)
