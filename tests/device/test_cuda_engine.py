"""What can be shown of ONNX Runtime on CUDA where there is no GPU: that it says so."""

import weakref
from types import SimpleNamespace

import pytest

from appliance.engines import cuda as engine
from appliance.errors import DeviceError, DeviceLostError, EngineError
from appliance.runtimes import BuildOptions, EngineOptions, cuda, onnxruntime
from tests.support.fake_cuda import ERROR, FakeCuda
from tests.support.spots import (
    CONTRACT,
    GREEN,
    RED,
    SEES_GREEN,
    SEES_RED,
    run,
    seen,
    write_spots,
)


@pytest.fixture
def fake(monkeypatch):
    """A stand-in for the GPU, and a library that claims to know it."""
    made = FakeCuda()
    monkeypatch.setattr(cuda, "find", lambda: cuda.Cuda(made))
    providers = [engine.PROVIDER, "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime.library(), "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnxruntime.library(), "preload_dlls", lambda: None, raising=False)
    return made


@pytest.fixture
def path(tmp_path):
    """The tiny model."""
    return write_spots(tmp_path / "canonical.onnx")


def test_a_library_without_cuda_is_an_error(monkeypatch, path):
    """It says what to install, before anything is loaded."""
    only = ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime.library(), "get_available_providers", lambda: only)
    for use in (
        engine.ENGINE.device,
        lambda: engine.ENGINE.load(path, CONTRACT, EngineOptions()),
    ):
        with pytest.raises(EngineError, match="built without CUDA") as caught:
            use()
        assert "extra cuda" in caught.value.hint


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_the_quiet_way_back_to_the_processor_is_an_error(fake, path):
    """The library goes on without a word; the error names the part that is not there."""
    with pytest.raises(EngineError, match="on CPUExecutionProvider instead of CUDA") as caught:
        engine.ENGINE.load(path, CONTRACT, EngineOptions())
    assert "libonnxruntime_providers_cuda.so: cannot open" in str(caught.value)
    assert "extra cuda" in caught.value.hint
    assert fake.live == {}


def test_the_engines_file_is_the_canonical_graph(path, tmp_path):
    """As it is: the library optimizes it for the GPU that it finds."""
    made = engine.ENGINE.build(path, tmp_path, BuildOptions(), lambda _what, _share: None)
    assert made.read_bytes() == path.read_bytes()
    assert engine.ENGINE.build(made, tmp_path, BuildOptions(), lambda _what, _share: None) == made
    assert engine.ENGINE.bound_to(BuildOptions()) == ""


@pytest.mark.parametrize(
    "what",
    [
        "CUDA failure 2: out of memory ; GPU=0",
        "Failed to allocate memory for requested buffer of size 4096",
        "Error Code 1: Cuda Runtime (out of memory)",
        "Requested amount of GPU memory (4096 bytes) could not be allocated",
    ],
)
def test_a_library_that_finds_no_room_is_not_a_broken_engine(what):
    """In each library's words: the file is good, and people are told what makes room."""
    error = cuda.failure(what, hint="The engine is built again.")
    assert isinstance(error, DeviceError)
    assert "APPLIANCE_ENGINE__MEMORY_MB" in error.hint
    other = cuda.failure("the kernel is missing", hint="The engine is built again.")
    assert not isinstance(other, DeviceError)
    assert other.hint == "The engine is built again."


@pytest.fixture
def loaded(monkeypatch, path):
    """The engine on an integrated stand-in, where the library's work is the processor's.

    There is nothing to copy there, and the library runs at once instead of queueing. So only
    CUDA's own provider is not what it is on a GPU.
    """
    fake = FakeCuda(integrated=True)
    monkeypatch.setattr(cuda, "find", lambda: cuda.Cuda(fake))
    monkeypatch.setattr(engine, "PROVIDER", "CPUExecutionProvider")
    monkeypatch.setattr(engine, "MEMORY", "cpu")
    made = engine.ENGINE.load(path, CONTRACT, EngineOptions(in_flight=2))
    yield made, fake
    made.close()
    assert fake.live == {}


def test_the_library_reads_and_writes_the_slots_memory(loaded):
    """Inputs and outputs are bound once, each slot's to its own, and nothing is made later."""
    made, fake = loaded
    before = fake.made
    first, second = made.slots
    for _ in range(3):
        run(made, first, RED)
        run(made, second, GREEN)
        assert (seen(first), seen(second)) == (SEES_RED, SEES_GREEN)
    assert fake.made == before


def test_it_reports_what_the_librarys_own_graph_computes_in(loaded):
    """Read from the graph as the library has optimized it."""
    report = loaded[0].report
    assert report.computes == {"fp32": 1}
    assert report.running == "ONNX Runtime CUDA on Fake GPU"
    assert report.memory_bytes > 0
    assert report.note == ""


def test_a_closed_engine_refuses(loaded):
    """For good, also while a run was not waited for."""
    made, fake = loaded
    session = weakref.ref(made._session)
    made.submit(made.slots[0])
    made.close()
    made.close()
    assert session() is None
    for use in (made.submit, made.wait):
        with pytest.raises(EngineError, match="closed"):
            use(made.slots[0])
    assert fake.live == {}


def test_a_run_that_fails_says_why(loaded, monkeypatch):
    """No room is told from a failure, and a lost GPU from both: the driver's own answer counts."""
    made, fake = loaded
    failure = onnxruntime.library().capi.onnxruntime_pybind11_state.Fail
    says = "CUDA failure 2: out of memory"

    def fails(_binding, _options):
        raise failure(says)

    monkeypatch.setattr(made, "_session", SimpleNamespace(run_with_iobinding=fails))
    with pytest.raises(DeviceError, match="inference failed: CUDA failure 2"):
        made.submit(made.slots[0])
    says = "a node failed"
    with pytest.raises(EngineError, match="inference failed: a node failed") as caught:
        made.submit(made.slots[0])
    assert not isinstance(caught.value, DeviceError)
    fake.lost = ERROR.cudaErrorIllegalAddress
    with pytest.raises(DeviceLostError, match="cudaErrorIllegalAddress"):
        made.submit(made.slots[0])
    fake.lost = None


def test_a_gpu_that_refuses_its_stream_leaves_nothing(fake, path):
    """Half a constructor gives back what it took."""
    fake.refuse("cudaStreamCreateWithFlags", ERROR.cudaErrorInvalidValue)
    with pytest.raises(DeviceError, match="cudaStreamCreateWithFlags"):
        engine.ENGINE.load(path, CONTRACT, EngineOptions())
    assert fake.live == {}
