"""Skips are seen, and in CI an unexpected one fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest
from tests.conftest import NO_DATA

@pytest.mark.parametrize("reason", ["no browser here", f"{NO_DATA}: street.jpg"])
def test_inside(reason):
    pytest.skip(reason)

@pytest.mark.skipif(True, reason="no camera here")
def test_before():
    pass
"""


def outcome(tmp_path, ci):
    """Exit status and output of a session with three skips, under the project's own options."""
    (tmp_path / "test_skipping.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    command += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), str(tmp_path)]
    environ = {**os.environ, "CI": ci}
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("ci", ["", "false"])
def test_elsewhere_skips_are_told_with_their_reasons(tmp_path, ci):
    """Nothing fails, and nothing is silent."""
    status, output = outcome(tmp_path, ci)
    assert status == 0, output
    for reason in ("no browser here", "street.jpg", "no camera here"):
        assert reason in output


def test_in_ci_only_what_is_expected_may_be_skipped(tmp_path):
    """Test data may be absent; a program that is missing is a test that did not run."""
    status, output = outcome(tmp_path, "true")
    assert status == 1, output
    assert "skipped in CI: no browser here" in output
    assert "skipped in CI: no camera here" in output
    assert "1 skipped" in output
