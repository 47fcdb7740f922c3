"""Where the time of a run goes: told at its end, and used to begin the next one with what is long.

`seconds.json` beside the tests holds the seconds of each file, the longest first. It is written
anew by `make test ARGS=--record-seconds`, on quiet cores.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

SECONDS_FILE = Path(__file__).parents[1] / "seconds.json"
TOLD = 10
WORTH_RECORDING_S = 1.0
TOGETHER = "tests/containers/"
"""What lies there shares one Docker engine, so one process runs all of it."""

FIXTURES = pytest.StashKey[list[tuple[str, float]]]()


def scope_of(nodeid: str) -> str:
    """What must stay in one process: a file's tests, and all of the containers'."""
    return TOGETHER if nodeid.startswith(TOGETHER) else nodeid.partition("::")[0]


class Timing:
    """A pytest plug-in; it works in one process and with pytest-xdist's.

    Args:
        config: of the run.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._record = config.getoption("--record-seconds")
        self._spent_s = sum(os.times()[:4])
        self._files: Counter[str] = Counter()
        self._processor: Counter[str] = Counter()
        self._tests: Counter[str] = Counter()
        self._fixtures: Counter[str] = Counter()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Long files first, so that the last worker does not end long after the others."""
        known = Counter[str]()
        for file, seconds in recorded().items():
            known[scope_of(file)] += seconds
        items.sort(key=lambda item: -known[scope_of(item.nodeid)])

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef, request):
        """Time one fixture; what it asks for has been set up before."""
        begin = time.monotonic()
        try:
            return (yield)
        finally:
            place = f"{fixturedef.baseid or 'conftest.py'}::{fixturedef.argname}"
            spent = request._pyfuncitem.stash.setdefault(FIXTURES, [])
            spent.append((place, time.monotonic() - begin))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        """Send what the fixtures took along with the report, from whichever process."""
        report = yield
        if call.when == "setup":
            report.fixtures_s = item.stash.get(FIXTURES, [])
        spent = sum(os.times()[:4])  # this process, and what has ended of those that it started
        report.processor_s = spent - self._spent_s
        self._spent_s = spent
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up what each part took."""
        file = report.nodeid.partition("::")[0]
        self._files[file] += report.duration
        self._processor[file] += getattr(report, "processor_s", 0)
        if report.when == "call":
            self._tests[report.nodeid] += report.duration
        for name, seconds in getattr(report, "fixtures_s", ()):
            self._fixtures[name] += seconds

    def pytest_terminal_summary(self, terminalreporter) -> None:
        """Tell the slowest, and keep the files' seconds where that was asked for."""
        for kind, spent, unit in (
            ("files", self._files, "s"),
            ("files by processor", self._processor, "core s"),
            ("tests", self._tests, "s"),
            ("fixtures", self._fixtures, "s"),
        ):
            terminalreporter.section(f"slowest {kind}")
            for line in slowest(spent, unit=unit):
                terminalreporter.write_line(line)
        if self._record:
            write(self._files)


def slowest(spent: Mapping[str, float], count: int = TOLD, *, unit: str = "s") -> Iterable[str]:
    """Lines of seconds and names, the longest first."""
    longest = sorted(spent.items(), key=lambda each: -each[1])[:count]
    return [f"{seconds:8.1f} {unit}  {name}" for name, seconds in longest]


def recorded() -> Mapping[str, float]:
    """Seconds by file, as last recorded."""
    return json.loads(SECONDS_FILE.read_text(encoding="utf-8"))


def write(files: Mapping[str, float]) -> None:
    """Record them: the longest first, and only what is worth it."""
    worth = {name: round(s) for name, s in files.items() if s >= WORTH_RECORDING_S}
    ordered = dict(sorted(worth.items(), key=lambda each: (-each[1], each[0])))
    SECONDS_FILE.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
