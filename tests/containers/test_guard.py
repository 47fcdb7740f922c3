"""docker/guard.py, the container's first process, as a process of this machine."""

import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest

from tests.support.dockerd import ROOT

pytestmark = pytest.mark.slow

PATIENCE_S = 20.0
GUARD = ROOT / "docker" / "guard.py"
FIRST = """
import ctypes, runpy, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # orphans come to it, as to a first process
sys.argv = {words}
runpy.run_path({guard!r}, run_name="__main__")
"""
TELL = """
import os, signal, socket, subprocess, sys, time
def tell(*lines):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        address = os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1)
        channel.sendto(chr(10).join(lines).encode(), address)
"""


@contextmanager
def guarded(script, *, seconds="1", **environ):
    """The guard over a Python script that can `tell`, until the block ends."""
    command = [sys.executable, GUARD, seconds, sys.executable, "-c"]
    child = subprocess.Popen(
        [*command, TELL + script],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.terminate()  # handed on, so nobody is left behind
        child.communicate()


def ended(child):
    """Its code and what it has said."""
    _, said = child.communicate(timeout=PATIENCE_S)
    return child.returncode, said


def test_it_ends_with_the_code_of_what_it_guards():
    """A restart policy and a person learn from it what happened."""
    with guarded("sys.exit(78)") as child:
        assert ended(child) == (78, "")


def test_it_hands_signals_on():
    """The station ends as it wants to, not as the guard would."""
    script = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print(flush=True)"
    with guarded(f"{script}; time.sleep(60)") as child:
        child.stdout.readline()
        child.send_signal(signal.SIGTERM)
        assert ended(child)[0] == 7


@pytest.mark.parametrize("stop", ["time.sleep(60)", "os.kill(os.getpid(), signal.SIGSTOP)"])
def test_it_kills_what_gives_no_sign_of_life(stop):
    """From the first sign on, and whatever else it says meanwhile."""
    with guarded(f"tell('WATCHDOG=1'); tell('STATUS=Looking'); {stop}") as child:
        assert ended(child) == (128 + signal.SIGKILL, "guard: no sign of life for 1 s\n")


def test_it_leaves_alone_what_gives_signs_has_given_none_or_is_stopping():
    """Loading may take long, and so may an end."""
    seen = "for _ in range(8): tell('STATUS=Looking', 'WATCHDOG=1'); time.sleep(0.3)"
    script = f"time.sleep(2.2)\n{seen}\ntell('STOPPING=1'); time.sleep(2.2)"
    with guarded(script, seconds="2") as child:
        assert ended(child) == (0, "")


def test_it_buries_orphans():
    """A process whose parent is gone comes to the first process, and leaves no zombie there."""
    words = ["guard", "1", "sh", "-c", "sh -c 'sleep 0.2 & echo $!'; sleep 1.5"]
    with subprocess.Popen(
        [sys.executable, "-c", FIRST.format(words=words, guard=str(GUARD))],
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        orphan = int(child.stdout.readline())
        deadline = time.monotonic() + PATIENCE_S
        while psutil.pid_exists(orphan):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert child.poll() is None
        assert child.wait(PATIENCE_S) == 0


def test_it_hands_on_what_a_manager_outside_waits_for(tmp_path):
    """Podman waits for READY=1; where nobody listens any more, that is told once."""
    path = str(tmp_path / "notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(PATIENCE_S)
        again = "tell('READY=1'); sys.stdin.readline(); tell('STATUS=a'); tell('STATUS=b')"
        with guarded("tell('READY=1'); time.sleep(60)", NOTIFY_SOCKET=path):
            assert manager.recv(100) == b"READY=1"
    with guarded(f"{again}; time.sleep(0.5)", NOTIFY_SOCKET=path) as child:
        code, said = ended(child)
    assert (code, said.count("nobody listens outside")) == (0, 1)
