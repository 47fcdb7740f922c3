"""The account that brings updates over the network, as docs/operate.md sets it up."""

import re
from pathlib import Path

import pytest

from tests.support.machine import kept_tree, machine
from tests.support.process import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DOCUMENT = Path(__file__).parents[2] / "docs" / "operate.md"
FOLDER = "/var/lib/vision-appliance-update"
TRUSTING = "-q -i /root/key -o StrictHostKeyChecking=no"


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """A machine with an SSH server on which the documented lines were run; root has the key."""
    text = DOCUMENT.read_text(encoding="utf-8")
    (lines,) = [b for b in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "Chroot" in b]
    tree = kept_tree("adduser", "openssh-server")
    with machine(tree, tmp_path_factory.mktemp("inbox") / "box") as made:
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
