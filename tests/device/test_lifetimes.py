"""What engines of the TensorRT family take of a GPU and give back, on stand-ins that count it."""

import gc
import itertools
import threading

import numpy as np
import pytest

from appliance.errors import DeviceError, DeviceLostError, EngineError
from appliance.runtimes import EngineOptions, cuda
from appliance.runtimes.tensorrt.running import TensorRtEngine, computes
from tests.support.fake_cuda import ERROR, FakeCuda
from tests.support.gpu import FAMILY, fake_gpu
from tests.support.spots import (
    CONTRACT,
    GREEN,
    RED,
    SEES_GREEN,
    SEES_RED,
    run,
    seen,
    show,
    write_spots,
)

TWO = EngineOptions(in_flight=2)
LAST = 16
LOST = ERROR.cudaErrorIllegalAddress


@pytest.fixture(
    params=list(itertools.product(FAMILY, [False, True])),
    ids=lambda p: f"{p[0]}-{'integrated' if p[1] else 'discrete'}",
)
def gpu(request, monkeypatch):
    """Each backend of the family, on a GPU with memory of its own and on an integrated one."""
    name, integrated = request.param
    return fake_gpu(name, monkeypatch, integrated=integrated)


@pytest.fixture
def load(gpu, tmp_path):
    """Loads the tiny model; what was loaded is closed at the end."""
    path = gpu.build(write_spots(tmp_path / "canonical.onnx"), tmp_path)
    loaded = []

    def load(options=TWO):
        loaded.append(gpu.backend.load(path, CONTRACT, options))
        return loaded[-1]

    yield load
    for engine in loaded:
        engine.close()


def sees(engine):
    """Both slots see what is painted into them."""
    for slot in engine.slots:
        run(engine, slot, RED)
        assert seen(slot) == SEES_RED
        run(engine, slot, GREEN)
        assert seen(slot) == SEES_GREEN


def refused(load, error=EngineError):
    """The error of a load; nothing of the engine is left when it is told."""
    with pytest.raises(error) as caught:
        load()
    sentence, kind = caught.value.sentence(), type(caught.value)
    del caught
    gc.collect()
    return sentence, kind


def test_everything_is_given_back(gpu, load):
    """After close nothing is left, whatever was still at work."""
    engine = load()
    sees(engine)
    show(engine.slots[0], RED)
    engine.submit(engine.slots[0])
    assert gpu.cuda.live
    held = engine._slots
    engine.close()
    assert gpu.cuda.live == {}
    assert len(held) == len(engine.slots)  # whoever holds a slot holds nothing of the GPU's


@pytest.mark.parametrize("step", [12, pytest.param(1, marks=pytest.mark.long)])
def test_whatever_finds_no_room_nothing_is_left(gpu, load, step):
    """At each single thing that an engine takes: an error with a way out, and all is given back.

    But for the graphs, without which it runs as well. The last things, which are the graphs and
    what comes after, are all tried; of those before, each or every fifth.
    """
    before = gpu.cuda.made
    load().close()
    count = gpu.cuda.made - before
    without_graph = 0
    for at in [*range(1, count - LAST, step), *range(max(1, count - LAST), count + 1)]:
        gpu.cuda.run_out_of_memory(at)
        try:
            engine = load()
        except DeviceError as error:
            assert "APPLIANCE_ENGINE__MEMORY_MB" in error.hint  # noqa: PT017 - not at each one
        else:
            assert "cudaGraphInstantiate: cudaErrorMemoryAllocation" in engine.report.note
            without_graph += 1
            sees(engine)
            engine.close()
            del engine
        gc.collect()
        assert gpu.cuda.live == {}, f"at {at} of {count}"
    assert without_graph == TWO.in_flight < count


def test_nothing_is_made_for_a_frame(gpu, load):
    """After loading: one call launches a frame's whole work, and nothing is taken any more."""
    engine = load()
    made, calls = gpu.cuda.made, gpu.cuda.calls.copy()
    for _ in range(5):
        sees(engine)
    frames = 5 * 2 * len(engine.slots)
    assert gpu.cuda.made == made
    spent = gpu.cuda.calls - calls
    assert spent.pop("cudaEventQuery") >= frames
    assert spent == {"cudaGraphLaunch": frames, "cudaEventRecord": frames}


