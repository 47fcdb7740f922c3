"""Models that were made to do harm, at the real build: each ends, is told, and takes little."""

import os
import sys
import threading
import time

import psutil
import pytest

from appliance.app.child import BuildChild
from appliance.errors import EngineError
from tests.support.bombs import BOMBS, many_tiny_nodes, write
from tests.support.process import MODEL, run, started, station_environ

pytestmark = pytest.mark.slow
LIMIT_S = 15.0  # for a build here; a station gives it APPLIANCE_ENGINE__BUILD_MINUTES
SOONER_S = 6.0  # for those that nothing but their limit ends
ENDLESS = {"a loop without an end", "32768 graphs in each other"}
COMMAND = [sys.executable, "-m", "appliance", "build", "--json", "--backend", "cpu", MODEL]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder of a model in a state of its own, which commands are told of."""
    environ = station_environ(tmp_path, built=False)
    for name in [name for name in os.environ if name.startswith("APPLIANCE_")]:
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "state" / "models" / MODEL
    (folder / "zero").symlink_to("/dev/zero")
    return folder


class Peak:
    """The most memory that a child has taken, while it runs."""

    def __init__(self, child):
        self.rss_bytes, self._child, self._over = 0, child, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self):
        while not self._over.wait(0.02):
            process = self._child._child
            if process is None or process.returncode is not None:
                continue
            try:
                self.rss_bytes = max(self.rss_bytes, psutil.Process(process.pid).memory_info().rss)
            except psutil.Error:
                continue


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_build_of_a_hostile_model_ends_in_time_and_within_memory(place, bomb):
    """In a sentence of its own, or because its time was over; never by the kernel."""
    write(place / "model.onnx", BOMBS[bomb]())
    child = BuildChild(limit_s=SOONER_S if bomb in ENDLESS else LIMIT_S)
    began_s, told = time.monotonic(), "built"
    with Peak(child) as peak:
        try:
            child.run(COMMAND, lambda *_: None)
        except EngineError as error:
            told = error.sentence()
    assert time.monotonic() - began_s < LIMIT_S + 20
    assert peak.rss_bytes < 1_500_000_000
    assert len(told) < 3000
    assert "killed" not in told


def test_a_station_serves_its_page_and_says_why_a_hostile_model_does_not_run(tmp_path):
    """What the station itself reads of the model takes no memory either."""
    environ = station_environ(tmp_path, built=False)
    write(tmp_path / "state" / "models" / MODEL / "model.onnx", many_tiny_nodes())
    with started(environ, tmp_path / "log") as station:
        station.wait_until(lambda: "fields" in (tmp_path / "log").read_text())
        assert station.get("/api/health").status_code == 200
        assert psutil.Process(station.child.pid).memory_info().rss < 500_000_000
    inspected = run(environ, "models", "inspect", MODEL)
    assert inspected.returncode == 1
    assert "fields" in inspected.stderr
