"""What is left of a machine by control groups and affinity: files as kernels write them."""

import os
import subprocess
import sys
import threading

import psutil
import pytest

from appliance.app import assembly
from appliance.resources import Cores, Limit, Memory, cores, memory

MB = 1_000_000
SECOND_KIND = "30 23 0:26 {top} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
FIRST_KIND = (
    "32 31 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
    "33 31 0:30 {top} /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory",
)
UNLIMITED = "9223372036854771712"  # as the first kind says it


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes a root folder with these files, on a machine of 8 GB and four cores of two threads."""

    def make(group, mounts, **files):
        texts = {"proc/self/cgroup": group, "proc/self/mountinfo": "\n".join(mounts), **files}
        for cpu in range(8):
            texts[f"sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list"] = (
                f"{cpu % 4},{cpu % 4 + 4}"
            )
        for name, text in texts.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    has = psutil.virtual_memory()._replace(total=8000 * MB, available=6000 * MB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: has)
    monkeypatch.setattr(psutil, "cpu_count", lambda **_: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    return make


def test_without_a_limit_it_is_the_machine(machine):
    """Nothing in the group, nothing at all of groups, or more than there is."""
    whole = Memory(8000 * MB, 6000 * MB, 8000 * MB, Limit.MACHINE), Cores(4, 8, 8, Limit.MACHINE)
    root = machine(
        "0::/a",
        [SECOND_KIND.format(top="/")],
        **{"sys/fs/cgroup/a/memory.max": "max", "sys/fs/cgroup/a/cpu.max": "max 100000"},
    )
    assert (memory(root), cores(root)) == whole
    (root / "sys/fs/cgroup/a/memory.max").write_text("9000000000\n")
    assert memory(root) == whole[0]
    (root / "proc/self/cgroup").unlink()
    assert (memory(root), cores(root)) == whole


def test_the_least_limit_on_the_way_up_holds(machine):
    """A service within a slice, of the second kind; caches are free for whoever needs them."""
    above, own = "sys/fs/cgroup/system.slice", "sys/fs/cgroup/system.slice/station.service"
    root = machine(
        "0::/system.slice/station.service",
        [SECOND_KIND.format(top="/")],
        **{
            f"{own}/memory.max": str(2000 * MB),
            f"{own}/memory.current": str(500 * MB),
            f"{own}/memory.stat": f"anon {300 * MB}\ninactive_file {150 * MB}\nactive_file 0",
            f"{own}/cpu.max": "max 100000",
            f"{above}/memory.max": str(700 * MB),
            f"{above}/memory.current": str(600 * MB),
            f"{above}/memory.stat": f"inactive_file {150 * MB}\nactive_file {50 * MB}",
            f"{above}/cpu.max": "250000 100000",
        },
    )
    assert memory(root) == Memory(700 * MB, 300 * MB, 8000 * MB, Limit.GROUP)
    assert cores(root) == Cores(2, 2, 8, Limit.GROUP)


@pytest.mark.parametrize(
    ("group", "top"),
    [("/docker/abc", "/"), ("/docker/abc", "/docker/abc"), ("/", "/"), ("/../../other", "/")],
)
def test_the_first_kind_is_found_wherever_it_is_mounted(machine, group, top):
    """With a view of the whole tree, of the container's part alone, and of nothing else."""
    below = group if (group, top) == ("/docker/abc", "/") else ""
    root = machine(
        f"4:memory:{group}\n3:cpu,cpuacct:{group}\n1:name=systemd:/\n0::/",
        [mount.format(top=top) for mount in FIRST_KIND],
        **{
            f"sys/fs/cgroup/memory{below}/memory.limit_in_bytes": str(700 * MB),
            f"sys/fs/cgroup/memory{below}/memory.usage_in_bytes": str(400 * MB),
            f"sys/fs/cgroup/memory{below}/memory.stat": (
                f"inactive_file 1\ntotal_inactive_file {100 * MB}\ntotal_active_file 0"
            ),
            f"sys/fs/cgroup/cpu,cpuacct{below}/cpu.cfs_quota_us": "50000",
            f"sys/fs/cgroup/cpu,cpuacct{below}/cpu.cfs_period_us": "100000",
        },
    )
    assert memory(root) == Memory(700 * MB, 400 * MB, 8000 * MB, Limit.GROUP)
    assert cores(root) == Cores(1, 1, 8, Limit.GROUP)


def test_a_limit_further_up_than_a_container_sees_holds(machine):
    """A pod's, of the first kind: the group's statistics tell of it."""
    at = "sys/fs/cgroup/memory"
    root = machine(
        "4:memory:/",
        [mount.format(top="/") for mount in FIRST_KIND],
        **{
            f"{at}/memory.limit_in_bytes": UNLIMITED,
            f"{at}/memory.usage_in_bytes": str(100 * MB),
            f"{at}/memory.stat": f"hierarchical_memory_limit {512 * MB}",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
    )
    assert memory(root) == Memory(512 * MB, 412 * MB, 8000 * MB, Limit.GROUP)
    assert cores(root).limit is Limit.MACHINE


def test_two_threads_of_one_core_are_one_core(machine, monkeypatch):
    """Whoever may run on both threads of a core has one to compute with."""
    root = machine("0::/", [SECOND_KIND.format(top="/")])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5})
    assert cores(root) == Cores(1, 2, 8, Limit.AFFINITY)


def test_the_affinity_of_this_thread_is_seen():
    """The kernel's own word, on the machine that this runs on."""
    found = []

    def confined():
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        found.append(cores())

    thread = threading.Thread(target=confined)
    thread.start()
    thread.join()
    assert (found[0].physical, found[0].logical) == (1, 1)
    assert found[0].machine == psutil.cpu_count()


def test_the_check_says_which_limit_holds(monkeypatch):
    """With what the machine would have, and nothing where it is all the station's."""
    monkeypatch.setattr(
        assembly.resources, "memory", lambda: Memory(7 * 10**8, 10**8, 253 * 10**8, Limit.GROUP)
    )
    monkeypatch.setattr(assembly.resources, "cores", lambda: Cores(1, 1, 32, Limit.AFFINITY))
    told = assembly.hardware()
    assert told["Memory"] == "0.7 GB of 25.3 GB, by the limit of its container or service"
    assert told["Processor"] == "1 core of 32, by its CPU affinity"
    monkeypatch.setattr(assembly.resources, "cores", lambda: Cores(4, 8, 8, Limit.MACHINE))
    assert assembly.hardware()["Processor"] == "4 cores"


@pytest.mark.parametrize("free_mb", [100, 400])
def test_a_process_that_keeps_within_memory_fails_before_others_do(free_mb):
    """An allocation of more than is free ends in a sentence, and not by the kernel's hand."""
    script = (
        "from appliance import resources\n"
        f"here = resources.Memory(10**9, {free_mb} * 10**6, 10**10, resources.Limit.GROUP)\n"
        "resources.memory = lambda: here\n"
        "resources.keep_within_memory()\n"
        f"bytearray({free_mb - 50} * 10**6)\n"
        "try:\n"
        f"    bytearray({free_mb + 50} * 10**6)\n"
        "except MemoryError:\n"
        "    print('no memory')\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "no memory\n"
