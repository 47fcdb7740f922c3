"""Python collects as usual once all is imported; and what is large does not wait for that."""

import gc
import subprocess
import sys
import weakref

import cv2
import numpy as np
import psutil
import pytest

from appliance.buffers import nobody, pageable
from appliance.capture.contract import CameraSpec
from appliance.capture.memory import FrameMemory
from appliance.capture.reading import Reading
from appliance.capture.timing import FrameMeter, Timing
from appliance.engines import cpu
from appliance.errors import EngineError, PictureError, SourceError
from appliance.pictures import Limits
from appliance.pictures.pixels import read_picture
from appliance.runtimes import EngineOptions
from appliance.stores.database import Database
from tests.support.scripted import ScriptedCapture, scripted_source
from tests.support.spots import CONTRACT, write_spots

STARTED = """
import gc
usual = gc.get_threshold()
from appliance.garbage import collect_seldom
collect_seldom()
assert gc.get_threshold() != usual
from appliance.web.importing import import_gradio
import_gradio()
assert gc.get_threshold() == usual, gc.get_threshold()
assert gc.get_freeze_count() > 100_000
full = []
gc.callbacks.append(lambda phase, about: full.append(phase) if about["generation"] == 2 else None)
kept = []
for _ in range(200_000):  # about as many objects as a station makes in a few hundred attempts
    cycle = []
    cycle.append(cycle)
    kept = [cycle, *kept[:2000]]
assert full, gc.get_stats()
"""


def test_a_station_collects_as_python_does_once_it_has_started():
    """What was imported is left alone, and full collections come: seldom would keep garbage."""
    done = subprocess.run(
        [sys.executable, "-c", STARTED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def no_collections():
    """Nothing is freed but what nobody refers to."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collections")
def test_an_attempt_that_failed_frees_its_connection_by_itself():
    """The error that is kept leads to neither the camera's connection nor its pictures."""
    capture = ScriptedCapture([(64, 48)] * 9)

    def fail(index):
        if index == 3:
            raise SourceError("the camera has gone")

    capture.before_grab = fail
    gone = weakref.ref(capture)
    timing = Timing(wall_s=lambda: 0.0)
    memory = FrameMemory(count=3, allocate=pageable, on_publish=nobody, clock_ns=timing.clock_ns)
    reading = Reading(
        CameraSpec(key="dock", name="Dock", url="scripted://"),
        scripted_source(capture),
        memory=memory,
        meter=FrameMeter(),
        timing=timing,
        wake=nobody,
    )
    del capture, fail
    reading.start()
    assert reading.join(10)
    assert str(reading.error) == "the camera has gone"
    reading._source = None
    assert gone() is None


@pytest.mark.usefixtures("no_collections")
def test_a_closed_engine_frees_its_session_by_itself(tmp_path):
    """ONNX Runtime's memory goes with the engine, one that was refused as well."""
    path = write_spots(tmp_path / "engine.onnx")
    engine = cpu.ENGINE.load(path, CONTRACT, EngineOptions(in_flight=2))
    session = weakref.ref(engine._session)
    engine.close()
    assert session() is None
    path.write_bytes(b"no model")
    with pytest.raises(EngineError):
        cpu.ENGINE.load(path, CONTRACT, EngineOptions())


@pytest.mark.usefixtures("no_collections")
def test_a_database_that_has_ended_holds_no_connection(tmp_path):
    """Connections are closed where the database ends, not where somebody collects."""
    database = Database(tmp_path, wall_s=lambda: 1.8e9)
    database.start()
    database.submit(lambda connection: connection.exec_driver_sql("SELECT 1")).result(10)
    assert opened(tmp_path)
    database.stop()
    assert database.join(10)
    assert not opened(tmp_path)


def opened(folder):
    """Files of a folder that this process holds open."""
    return [
        file.path for file in psutil.Process().open_files() if file.path.startswith(str(folder))
    ]


@pytest.mark.usefixtures("no_collections")
def test_a_picture_that_is_refused_frees_its_memory_by_itself():
    """A cut picture of a person is held by nothing once its error was told."""
    pixels = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), np.uint8)
    data = cv2.imencode(".jpg", pixels)[1].tobytes()[:-5000]
    process = psutil.Process()
    for attempt in range(12):
        if attempt == 2:
            before_mb = process.memory_info().rss / 1e6
        with pytest.raises(PictureError):
            read_picture(data, Limits())
    assert process.memory_info().rss / 1e6 - before_mb < 20  # of ten times nine
