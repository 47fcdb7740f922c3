"""Engine builds of the TensorRT family: real ones by TensorRT for RTX, and what fails in them."""

import types

import numpy as np
import onnx
import pytest
import tensorrt_rtx
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger
from onnx import TensorProto, helper

from appliance.errors import DeviceError, EngineError
from appliance.runtimes import BuildOptions, tensorrt
from appliance.runtimes.tensorrt.building import PLAN_FILE, Shares, build_engine, build_with
from tests.support.models import bright_spots, model_of

RTX = "tensorrt_rtx"


def untold(_what, _share):
    """Progress for nobody."""


@pytest.fixture
def said():
    """What was logged, line by line."""
    lines = []
    sink = logger.add(lines.append, level="DEBUG", format="{level} {message}")
    yield lines
    logger.remove(sink)


@pytest.fixture
def spots(tmp_path):
    """A small network as a file."""
    path = tmp_path / "spots.onnx"
    onnx.save(bright_spots(64), path)
    return path


@pytest.fixture
def made_library(tmp_path, monkeypatch):
    """Makes a module `tensorrt` of these lines, for this process and its children."""

    def make(lines):
        (tmp_path / "tensorrt.py").write_text(lines, encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(tensorrt.sys.modules, "tensorrt", raising=False)

    return make


DIES = """\
import os, signal
class Logger: pass
def Builder(logger): os.kill(os.getpid(), signal.SIGSEGV)
"""
DIES_AT_ONCE = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
LACKS_A_PART = 'raise ImportError("libnvinfer.so.10: cannot open shared object file")\n'
LACKS_A_MODULE = "import tensorrt_libs_that_nobody_has\n"
HAS_NO_FACTORY = """\
class Logger: pass
def Builder(logger): raise TypeError("pybind11::init(): factory function returned nullptr")
"""
SLEEPS = "import time\ntime.sleep(60)\n"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (DIES, "the process dies of SIGSEGV"),
        (DIES_AT_ONCE, "the process dies of SIGSEGV"),
        (LACKS_A_PART, "libnvinfer.so.10: cannot open"),
        (LACKS_A_MODULE, "tensorrt_libs_that_nobody_has"),
        (HAS_NO_FACTORY, "factory function returned nullptr"),
    ],
)
def test_a_library_that_takes_its_process_down_is_an_error_here(made_library, lines, message):
    """What a library does to its process without a driver, it does to another process first."""
    made_library(lines)
    for _ in range(2):  # it is as broken the second time
        with pytest.raises(EngineError, match=message) as caught:
            tensorrt.trial("tensorrt")
        assert str(caught.value).startswith("TensorRT cannot be used here: ")
        assert "driver" in caught.value.hint


def test_a_library_that_never_answers_is_an_error(made_library, monkeypatch):
    """A driver that hangs does not hang the build for ever."""
    made_library(SLEEPS)
    monkeypatch.setattr(tensorrt, "TRIAL_S", 0.2)
    with pytest.raises(EngineError, match="does not answer within"):
        tensorrt.trial("tensorrt")


@pytest.mark.parametrize("lines", [LACKS_A_PART, LACKS_A_MODULE])
def test_a_library_in_pieces_is_not_called_missing(made_library, lines):
    """What is installed and cannot be loaded wants another remedy."""
    made_library(lines)
    with pytest.raises(EngineError, match="cannot be used here"):
        tensorrt.library("tensorrt")


@pytest.mark.parametrize(("name", "extra"), [("tensorrt", "cuda"), (RTX, "rtx")])
def test_a_missing_library_is_named_with_its_extra(monkeypatch, name, extra):
    """The person is told what to install."""
    monkeypatch.setitem(tensorrt.sys.modules, name, None)
    tensorrt.trial.cache_clear()
    for ask in (tensorrt.library, tensorrt.version, tensorrt.trial):
        with pytest.raises(EngineError, match="is not installed") as caught:
            ask(name)
        assert caught.value.hint == f"Install the extra {extra}."


