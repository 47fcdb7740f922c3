"""Machines that are really booted: Debian trees by systemd-nspawn, each with its own systemd.

A machine shares the network of whoever runs the tests, so its servers are reached at 127.0.0.1
and need ports of their own (`free_port`). Everything else is its own.
"""

import fcntl
import itertools
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support import debian

PACKAGES = ("systemd", "systemd-sysv", "dbus", "procps", "python3")
"""The least that boots and can be looked at."""

NO_MACHINE = "no machine may be booted here"
CGROUPS = Path("/sys/fs/cgroup")
CLEAN = ("env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
PATIENCE_S = 120.0

Layers = Path | tuple[Path, ...]
"""A Debian tree, or what lies over it and then the tree itself: the first that has a file wins."""

_numbers = itertools.count(1)


class Machine:
    """One machine on one disk. Every method but `boot` and `path` wants it to be booted.

    Args:
        root: its disk, as a folder.
        name: unlike that of any other machine that runs.
        binds: folders of this system that it sees, read-only, by their path there.
    """

    def __init__(self, root: Path, name: str, *, binds: dict[str, Path] | None = None) -> None:
        self.root = root
        self.log = root.parent / "console.log"
        self._name = name
        self._binds = binds or {}
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def path(self, inside: str) -> Path:
        """Where a file of its disk lies here; nothing below /run, /tmp, /proc, /dev or /sys."""
        return self.root / inside.lstrip("/")

    def boot(self) -> None:
        """Switch it on, and wait until everything that starts by itself has been started."""
        # It is shut down where whoever booted it is killed.
        command = ["setpriv", "--pdeathsig=TERM", "systemd-nspawn", "--quiet", "--boot"]
        command += [f"--directory={self.root}"]
        command += [f"--machine={self._name}", "--register=no", "--keep-unit"]
        command += ["--console=pipe", "--resolv-conf=off"]
        command += [f"--bind-ro={here}:{there}" for there, here in self._binds.items()]
        with self.log.open("ab") as log:
            self._nspawn = subprocess.Popen(
                _in_own_cgroup(self._name, command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._leader = self.wait_until(self._first_process)
        waiting = ("systemctl", "is-system-running", "--wait")
        up = ("running", "degraded")
        self.wait_until(lambda: self.run(*waiting, check=False).stdout.strip() in up)

    def run(self, *words: str, check: bool = True, **options: Any) -> "subprocess.CompletedProcess":
        """One command as its root, to its end; output is text.

        Raises:
            AssertionError: it failed, and `check` is set; tells what it said.
        """
        command = ["nsenter", f"--target={self._leader}", "--all", "--", *CLEAN, *words]
        options = {"capture_output": True, "text": True, "timeout": PATIENCE_S, **options}
        done = subprocess.run(command, check=False, **options)
        if check and done.returncode:
            raise AssertionError(f"{words}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def shell(self, script: str) -> str:
        """Lines of shell that must all succeed; what they print."""
        return self.run("sh", "-ec", script).stdout

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).stdout.strip()

    def journal(self, *words: str) -> str:
        """What was logged since it was booted, whole or as the options of journalctl choose."""
        return self.run("journalctl", "--boot", "--no-pager", "--output=cat", *words).stdout

    def wait_until(self, what, patience_s: float = PATIENCE_S, every_s: float = 0.1):
        """The first true value of `what()`; fails with the console and the journal."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if self._nspawn is not None and self._nspawn.poll() is not None:
                raise AssertionError(f"the machine went off: {self.log.read_text()}")
            if value := what():
                return value
            time.sleep(every_s)
        told = self.journal("--lines=80") if self._leader else self.log.read_text()
        raise AssertionError(f"waited {patience_s} s in vain; the machine says:\n{told}")

    def power_off(self) -> None:
        """Shut it down in order, and wait until it is off."""
        self._end(signal.SIGRTMIN + 4)

    def power_cut(self) -> None:
        """End every process of it at once; what it has written stays, synced or not."""
        self._end(signal.SIGKILL)

    @property
    def is_on(self) -> bool:
        """Whether it runs."""
        return self._nspawn is not None

    def _end(self, how: int) -> None:
        assert self._nspawn is not None, "the machine is off"
        if self._leader:
            with suppress(ProcessLookupError):  # it went off by itself
                os.kill(self._leader, how)
        else:  # it was not up yet
            self._nspawn.kill()
        self._nspawn.wait(PATIENCE_S)
        self._nspawn, self._leader = None, 0
        _remove_cgroup(self._name)

    def _first_process(self) -> int:
        """Its process 1, by the number that it has here; 0 while it is not there yet."""
        assert self._nspawn is not None
        pid = self._nspawn.pid
        for child in _text(Path(f"/proc/{pid}/task/{pid}/children")).split():
            numbers = re.search(r"^NSpid:(.*)$", _text(Path(f"/proc/{child}/status")), re.MULTILINE)
            if numbers is not None and numbers[1].split()[1:] == ["1"]:
                return int(child)
        return 0


def _text(path: Path) -> str:
    """What a file of /proc says; nothing once its process has gone."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@contextmanager
def machine(
    layers: Layers, folder: Path, *, binds: dict[str, Path] | None = None
) -> Iterator[Machine]:
    """A machine whose disk begins as `layers`; it is off at first, and is off after the block.

    Args:
        layers: Debian with `PACKAGES`; not changed, so machines may share them.
        folder: empty or to be made; what the machine writes is in `written` there.
        binds: as `Machine` takes them.
    """
    _need_rights()
    written, work, root = (folder / name for name in ("written", "work", "root"))
    for place in (written, work, root):
        place.mkdir(parents=True)
    lower = ":".join(map(str, layers if isinstance(layers, tuple) else (layers,)))
    options = f"lowerdir={lower},upperdir={written},workdir={work}"
    mount = ["mount", "-t", "overlay", "-o", options, "overlay", str(root)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"{NO_MACHINE}: {mounted.stderr.strip()}")
    try:
        box = Machine(root, f"box-{os.getpid()}-{next(_numbers)}", binds=binds)
        try:
            yield box
        finally:
            if box.is_on:
                box.power_cut()
    finally:
        subprocess.run(["umount", str(root)], check=True)


def kept_tree(*packages: str) -> Path:
    """A Debian tree with `PACKAGES` and more, kept as a folder between runs; not to be changed."""
    wanted = (*PACKAGES, *packages)
    place = debian.archive(*wanted).with_suffix(".tree")
    with made_once(place):
        if not place.is_dir():
            partial = place.with_suffix(f".{os.getpid()}")
            debian.tree(partial, *wanted).rename(place)
    return place


@contextmanager
def made_once(place: Path) -> Iterator[None]:
    """Let nobody else make `place` meanwhile: who comes later waits, and finds it there."""
    with place.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _need_rights() -> None:
    if os.geteuid() != 0:
        pytest.skip(f"{NO_MACHINE}: it takes root")
    if shutil.which("systemd-nspawn") is None:
        pytest.skip("systemd-nspawn is needed to boot a machine (package systemd-container)")
    if not _cgroup_folders():
        pytest.skip(f"{NO_MACHINE}: no control groups can be made")


def _cgroup_folders() -> list[Path]:
    """Where a group for systemd must be made: in the unified hierarchy, and in its old one."""
    places = (CGROUPS / "systemd", CGROUPS / "unified", CGROUPS)
    return [place for place in places if (place / "cgroup.procs").is_file()]


def _in_own_cgroup(name: str, command: Sequence[str]) -> list[str]:
    """Without it, all machines would share one group, and each systemd meet others' processes."""
    script = 'for place; do test "$place" != -- || break; mkdir -p "$place"; '
    script += 'echo $$ >"$place/cgroup.procs"; shift; done; shift; exec "$@"'
    groups = [str(place / name) for place in _cgroup_folders()]
    return ["sh", "-ec", script, "sh", *groups, "--", *command]


def _remove_cgroup(name: str) -> None:
    for place in _cgroup_folders():
        for folder, _, _ in os.walk(place / name, topdown=False):
            Path(folder).rmdir()
