"""What this process may use of the machine: memory, cores and descriptors, and which limit holds.

A container or a service is often given less than the machine has. What the kernel enforces stands
in control groups, of the first or the second kind, and in the processors that a thread may run on.
"""

import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil
from typing_extensions import override

ROOT = Path("/")
_CACHES = ("inactive_file", "active_file")  # given back when somebody needs the memory


class Limit(StrEnum):
    """What keeps a process from using more; the values are for people."""

    MACHINE = "all that the machine has"
    GROUP = "the limit of its container or service"
    AFFINITY = "its CPU affinity"


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory that this process may use.

    Attributes:
        total_bytes: all of it; others in the same container or service take from it as well.
        available_bytes: that can be had now.
        machine_bytes: that the machine has.
        limit: what holds.
    """

    total_bytes: int
    available_bytes: int
    machine_bytes: int
    limit: Limit

    @override
    def __str__(self) -> str:
        told = f"{self.total_bytes / 1e9:.1f} GB"
        if self.limit is Limit.MACHINE:
            return told
        return f"{told} of {self.machine_bytes / 1e9:.1f} GB, by {self.limit}"


@dataclass(frozen=True, slots=True)
class Cores:
    """Cores that this process may use.

    Attributes:
        physical: for threads that compute; at least 1.
        logical: for threads of any kind; at least 1.
        machine: logical ones of the machine.
        limit: what holds.
    """

    physical: int
    logical: int
    machine: int
    limit: Limit

    @override
    def __str__(self) -> str:
        told = f"{self.physical} core{'s' if self.physical > 1 else ''}"
        if self.limit is Limit.MACHINE:
            return told
        return f"{told} of {self.machine}, by {self.limit}"


def memory(root: Path = ROOT) -> Memory:
    """The memory at this moment.

    Args:
        root: below which /proc and the control groups are looked for.
    """
    machine = psutil.virtual_memory()
    total, available, limit = machine.total, machine.available, Limit.MACHINE
    for group in _groups(root, "memory"):
        facts = _facts(group / "memory.stat")
        most = _number(group / "memory.max", group / "memory.limit_in_bytes")
        used = _number(group / "memory.current", group / "memory.usage_in_bytes")
        # The first kind tells here of groups further up, which a container does not see.
        bounds = [each for each in (most, facts.get("hierarchical_memory_limit")) if each]
        if not bounds or min(bounds) >= machine.total:
            continue
        caches = sum(facts.get(f"total_{each}", facts.get(each, 0)) for each in _CACHES)
        free = max(0, min(bounds) - max(0, (used or 0) - caches))
        available = min(available, free)
        if min(bounds) < total:
            total, limit = min(bounds), Limit.GROUP
    return Memory(total, available, machine.total, limit)


def keep_within_memory() -> None:
    """Let this process take no more memory than can be had now; then an allocation fails.

    So that it fails here, and is told, before the kernel ends somebody. Swap counts where nothing
    but the machine sets the limit.
    """
    here = memory()
    room_bytes = here.available_bytes
    if here.limit is Limit.MACHINE:
        room_bytes += psutil.swap_memory().free
    most_bytes = psutil.Process().memory_info().data + room_bytes
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard == resource.RLIM_INFINITY or most_bytes < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, hard))


def cores(root: Path = ROOT) -> Cores:
    """The cores at this moment.

    Args:
        root: below which /proc, /sys and the control groups are looked for.
    """
    allowed = os.sched_getaffinity(0)
    machine = psutil.cpu_count() or len(allowed)
    physical, logical = len({_core(root, cpu) for cpu in allowed}), len(allowed)
    limit = Limit.AFFINITY if logical < machine else Limit.MACHINE
    for quota in filter(None, (_quota(group) for group in _groups(root, "cpu"))):
        whole = max(1, int(quota))  # a share of a core is no place for one more thread
        if quota < logical:
            limit = Limit.GROUP
        physical, logical = min(physical, whole), min(logical, whole)
    return Cores(physical, logical, machine, limit)


def descriptors() -> int:
    """How many files and connections this process may have open at once."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def raise_descriptors() -> None:
    """Take as many as whoever started this process allows; the usual number is lower."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's control group and of those above it, as far as they are seen.

    Of both kinds where a machine has both.
    """
    paths = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    for line in _lines(root / "proc/self/mountinfo"):
        # As proc(5) has it: ... root, mount point, ... - kind, source, options of the file system.
        before, _, after = line.partition(" - ")
        top, at = before.split(" ")[3:5]
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" and "" in paths:
            yield from _upwards(root / at.lstrip("/"), top, paths[""])
        elif kind == "cgroup" and controller in options.split(",") and controller in paths:
            yield from _upwards(root / at.lstrip("/"), top, paths[controller])


def _upwards(at: Path, top: str, path: str) -> Iterator[Path]:
    """From the group to the one that is mounted; that one alone where the group is out of sight."""
    below = path.removeprefix(top.rstrip("/")).strip("/") if path.startswith(top) else ""
    if ".." in below.split("/"):  # it lies beside what this namespace may see
        below = ""
    parts = below.split("/") if below else []
    for length in range(len(parts), -1, -1):
        yield at.joinpath(*parts[:length])


def _quota(group: Path) -> float | None:
    """Cores' worth of time that a group may take; None where nothing says so."""
    together = next(iter(_lines(group / "cpu.max")), "").split()
    if together:
        quota, period = together
        return None if quota == "max" else int(quota) / int(period)
    most = _number(group / "cpu.cfs_quota_us")
    period_us = _number(group / "cpu.cfs_period_us")
    return most / period_us if most and most > 0 and period_us else None


def _core(root: Path, cpu: int) -> str:
    """What the logical core shares with those that are the same physical one."""
    folder = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
    names = ("core_cpus_list", "thread_siblings_list")  # the second is the older name
    return next((line for name in names for line in _lines(folder / name)), str(cpu))


def _facts(path: Path) -> dict[str, int]:
    pairs = (line.split(" ") for line in _lines(path))
    return {name: int(value) for name, value in pairs}


def _number(*paths: Path) -> int | None:
    """What the first of the files says that is there; None for no limit."""
    text = next((line for path in paths for line in _lines(path)), "max")
    return None if text == "max" else int(text)


def _lines(path: Path) -> list[str]:
    """None where the system has no such file, or shows it to nobody."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
