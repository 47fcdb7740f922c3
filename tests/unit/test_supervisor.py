"""The watchdog is fed while the loop ticks, and only then."""

import re
import socket
import threading
import time

import pytest
from loguru import logger

from appliance.capture.camera import Camera
from appliance.capture.contract import CameraSpec
from appliance.capture.sources import file
from appliance.capture.timing import Backoff, Timing
from appliance.pipeline import station as station_module
from appliance.pipeline import supervisor as supervisor_module
from appliance.pipeline.encoder import LiveEncoder
from appliance.pipeline.engine_room import EngineRoom, Prepared
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.history import History
from appliance.pipeline.lanes import Lane
from appliance.pipeline.loop import IDLE_S, Loop
from appliance.pipeline.notify import notifier
from appliance.pipeline.start_up import StartUp
from appliance.pipeline.station import Station
from appliance.pipeline.stats import CameraStats
from appliance.pipeline.supervisor import Supervisor
from appliance.readings import SinkReading, StoreReading
from appliance.values import CameraState
from tests.support.fakes import LevelEngine, PaintedCamera, served, wait_until

PERIOD_S = 0.05
STUCK_S = 3 * IDLE_S  # an idle loop ticks well within


class Manager:
    """The service manager's end of a real notify socket; messages with their arrival time."""

    def __init__(self, path):
        self.messages = []
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        while (message := self._socket.recv(4096)) != b"end":
            self.messages.append((time.monotonic(), message.decode()))

    def fed(self):
        """When the watchdog was fed."""
        return [at for at, message in self.messages if message == "WATCHDOG=1"]

    def statuses(self):
        """What was said of the station, in order."""
        texts = [message for _, message in self.messages]
        return [text.removeprefix("STATUS=") for text in texts if text.startswith("STATUS=")]

    def close(self):
        notifier(self.address)("end")
        self._thread.join(10)
        self._socket.close()


class Plant:
    """A real station: a loop with a fake engine, a painted lane, and a camera that is a file."""

    def __init__(self, folder, manager):
        self.engine = LevelEngine()
        self.lane = PaintedCamera()
        self.gate = threading.Event()  # lets the engine's preparation go on
        self.told = threading.Semaphore(0)  # lets it make the next step
        self.shares = [0.1]
        self.sinks, self.publishing = {}, {"metrics": ""}
        heartbeat = Heartbeat(time.monotonic_ns)
        self.loop = Loop(
            [Lane("lane", self.lane, "m")],
            on_result=lambda _result, _lease: None,
            on_failure=self._failed,
            heartbeat=heartbeat,
            clock_ns=time.monotonic_ns,
        )
        self.lane.on_publish = self.loop.wake
        self.room = EngineRoom(
            ["m"],
            asked="auto",
            clock_ns=time.monotonic_ns,
            preparer=self,
            install=self.loop.install,
            withdraw=self.loop.withdraw,
        )
        self.encoder = LiveEncoder(
            lambda _picture: None, fps=10, quality=80, clock_ns=time.monotonic_ns
        )
        spec = CameraSpec(key="dock", name="Dock", url=str(folder / "missing.mp4"))
        timing = Timing(wall_s=time.time, backoff=Backoff(first_s=0.05, cap_s=0.05))
        self.camera = Camera(spec, file.SOURCE, timing=timing, slots_count=6)
        self.station = Station(
            cameras={"dock": self.camera},
            models={"dock": "m"},
            stats={"dock": CameraStats(time.monotonic_ns)},
            history=History(["dock"], time.monotonic_ns),
            room=self.room,
            loop=self.loop,
            encoders=(self.encoder,),
            heartbeat=heartbeat,
            state_folder=folder,
            wall_s=time.time,
            viewers=lambda: 2,
            started_s=time.time(),
            log_lines=dict,
            start_up=StartUp(),
            store=StoreReading,
            sinks=lambda: self.sinks,
            publishing=lambda: self.publishing,
        )
        notify = notifier(manager.address)
        self.supervisor = Supervisor(self.station, notify, period_s=PERIOD_S)

    def _failed(self, served, error):
        self.room.failed(served, error)

    def forget(self, name):
        pass

    def is_changed(self, _name):
        return False

    def prepare(self, name, progress, _without):
        for share in self.shares:
            progress("Building the engine", share)
            self.told.acquire(timeout=10)
        assert self.gate.wait(20)
        yield Prepared(served(name, self.engine), "proven", "")

    def open(self):
        """Let the engine's preparation go on to its end."""
        self.gate.set()
        self.told.release(len(self.shares))

    def start(self):
        for part in (self.loop, self.room, self.supervisor):
            part.start()

    def stop(self):
        self.open()
        self.engine.in_wait = lambda: None
        for part in (self.supervisor, self.camera, self.room, self.loop):
            part.stop()
            assert part.join(10)


