"""Nothing that runs here writes home about it, or anything into a home at all."""

import os
import subprocess
import sys

import onnxruntime
import pytest

PREPARED = """
from pathlib import Path
from appliance.settings import load, environment, prepare_process
prepare_process(load(environment()).settings.paths)
"""
RUN_AN_ENGINE = """
import sys
from pathlib import Path
from appliance.runtimes import EngineOptions
from appliance.engines.cpu import ENGINE
from appliance.values import ModelContract, TensorSpec
outputs = [("keypoints", (1, 16, 16, 2)), ("wh", (1, 16, 16, 4))]
contract = ModelContract(
    "any",
    TensorSpec("images", (1, 64, 64, 3), "float32"),
    tuple(TensorSpec(name, shape, "float32") for name, shape in outputs),
)
engine = ENGINE.load(Path(sys.argv[1]), contract, EngineOptions())
for slot in engine.slots:
    engine.submit(slot)
    engine.wait(slot)
engine.close()
print("ran")
"""


@pytest.fixture
def run(tmp_path, bright_spots):
    """Runs an engine in a process with an empty home; the files that are there afterwards."""

    def start(code):
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path / "home"),
            "XDG_CACHE_HOME": str(tmp_path / "home" / "cache"),
            "APPLIANCE_PATHS__STATE": str(tmp_path / "state"),
            "APPLIANCE_PATHS__CACHE": str(tmp_path / "cache"),
        }
        (tmp_path / "home" / "cache").mkdir(parents=True)
        model = str(bright_spots / "model.onnx")
        command = [sys.executable, "-c", code, model]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert done.stdout == "ran\n", done.stderr
        return [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]

    return start


@pytest.mark.slow
def test_an_engine_leaves_no_trace_in_the_home(run):
    """With our environment ONNX Runtime writes no device id, no database, nothing anywhere."""
    assert run(PREPARED + RUN_AN_ENGINE) == []


@pytest.mark.slow
def test_the_check_would_see_a_trace(run):
    """Without our environment the same run leaves files: what the test above looks for exists."""
    found = run(RUN_AN_ENGINE)
    if not found:
        pytest.skip(f"ONNX Runtime {onnxruntime.__version__} has no telemetry to switch off")
    assert any("onnxruntime" in path for path in found)