def test_the_real_library_passes_its_trial():
    """And tells its version."""
    tensorrt.trial(RTX)
    assert tensorrt.version(RTX) == tensorrt_rtx.__version__
    assert tensorrt.library(RTX) is tensorrt_rtx


def test_a_library_has_one_listener(said):
    """The library keeps its first logger, so there is one; errors are told once."""
    listener = tensorrt.listener(tensorrt_rtx)
    assert tensorrt.listener(tensorrt_rtx) is listener
    listener.take()
    severity = tensorrt_rtx.ILogger
    listener.log(severity.INFO, "chatter")
    listener.log(severity.WARNING, "careful")
    listener.log(severity.ERROR, "one\n  two")
    listener.log(severity.INTERNAL_ERROR, "three")
    assert listener.take() == ("one two", "three")
    assert listener.take() == ()
    assert [line.strip().partition(": ")[2] for line in said] == ["careful", "one two", "three"]


def test_an_engine_is_built(tmp_path, spots):
    """A plan of the library's, and progress that grows from 0 to 1."""
    told = []
    plan = build_engine(
        RTX, spots, tmp_path, BuildOptions(), lambda what, share: told.append((what, share))
    )
    assert plan == tmp_path / PLAN_FILE
    assert plan.read_bytes().startswith(b"vtrt")
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert len(shares) > 10
    assert told[0][0] == "Reading the graph"
    assert {what for what, _ in told[1:]} == {"Building the engine with TensorRT for RTX"}


def only(kind, into, shape, *, out=TensorProto.FLOAT, domain="", **weights):
    """A network of one node, called `culprit`."""
    node = helper.make_node(kind, ["x", *weights], into, name="culprit", domain=domain)
    model = model_of([node], inputs={"x": shape}, outputs={into[0]: shape}, weights=weights)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(into[0], out, None))
    return model


@pytest.mark.parametrize(
    ("kind", "more", "message"),
    [
        ("Det", {}, "cannot read the graph: Det culprit: "),
        ("NonZero", {"out": TensorProto.INT64}, "cannot read the graph: NonZero culprit: "),
        ("Foo", {"domain": "nobodys"}, "cannot read the graph: Foo culprit: .*Plugin not found"),
    ],
)
def test_an_unknown_operator_is_named(tmp_path, kind, more, message):
    """The person can look it up, and is told what runs the model all the same."""
    path = tmp_path / "model.onnx"
    onnx.save(only(kind, ["y"], (3, 3), **more), path)
    with pytest.raises(EngineError, match=message) as caught:
        build_engine(RTX, path, tmp_path, BuildOptions(), untold)
    assert "\n" not in caught.value.sentence()
    assert "ONNX Runtime" in caught.value.hint
    assert not (tmp_path / PLAN_FILE).exists()


def test_what_is_no_model_is_refused(tmp_path):
    """A damaged file is an error with the library's words."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(EngineError, match="Failed to parse the ONNX model"):
        build_engine(RTX, path, tmp_path, BuildOptions(), untold)


def test_what_the_builder_refuses_is_told_in_its_words(tmp_path):
    """A graph that can be read and not be built: 5,000 is more than TopK has."""
    path = tmp_path / "model.onnx"
    model = only("TopK", ["y", "places"], (1, 9000), k=np.array([5000]))
    onnx.save(model, path)
    with pytest.raises(EngineError, match="culprit: K exceeds the maximum value allowed") as caught:
        build_engine(RTX, path, tmp_path, BuildOptions(), untold)
    assert str(caught.value).startswith("TensorRT for RTX cannot build the engine: ")


def test_what_means_nothing_is_said(tmp_path, spots, said):
    """Engines of TensorRT for RTX fit every GPU, and are timed where they run."""
    options = BuildOptions(compatibility="ampere_plus", timings=tmp_path / "timings")
    build_engine(RTX, spots, tmp_path, options, untold)
    assert any("compatibility ampere_plus says nothing here" in line for line in said)
    assert not (tmp_path / "timings").exists()


@given(
    st.recursive(
        st.integers(0, 5), lambda inner: st.lists(inner, min_size=1, max_size=4), max_leaves=20
    )
)
def test_shares_never_fall(tree):
    """Whatever phases a build has within each other, the share grows, and ends at 1."""
    told = []
    shares = Shares(told.append)

    def walk(name, parent, steps):
        inner = steps if isinstance(steps, list) else [None] * steps
        shares.phase_start(name, parent, len(inner))
        for index, each in enumerate(inner):
            if each is not None:
                walk(f"{name}.{index}", name, each)
            assert shares.step_complete(name, index) is True
        shares.phase_finish(name)

    walk("all", None, [tree])
    assert told == sorted(told)
    assert len(told) == len(set(told)) <= 101
    assert told[-1] == 1.0


class Cache:
    """What was measured; the library's bytes tell for which GPU."""

    def __init__(self, blob):
        self.blob = blob

    def serialize(self):
        return memoryview(self.blob + b"+")


