"""How updates come to a box: the account for the network, and the stick, by docs/operate.md."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.machine import NO_MACHINE, kept_tree, machine
from tests.support.process import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DOCUMENT = Path(__file__).parents[2] / "docs" / "operate.md"
FOLDER = "/var/lib/vision-appliance-update"
TRUSTING = "-q -i /root/key -o StrictHostKeyChecking=no"


def written(kind, word):
    """The document's block of this kind in which a word stands."""
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)
    (block,) = [block for block in found if word in block]
    return block


@pytest.fixture(scope="module")
def stick(tmp_path_factory):
    """A block device named UPDATE with a file system, and a bundle on it."""
    folder = tmp_path_factory.mktemp("stick")
    (folder / "files").mkdir()
    (folder / "files" / "hall3.bundle").write_text("a bundle on a stick\n")
    (folder / "files" / "holiday.jpg").write_text("a picture\n")
    made = ("mkfs.ext4", "-q", "-L", "UPDATE", "-d", folder / "files", folder / "image", "4M")
    subprocess.run(made, check=True)
    attached = subprocess.run(
        ("losetup", "--find", "--show", "--read-only", folder / "image"),
        capture_output=True,
        text=True,
        check=False,
    )
    if attached.returncode:
        pytest.skip(f"{NO_MACHINE}: no loop device can be had: {attached.stderr.strip()}")
    yield Path(attached.stdout.strip())
    subprocess.run(("losetup", "--detach", attached.stdout.strip()), check=True)


@pytest.fixture(scope="module")
def box(stick, tmp_path_factory):
    """A machine with an SSH server on which the documented lines were run; root has the key."""
    lines = written("sh", "Chroot")
    tree = kept_tree("adduser", "openssh-server")
    binds = {"/dev/disk/by-label/UPDATE": stick}
    with machine(tree, tmp_path_factory.mktemp("inbox") / "box", binds=binds) as made:
        made.port = free_port()
        listen = f"Port {made.port}\nListenAddress 127.0.0.1\n"
        made.path("/etc/ssh/sshd_config.d/test.conf").write_text(listen)
        made.boot()
        made.shell(f"install -d -m 755 {FOLDER}/inbox; echo told >{FOLDER}/results.jsonl")
        made.run("sh", "-ec", lines)
        made.shell('ssh-keygen -q -t ed25519 -N "" -f /root/key')
        made.shell("cp /root/key.pub /etc/ssh/updates.keys; echo a bundle >/root/x.bundle")
        yield made


def sftp(box, lines):
    """What a client says that was told these lines."""
    command = f"sftp {TRUSTING} -P {box.port} updates@127.0.0.1"
    return box.run("sh", "-ec", command, input=lines, check=False)


def test_it_brings_a_bundle_and_reads_what_became_of_it(box):
    """Into the inbox, and from beside it."""
    sftp(box, "put /root/x.bundle inbox/\nget results.jsonl /root/\n")
    assert box.path(f"{FOLDER}/inbox/x.bundle").read_text() == "a bundle\n"
    assert box.path("/root/results.jsonl").read_text() == "told\n"


def test_it_reaches_nothing_else(box):
    """No other folder, no file of the box, no command, no other port."""
    there = "/../../etc/x.bundle"
    for line in ("put /root/x.bundle /", f"put /root/x.bundle {there}", "get /etc/passwd /root/"):
        said = sftp(box, f"{line}\n").stderr
        assert re.search("Permission denied|not found|No such file", said), said
    assert not box.path("/etc/x.bundle").exists()
    assert not box.path("/root/passwd").exists()
    ssh = f"ssh {TRUSTING} -p {box.port}"
    command = box.run("sh", "-ec", f"{ssh} updates@127.0.0.1 id", check=False)
    assert "sftp connections only" in command.stdout
    forward = f"{ssh} -W 127.0.0.1:{box.port} updates@127.0.0.1 </dev/null"
    assert box.run("sh", "-ec", forward, check=False).returncode != 0


def test_a_stick_brings_its_bundles(box):
    """Mounted read-only where nothing of it runs; what else is on it stays there, and it can go.

    There is no udev in these machines, which would start the mount when a stick comes.
    """
    units = {
        "media-update.mount": written("ini", "[Mount]"),
        "update-stick.service": written("ini", "BindsTo=media"),
    }
    for name, text in units.items():
        box.path(f"/etc/systemd/system/{name}").write_text(text)
    box.run("systemctl", "enable", *units)
    wanted = r"/etc/systemd/system/dev-disk-by\x2dlabel-UPDATE.device.wants/media-update.mount"
    assert box.path(wanted).is_symlink()
    box.run("systemctl", "start", "media-update.mount")
    box.wait_until(lambda: box.show("update-stick.service", "Result") == "success")
    inbox = box.path(f"{FOLDER}/inbox")
    box.wait_until((inbox / "hall3.bundle").exists)
    assert (inbox / "hall3.bundle").read_text() == "a bundle on a stick\n"
    assert not (inbox / "holiday.jpg").exists()
    options = box.run("findmnt", "--noheadings", "--output=OPTIONS", "/media/update").stdout
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(options.strip().split(","))
    box.run("systemctl", "stop", "media-update.mount")
    assert box.run("findmnt", "/media/update", check=False).returncode == 1