def test_an_integrated_gpu_copies_nothing(gpu, load):
    """It computes in the slots' own memory; any other copies each tensor."""
    load()
    copies = gpu.cuda.calls["cudaMemcpyAsync"]
    assert (copies == 0) == gpu.cuda.integrated


def test_outputs_are_not_there_before_the_wait(load):
    """Submit returns while the work is still to be done; another submit does not hurry it."""
    engine = load()
    first, second = engine.slots
    run(engine, first, RED)
    run(engine, second, RED)
    for slot in engine.slots:
        show(slot, GREEN)
        engine.submit(slot)
    assert (seen(first), seen(second)) == (SEES_RED, SEES_RED)
    assert not engine.wait(first, 0.0)
    assert engine.wait(second)
    assert (seen(first), seen(second)) == (SEES_RED, SEES_GREEN)
    assert engine.wait(first)
    assert seen(first) == SEES_GREEN


@pytest.mark.parametrize(
    "call", ["cudaStreamBeginCapture", "cudaGraphInstantiate", "cudaGraphLaunch"]
)
def test_without_a_graph_the_results_are_the_same(gpu, load, call):
    """Where there can be none the work is queued piece by piece, and the report says so."""
    gpu.cuda.refuse(call, ERROR.cudaErrorNotSupported)
    engine = load()
    assert engine.report.note == f"no CUDA graph: the GPU refuses: {call}: cudaErrorNotSupported"
    sees(engine)
    engine.close()
    assert gpu.cuda.live == {}


@pytest.mark.parametrize(
    ("in_capture", "says"),
    [
        ("refused", "operation not permitted when stream is capturing"),
        ("invalid", "cudaStreamEndCapture: cudaErrorStreamCaptureInvalidated"),
    ],
)
def test_what_cannot_be_captured_runs_all_the_same(gpu, load, in_capture, says):
    """Whether the library says so itself or the driver afterwards."""
    gpu.library.in_capture = in_capture
    engine = load()
    assert engine.report.note.startswith("no CUDA graph: ")
    assert says in engine.report.note
    sees(engine)
    engine.close()
    assert gpu.cuda.live == {}


@pytest.mark.parametrize(
    ("call", "after"),
    [("cudaMemGetInfo", 1), ("cudaStreamSynchronize", 0), ("cudaEventCreateWithFlags", 1)],
)
def test_a_gpu_that_refuses_while_loading_is_an_error(gpu, load, call, after):
    """It names the call, and nothing is left of the engine."""
    gpu.cuda.refuse(call, ERROR.cudaErrorInvalidValue, after=after, times=1)
    sentence, _ = refused(load)
    assert f"{call}: cudaErrorInvalidValue" in sentence
    assert gpu.cuda.live == {}


def test_a_gpu_that_is_lost_at_work_is_told(gpu, load):
    """From the wait on every call says so; closing is quiet, and so is closing again."""
    engine = load()
    show(engine.slots[0], RED)
    engine.submit(engine.slots[0])
    gpu.cuda.breaks_at_work = LOST
    with pytest.raises(DeviceLostError, match="cudaErrorIllegalAddress"):
        engine.wait(engine.slots[0])
    with pytest.raises(DeviceLostError):
        engine.submit(engine.slots[1])
    with pytest.raises(DeviceLostError):
        load()
    engine.close()
    engine.close()


def test_a_gpu_that_is_lost_is_not_taken_for_a_library_that_refuses(gpu, load):
    """Without a graph it is the library that meets the loss first."""
    gpu.library.in_capture = "refused"
    engine = load()
    gpu.cuda.lost = LOST
    with pytest.raises(DeviceLostError, match="cudaErrorIllegalAddress"):
        engine.submit(engine.slots[0])


def test_a_gpu_that_is_lost_while_an_engine_is_loaded_is_told(gpu, load):
    """Not taken for a library that refuses, nor for work that cannot be captured."""
    gpu.cuda.breaks_at_work = LOST
    _, kind = refused(load)
    assert kind is DeviceLostError
    gpu.cuda.lost = gpu.cuda.breaks_at_work = None
    gpu.cuda.refuse("cudaGraphLaunch", LOST)
    _, kind = refused(load)
    assert kind is DeviceLostError


def test_a_run_that_is_refused_leaves_the_slot_free(gpu, load):
    """The error says what the library said; the next frame may do better."""
    gpu.library.in_capture = "refused"
    engine = load()
    gpu.library.refuses = True
    with pytest.raises(EngineError, match="the inference is refused: the execution failed"):
        engine.submit(engine.slots[0])
    gpu.library.refuses = False
    sees(engine)