class Config:
    builder_optimization_level = None
    profiling_verbosity = None
    hardware_compatibility_level = None
    progress_monitor = None

    def __init__(self):
        self._cache, self._limits, self._cleared = None, {}, []

    def set_memory_pool_limit(self, pool, size):
        self._limits[pool] = size

    def clear_flag(self, flag):
        self._cleared.append(flag)

    def create_timing_cache(self, blob):
        return None if blob == b"damaged" else Cache(blob)

    def set_timing_cache(self, cache, ignore_mismatch):
        assert not ignore_mismatch
        if cache.blob == b"of another GPU":
            return False
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache


class OnnxParser:
    num_errors = 0

    def __init__(self, network, _logger):
        assert network == 1 << int(tensorrt_rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED)

    def parse_from_file(self, path):
        return path.endswith(".onnx")

    def get_error(self, index):
        raise AssertionError(index)


REAL = {"Builder": tensorrt_rtx.Builder, "Config": tensorrt_rtx.IBuilderConfig}
REAL |= {"Cache": tensorrt_rtx.ITimingCache, "OnnxParser": tensorrt_rtx.OnnxParser}
BORROWED = (
    "BuilderFlag",
    "HardwareCompatibilityLevel",
    "ILogger",
    "IProgressMonitor",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "ProfilingVerbosity",
)


class FakeTensorRt(types.ModuleType):
    """The module `tensorrt` as far as a build goes; enums and base classes are RTX's own."""

    def __init__(self, errors=()):
        super().__init__("tensorrt")
        self.__version__ = "10.16.1"
        for name in BORROWED:
            setattr(self, name, getattr(tensorrt_rtx, name))
        self.config = config = Config()
        self.OnnxParser = OnnxParser

        class Builder:
            def __init__(self, logger):
                self._logger = logger

            def create_network(self, flags):
                return flags

            def create_builder_config(self):
                return config

            def build_serialized_network(self, _network, config):
                for error in errors:
                    self._logger.log(tensorrt_rtx.ILogger.ERROR, error)
                config.progress_monitor.phase_start("all", None, 2)
                config.progress_monitor.step_complete("all", 0)
                return None if errors else memoryview(b"plan")

        self.Builder = Builder


def test_the_stand_in_has_the_real_names():
    """Whatever it offers, the real library of the family offers too."""
    stand_ins = {"Builder": FakeTensorRt().Builder, "Config": Config}
    stand_ins |= {"Cache": Cache, "OnnxParser": OnnxParser}
    for name, stand_in in stand_ins.items():
        offered = {each for each in vars(stand_in) if not each.startswith("_")}
        assert offered
        assert offered <= set(dir(REAL[name]))


@pytest.fixture
def build(tmp_path):
    """Builds with the stand-in; the plan's path."""

    def run(library, options, progress=untold):
        return build_with(library, tmp_path / "model.onnx", tmp_path, options, progress)

    return run