@pytest.fixture
def manager(tmp_path):
    """A service manager that listens."""
    listening = Manager(tmp_path / "notify")
    yield listening
    listening.close()


@pytest.fixture
def plant(tmp_path, manager, monkeypatch):
    """A station under a supervisor with little patience."""
    monkeypatch.setattr(station_module, "STUCK_S", STUCK_S)
    monkeypatch.setattr(supervisor_module, "STUCK_S", STUCK_S)
    made = Plant(tmp_path, manager)
    yield made
    made.stop()


def wait_for_feeding(manager, times=3):
    before = len(manager.fed())
    wait_until(lambda: len(manager.fed()) >= before + times)


def test_a_slow_build_keeps_the_watchdog_fed(plant, manager):
    """While an engine is built the idle loop ticks: the manager is told and waits (O-22)."""
    plant.start()
    wait_for_feeding(manager, 10)
    assert manager.statuses()[0].startswith("Starting. Building m, 10 %: Building the engine")
    plant.open()
    wait_until(lambda: len(manager.statuses()) > 1)
    wait_for_feeding(manager)


@pytest.mark.slow
def test_a_frozen_loop_starves_the_watchdog(plant, manager):
    """When the loop hangs in the engine no ping comes; when it moves again they do (O-22)."""
    plant.open()
    plant.start()
    release, frozen = threading.Event(), threading.Event()

    def freeze():
        frozen.set()
        release.wait(20)

    plant.engine.in_wait = freeze
    wait_for_feeding(manager)
    plant.lane.show(1)
    assert frozen.wait(10)
    wait_until(lambda: any(text.startswith("Failed") for text in manager.statuses()))
    fed = len(manager.fed())
    time.sleep(6 * PERIOD_S)
    assert len(manager.fed()) == fed
    assert "has not moved" in manager.statuses()[-1]
    release.set()
    wait_for_feeding(manager)
    wait_until(lambda: not manager.statuses()[-1].startswith("Failed"))


def test_one_hung_engine_of_two_is_told_and_keeps_the_watchdog_fed(plant, manager):
    """A restart would take the other one's cameras away, too; with both hung it is made (O-22)."""
    plant.open()
    plant.start()
    other, camera = LevelEngine(), PaintedCamera()
    camera.on_publish = plant.loop.wake
    plant.loop.install(served("other", other))
    plant.loop.add(Lane("second", camera, "other"))
    plant.engine.busy = {0, 1}
    wait_for_feeding(manager)
    plant.lane.show(1)
    told = "Degraded. m: The engine has not answered for"
    wait_until(lambda: any(told in text for text in manager.statuses()))
    assert plant.station.reading().ready
    wait_for_feeding(manager, 10)
    assert not any(text.startswith("Failed") for text in manager.statuses())
    other.busy = {0, 1}
    camera.show(2)
    wait_until(lambda: manager.statuses()[-1].startswith("Failed"))
    fed = len(manager.fed())
    time.sleep(6 * PERIOD_S)
    assert len(manager.fed()) == fed
    plant.engine.busy = other.busy = set()
    wait_until(lambda: manager.statuses()[-1] == "Ready")


def test_a_dead_camera_alone_keeps_the_watchdog_fed(plant, manager):
    """A camera that is away is degraded, told by name, and no reason to restart (O-22)."""
    plant.open()
    plant.start()
    plant.camera.start()
    wait_until(lambda: plant.camera.status().state is CameraState.OFFLINE)
    wait_until(lambda: manager.statuses()[-1:] == ["Degraded. Dock is offline"])
    fed = len(manager.fed())
    wait_for_feeding(manager, 10)
    assert len(manager.fed()) >= fed + 10


