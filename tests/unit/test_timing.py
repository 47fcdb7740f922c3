"""Where the time of a run goes is told, and what is long begins."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.timing import recorded, scope_of, slowest

ROOT = Path(__file__).parents[2]
TESTS = """
import time
import pytest

BUSY_S = time.process_time() + 0.3

@pytest.fixture
def slow_one():
    time.sleep(0.2)

def test_after_it(slow_one):
    time.sleep(0.1)
    while time.process_time() < BUSY_S:
        pass
"""


@pytest.mark.parametrize("processes", ["0", "1"])
def test_a_run_ends_with_its_slowest_files_tests_and_fixtures(tmp_path, processes):
    """In one process and in those of pytest-xdist."""
    (tmp_path / "test_some.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    command += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(
        [*command, f"--numprocesses={processes}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    for name, at_least_s in {
        "test_some.py": 0.3,
        "test_some.py::test_after_it": 0.1,
        "test_some.py::slow_one": 0.2,
    }.items():
        (seconds,) = [float(line[0]) for line in lines if line[1:] == ["s", name]]
        assert seconds >= at_least_s
    (busy_s,) = [float(line[0]) for line in lines if line[1:] == ["core", "s", "test_some.py"]]
    assert busy_s >= 0.2


def test_the_longest_comes_first_and_only_some_are_told():
    """Seconds, then the name."""
    assert slowest({"a": 1.0, "b": 3.0, "c": 2.0}, count=2) == ["     3.0 s  b", "     2.0 s  c"]


def test_what_shares_a_docker_engine_stays_together():
    """Every other file is for itself."""
    assert scope_of("tests/containers/test_a.py::test") == "tests/containers/"
    assert scope_of("tests/unit/test_a.py::test[1]") == "tests/unit/test_a.py"


def test_every_file_of_the_record_is_there():
    """One that was renamed would be taken for a short one."""
    assert recorded()
    assert [name for name in recorded() if not (ROOT / name).is_file()] == []
