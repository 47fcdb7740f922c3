"""What runs a model and what is said of it, by the real process on a box without a GPU."""

import json
import shutil
from pathlib import Path

import pytest

from tests.support.models import FOREIGN_CARDS
from tests.support.process import (
    MODEL,
    TOKEN,
    restrained,
    run,
    started,
    station_environ,
    write_clip,
)

pytestmark = pytest.mark.slow


def camera(folder, *keys):
    clip = str(write_clip(folder / "clip.avi"))
    return {f"APPLIANCE_CAMERAS__{key}__URL": clip for key in keys}


def metric(station, name):
    """The lines of one metric."""
    text = station.get("/metrics", Authorization=f"Bearer {TOKEN}").text
    return [line for line in text.splitlines() if line.startswith(name)]


def test_what_is_required_and_is_not_here_keeps_the_station_unready(tmp_path):
    """It lives, shows its page, runs nothing in its place, and says why."""
    environ = station_environ(
        tmp_path, built=False, **camera(tmp_path, "GATE"), APPLIANCE_ENGINE__REQUIRE="tensorrt"
    )
    assert run(environ, "build").returncode == 1
    with started(environ, tmp_path / "log") as station:
        told = station.wait_until(
            lambda: [r for r in station.ready().json()["reasons"] if "required" in r]
        )
        assert "TensorRT is required and does not run here" in told[0]
        assert station.ready().status_code == 503
        assert station.get("/api/health").status_code == 200
        asked = run(environ, "health")
        assert asked.returncode == 1
        assert "TensorRT is required" in asked.stdout
        assert station.get("/login").status_code == 200
        (line,) = metric(station, "appliance_engine_running{")
        assert line.endswith(" 0.0")
        assert station.stop() == 0
    assert not list(tmp_path.glob("cache/engines/*/*"))


def test_a_fallback_serves_and_is_told_everywhere(tmp_path):
    """What was asked for, what runs and why: in health, metrics and the log; it is ready."""
    environ = station_environ(
        tmp_path, **camera(tmp_path, "GATE"), APPLIANCE_ENGINE__BACKEND="tensorrt"
    )
    with started(environ, tmp_path / "log") as station:
        station.wait_until_ready()
        ready = station.ready().json()
        assert ready["health"] == "degraded"
        assert any("TensorRT does not run here" in reason for reason in ready["reasons"])
        (line,) = metric(station, "appliance_engine_fallback{")
        assert 'asked="tensorrt"' in line
        assert line.endswith(" 1.0")
        assert "fallback: TensorRT does not run here" in station.log.read_text()
        assert station.stop() == 0


def test_a_station_takes_its_own_pictures_to_be_proven_by(tmp_path):
    """As many as were asked for, then the engine is compared on them while it serves."""
    environ = station_environ(
        tmp_path, **camera(tmp_path, "GATE", "YARD", "DOCK"), APPLIANCE_VERIFY__PICTURES="3"
    )
    with started(environ, tmp_path / "log") as station:
        station.wait_until(lambda: "6 objects to compare" in station.log.read_text())
        assert station.ready().status_code == 200
        assert "runs it" not in station.log.read_text()
        assert station.stop() == 0
    pictures = list((tmp_path / "state" / "models" / MODEL / "verify").iterdir())
    assert len(pictures) == 3


def test_a_cache_that_cannot_be_written_does_not_keep_the_page_away(tmp_path):
    """The engine is not there and says so; with one there before, the station runs (O-23)."""
    environ = station_environ(tmp_path, built=False, **camera(tmp_path, "GATE"))
    engines = tmp_path / "cache" / "engines"
    engines.mkdir(parents=True)
    engines.chmod(0o500)
    with started(environ, tmp_path / "log", prefix=restrained()) as station:
        station.wait_until(
            lambda: (
                "APPLIANCE_PATHS__CACHE" in station.log.read_text()
                and station.ready().status_code == 503
            )
        )
        assert station.get("/login").status_code == 200
        assert station.stop() == 0
    engines.chmod(0o700)
    assert run(environ, "build").returncode == 0
    for folder in (*engines.rglob("*"), engines):
        if folder.is_dir():
            folder.chmod(0o500)
    with started(environ, tmp_path / "log", prefix=restrained()) as station:
        station.wait_until_ready()
        assert station.stop() == 0
    for folder in (engines, *engines.rglob("*")):
        if folder.is_dir():
            folder.chmod(0o700)


def write_models(folder, test_data, centernet):
    """The built-in detector's weights, and two more with their cards."""
    shutil.copytree(Path(centernet).parent, folder / Path(centernet).parent.name)
    for name in ("yolox_nano_coco_416.onnx", "fastestdet_coco_352.onnx"):
        place = folder / name.partition("_")[0]
        place.mkdir()
        shutil.copy(test_data(name), place / "model.onnx")
        (place / "model.toml").write_text(FOREIGN_CARDS[name])
    return [Path(centernet).parent.name, "yolox", "fastestdet"]


def sidecars(folder):
    """What stands beside each engine, by model and backend."""
    found = {}
    for path in folder.glob("*/*/engine.json"):
        document = json.loads(path.read_text())
        found[path.parent.parent.name, document["key"]["backend"]] = path, document
    return found


def test_one_command_makes_every_engine_that_this_box_can(tmp_path, test_data, centernet):
    """Engine, report and sidecar for the processor, and one for RTX that nothing here verifies.

    A second run changes nothing.
    """
    environ = station_environ(tmp_path, built=False, APPLIANCE_ENGINE__BACKEND="rtx")
    names = write_models(tmp_path / "state" / "models", test_data, centernet)
    built = run(environ, "build", *names)
    assert built.returncode == 0, built.stderr
    engines = tmp_path / "cache" / "engines"
    made = sidecars(engines)
    assert set(made) == {(name, backend) for name in names for backend in ("cpu", "rtx")}
    for (_, backend), (path, document) in made.items():
        verdict = {"cpu": "unproven", "rtx": "unverified"}[backend]
        assert document["verification"]["verdict"] == verdict
        assert (path.parent / document["engine"]).stat().st_size > 100_000
        assert (path.parent / "report.html").is_file()
        assert (path.parent / "report.json").is_file()
    before = {path: path.stat().st_mtime_ns for path in engines.rglob("*")}
    again = run(environ, "build", *names)
    assert again.returncode == 0, again.stderr
    assert "Rewriting the graph" not in again.stderr
    assert {path: path.stat().st_mtime_ns for path in engines.rglob("*")} == before