def test_a_sink_or_a_publisher_that_fails_is_told(plant, manager):
    """The station goes on, degraded, and says which of its parts gets no results."""
    plant.open()
    plant.start()
    wait_until(lambda: manager.statuses()[-1:] == ["Ready"])
    lost = SinkReading(2, "Some results do not reach encoder (ValueError)")
    plant.sinks, plant.publishing = {"encoder": lost}, {"metrics": "", "mqtt": "The broker is away"}
    wait_until(lambda: manager.statuses()[-1:] == [f"Degraded. {lost.trouble}. The broker is away"])
    assert plant.station.reading().sinks == {"encoder": lost}
    plant.sinks, plant.publishing = {"encoder": SinkReading(2)}, {"metrics": "", "mqtt": ""}
    wait_until(lambda: manager.statuses()[-1:] == ["Ready"])


def test_a_status_is_said_once(plant, manager):
    """The manager hears of a change, not of every look."""
    plant.open()
    plant.start()
    wait_until(lambda: manager.statuses()[-1:] == ["Ready"])
    wait_for_feeding(manager, 10)
    assert manager.statuses().count("Ready") == 1


def test_each_percent_of_a_build_is_told_and_logged_nowhere(plant, manager):
    """The manager's status follows the build; the log has one line for the whole stage (O-22)."""
    lines = []
    sink = logger.add(lines.append, format="{message}", level="INFO")
    plant.shares = [0.41, 0.414, 0.43]
    plant.start()
    for percent in (41, 41, 43):
        line = f"Starting. Building m, {percent} %: Building the engine"
        wait_until(lambda line=line: manager.statuses()[-1:] and line in manager.statuses()[-1])
        wait_for_feeding(manager)
        plant.told.release()
    logger.remove(sink)
    told = [text for text in manager.statuses() if "Building m" in text]
    assert [re.search(r"(\d+) %", text).group(1) for text in told] == ["41", "43"]
    assert sum("Building the engine" in line for line in lines) == 2  # the stage, the station


def test_the_reading_is_the_station(plant):
    """One reading holds cameras, engines, viewers and the process itself."""
    plant.open()
    plant.start()
    wait_until(lambda: plant.station.reading().ready)
    reading = plant.station.reading()
    assert [camera.key for camera in reading.cameras] == ["dock"]
    assert [engine.running for engine in reading.engines] == ["Fake engine"]
    assert reading.viewers == 2
    assert 0 < reading.disk_used < 1
    assert reading.memory_bytes > 1_000_000
    assert 0 <= reading.loop_age_s < STUCK_S


def test_histories_grow_with_time_not_with_looks(plant, monkeypatch):
    """However often the supervisor looks, a camera's history gets one entry a second."""
    monkeypatch.setattr(supervisor_module, "PERIOD_S", 4 * PERIOD_S)
    lengths = []

    def notify(message):
        if message == "WATCHDOG=1":
            lengths.append(len(plant.station.stats["dock"].figures().fps_history))

    plant.supervisor._notify = notify
    plant.start()
    wait_until(lambda: len(lengths) >= 9)
    assert lengths[:9] == [0, 0, 0, 1, 1, 1, 1, 2, 2]


def test_a_manager_that_is_gone_does_not_end_the_watch(plant, manager):
    """Messages that cannot be sent are logged, and the supervisor goes on."""
    lines = []
    sink = logger.add(lines.append, format="{message}", level="ERROR")
    sent, broken = plant.supervisor._notify, threading.Event()

    def notify(message):
        if not broken.is_set():
            broken.set()
            raise ConnectionRefusedError(message)
        sent(message)

    plant.supervisor._notify = notify
    plant.start()
    wait_for_feeding(manager)
    logger.remove(sink)
    assert any("supervisor" in line for line in lines)


def test_what_fails_every_second_is_told_once(plant, monkeypatch):
    """As where no descriptor is free; that it goes on is told, with how often it did not."""
    lines = []
    sink = logger.add(lambda message: lines.append(message.record["message"]), level="INFO")
    errors = [OSError(24, "Too many open files")] * 4 + [ValueError("another")] + [None] * 3

    def sample():
        if errors and (error := errors.pop(0)):
            raise error

    monkeypatch.setattr(supervisor_module, "PERIOD_S", 2 * PERIOD_S)
    monkeypatch.setattr(Station, "sample", lambda _: sample())
    plant.start()
    wait_until(lambda: not errors)
    logger.remove(sink)
    told = [line for line in lines if line.startswith("supervisor")]
    assert told == ["supervisor: unexpected error"] * 2 + [
        "supervisor: it looks again, after 5 failures"
    ]