def test_options_are_heeded(build):
    """Workspace, level and GPUs reach the builder; no rounding that nobody asked for."""
    library = FakeTensorRt()
    told = []
    options = BuildOptions(workspace_mb=512, optimization_level=5, compatibility="ampere_plus")
    path = build(library, options, lambda _what, share: told.append(share))
    assert path.read_bytes() == b"plan"
    config = library.config
    assert config._limits == {library.MemoryPoolType.WORKSPACE: 512 << 20}
    assert config.builder_optimization_level == 5
    assert config.hardware_compatibility_level == library.HardwareCompatibilityLevel.AMPERE_PLUS
    assert config.profiling_verbosity == library.ProfilingVerbosity.DETAILED
    assert config._cleared == [library.BuilderFlag.TF32]
    assert told == sorted(told)
    assert any(0.5 < share < 0.6 for share in told)  # half of the building


def test_what_is_not_asked_is_left_alone(build):
    """No limit, no compatibility, no timings: the library's own defaults."""
    library = FakeTensorRt()
    build(library, BuildOptions())
    assert library.config._limits == {}
    assert library.config.hardware_compatibility_level is None
    assert library.config._cache is None


def test_engines_for_other_gpus_need_a_library_that_has_them(build):
    """An option that means something is never passed over."""
    library = FakeTensorRt()
    library.HardwareCompatibilityLevel = types.SimpleNamespace(NONE=0)
    with pytest.raises(EngineError, match=r"10\.16\.1 has no engines for ampere_plus") as caught:
        build(library, BuildOptions(compatibility="ampere_plus"))
    assert "APPLIANCE_ENGINE__COMPATIBILITY=none" in caught.value.hint


def test_timings_are_kept_and_used_again(tmp_path, build):
    """The second build begins with what the first one measured; the file is never half written."""
    timings = tmp_path / "cache" / "timings"
    build(FakeTensorRt(), BuildOptions(timings=timings))
    assert timings.read_bytes() == b"+"
    build(FakeTensorRt(), BuildOptions(timings=timings))
    assert timings.read_bytes() == b"++"
    assert list(timings.parent.iterdir()) == [timings]


@pytest.mark.parametrize("foreign", [b"of another GPU", b"damaged"])
def test_foreign_timings_are_measured_anew(tmp_path, build, said, foreign):
    """What another GPU measured is not believed, and is replaced."""
    timings = tmp_path / "timings"
    timings.write_bytes(foreign)
    build(FakeTensorRt(), BuildOptions(timings=timings))
    assert timings.read_bytes() == b"+"
    assert any("measured again" in line for line in said)


def test_timings_that_cannot_be_written_fail_nothing(tmp_path, build, said):
    """The engine is there; only the next build takes as long again, and the log says so."""
    (tmp_path / "timings.new").mkdir()
    path = build(FakeTensorRt(), BuildOptions(timings=tmp_path / "timings"))
    assert path.read_bytes() == b"plan"
    assert any(line.startswith("WARNING") and "cannot be written" in line for line in said)


NO_ROOM = "[E] Error Code 1: Cuda Runtime (out of memory)"
NO_KERNEL = "[E] Error Code 10: Could not find any implementation for node conv"


@pytest.mark.parametrize(
    ("errors", "kind", "hint"),
    [
        ((NO_ROOM, NO_KERNEL), DeviceError, "WORKSPACE_MB lower"),
        (("Error Code 2: OutOfMemory (Requested size was 99 bytes.)",), DeviceError, "short of"),
        ((f"{NO_KERNEL} due to insufficient workspace.",), EngineError, "WORKSPACE_MB higher"),
        ((NO_KERNEL,), EngineError, "APPLIANCE_ENGINE__BACKEND=cuda or cpu"),
    ],
)
def test_a_build_that_gives_nothing_says_why(build, errors, kind, hint):
    """The library's last word, and the setting that helps; short memory is the device's fault."""
    library = FakeTensorRt(errors)
    tensorrt.listener(library).log(library.ILogger.ERROR, "of another build")
    with pytest.raises(EngineError) as caught:
        build(library, BuildOptions())
    assert type(caught.value) is kind
    assert str(caught.value) == f"TensorRT cannot build the engine: {errors[-1]}"
    assert hint in caught.value.hint