def test_a_warm_run_that_is_refused_is_an_error(gpu, load):
    """An engine that cannot run is refused when it is loaded, and nothing is left."""
    gpu.library.refuses = True
    sentence, _ = refused(load)
    assert "the inference is refused: the execution failed" in sentence
    assert gpu.cuda.live == {}


def test_an_engine_of_another_release_is_an_error(gpu, load):
    """It says what the library said, and what happens now; nothing is left."""
    gpu.library.__version__ = "10.17.0"
    sentence, _ = refused(load)
    assert "engine.plan cannot be loaded: Serialization assertion" in sentence
    assert sentence.endswith("The engine is built again.")
    assert gpu.cuda.live == {}


def test_an_engine_may_be_loaded_in_one_thread_and_used_in_another(load):
    """As the station does it."""
    engine = load()
    thread = threading.Thread(target=sees, args=[engine])
    thread.start()
    thread.join()
    assert seen(engine.slots[1]) == SEES_GREEN


def test_the_report_tells_what_the_engine_holds(gpu, load):
    """In bytes of the GPU's, and layers by what they compute in, as the inspector tells."""
    engine = load()
    assert engine.report.memory_bytes > sum(a.nbytes for a in engine.slots[0].outputs.values())
    assert engine.report.computes == {"fp32": 1}
    assert "Fake GPU" in engine.report.running
    assert engine.report.version == gpu.library.__version__


def test_the_real_library_says_why_it_refuses(tmp_path):
    """TensorRT for RTX itself, without a GPU: its own words are in the error."""
    library = pytest.importorskip("tensorrt_rtx")
    path = tmp_path / "engine.plan"
    path.write_bytes(bytes(200))
    fake = FakeCuda()
    with pytest.raises(EngineError, match=r"engine.plan cannot be loaded: .*kEXPECTED_MAGIC_TAG"):
        TensorRtEngine(library, cuda.Cuda(fake), path, CONTRACT, EngineOptions(), "rtx")
    assert fake.live == {}


def test_only_what_the_library_knows_is_a_device_of_rtx(monkeypatch):
    """Its engines run on some generations and not on others, as not on sm_90."""
    assert fake_gpu("rtx", monkeypatch, arch=(12, 0)).backend.device().arch == "sm_120"
    hopper = fake_gpu("rtx", monkeypatch, arch=(9, 0)).backend
    with pytest.raises(EngineError, match="sm_90") as caught:
        hopper.device()
    assert "APPLIANCE_ENGINE__BACKEND" in caught.value.hint


@pytest.mark.parametrize(
    ("form", "numbers"),
    [
        ("Row major linear FP32", "fp32"),
        ("Float", "fp32"),
        ("Channel major FP16 format where channel % 8 == 0", "fp16"),
        ("Half", "fp16"),
        ("Thirty-two wide channel vectorized row major Int8 format.", "int8"),
    ],
)
def test_layers_are_counted_by_what_they_read(form, numbers):
    """Convolutions and matrix products; each by its data, in any release's words."""
    layer = '{"LayerType": "%s", "Inputs": [{"Format/Datatype": "%s"}]}'
    kinds = ["CaskConvolution", "CaskGemmConvolution", "gemm", "MatrixMultiply", "Reformat"]
    layers = ",".join(layer % (kind, form) for kind in kinds)
    assert computes(f'{{"Layers": [{layers}, "a name only"]}}') == {numbers: 4}


@pytest.mark.parametrize("told", ["", "[]", "{}", '{"Layers": ["conv1"]}'])
def test_an_engine_that_tells_nothing_has_no_counts(told):
    """As one that was built without details."""
    assert computes(told) == {}


def test_closing_does_not_touch_what_a_neighbor_works_on(gpu, load):
    """Two engines on one GPU: one ends while the other is at work."""
    first, second = load(), load()
    show(second.slots[0], RED)
    second.submit(second.slots[0])
    first.close()
    assert second.wait(second.slots[0])
    assert seen(second.slots[0]) == SEES_RED
    np.testing.assert_array_equal(second.slots[0].frames[0, 16, 16], [0, 0, 255])
    second.close()
    assert gpu.cuda.live == {}
