"""What engines get from CUDA, on a stand-in for it and, marked gpu, on a real GPU."""

import re
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from cuda.bindings import runtime

from appliance.errors import DeviceError, DeviceLostError, EngineError
from appliance.runtimes import cuda as module
from appliance.runtimes.cuda import LOST, Cuda, work
from appliance.runtimes.cuda.memory import Buffer, DeviceMemory, HostMemory
from appliance.runtimes.cuda.work import Event, Stream
from appliance.values import TensorSpec
from tests.support.fake_cuda import ERROR, FakeCuda

SPEC = TensorSpec("values", (2, 3), "float32")
VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)
TOO_MUCH = 1 << 50


@pytest.fixture
def fake():
    """A stand-in with a GPU that has memory of its own."""
    return FakeCuda()


@pytest.fixture(
    params=["stand-in", "integrated stand-in", pytest.param("GPU", marks=pytest.mark.gpu)]
)
def cuda(request):
    """A GPU, or a stand-in for one."""
    if request.param == "GPU":
        return module.find()
    return Cuda(FakeCuda(integrated=request.param.startswith("integrated")))


@pytest.fixture
def stream(cuda):
    """A stream, closed at the end."""
    with Stream(cuda) as made:
        yield made


@pytest.fixture
def buffer(cuda, stream):
    """A tensor of six numbers; nothing is at work in it when it goes."""
    with Buffer(cuda, SPEC) as made:
        yield made
        stream.drain()


def test_it_tells_the_device(cuda):
    """Name, kind, what lies below, the GPU's own number and its memory."""
    device = cuda.device()
    assert device.name
    assert re.fullmatch(r"sm_\d{2,3}", device.arch)
    assert re.search(r"CUDA \d+\.\d", device.software)
    assert re.fullmatch(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", device.serial)
    assert 0 < device.memory_free_bytes <= device.memory_bytes


def test_a_buffer_begins_with_zeros_and_keeps_its_place(buffer):
    """In the asked shape and type, whatever was in that memory before."""
    assert (buffer.array.shape, buffer.array.dtype) == (SPEC.shape, np.float32)
    assert not buffer.array.any()
    assert buffer.address


def test_what_goes_to_the_gpu_comes_back(cuda, stream, buffer):
    """Copies run in the order in which they were queued; an integrated GPU needs none."""
    buffer.array[...] = VALUES
    buffer.upload(stream)
    stream.synchronize()
    buffer.array.fill(-1)
    buffer.download(stream)
    stream.synchronize()
    np.testing.assert_array_equal(
        buffer.array, np.full_like(VALUES, -1) if cuda.integrated else VALUES
    )


def test_an_event_is_over_when_the_work_before_it_is(cuda, stream, buffer):
    """An event that was recorded can be waited for, again and again."""
    with Event(cuda) as event:
        for _ in range(3):
            buffer.upload(stream)
            event.record(stream)
            assert event.wait()
            assert event.done()


def test_a_wait_has_a_limit(cuda, stream, buffer):
    """With no time to wait the answer is at once, yes or not yet; in the end it is yes."""
    with Event(cuda) as event:
        buffer.upload(stream)
        event.record(stream)
        while not event.wait(0.0):
            assert event.wait(0.0) in {False, True}
        assert event.wait(1.0)


def test_captured_work_runs_when_it_is_launched(stream, buffer):
    """Not when it is captured; and as often as it is launched, with what is there then."""

    def there_and_back():
        buffer.upload(stream)
        buffer.download(stream)

    buffer.array[...] = VALUES
    with stream.capture(there_and_back) as graph:
        for turn in range(3):
            buffer.array.fill(turn)
            graph.launch()
            stream.synchronize()
            assert (buffer.array == turn).all()


def test_a_capture_that_fails_leaves_the_stream_as_it_was(stream, buffer):
    """Whatever is raised inside: afterwards work runs, and can be captured."""

    def fails():
        buffer.upload(stream)
        raise EngineError("the library refuses")

    with pytest.raises(EngineError, match="the library refuses"):
        stream.capture(fails)
    buffer.array[...] = VALUES
    buffer.upload(stream)
    buffer.download(stream)
    stream.synchronize()
    np.testing.assert_array_equal(buffer.array, VALUES)
    stream.capture(lambda: buffer.upload(stream)).close()


def test_a_wait_inside_a_capture_is_an_error(stream, buffer):
    """The driver ends the capture; the stream can be used again."""

    def waits():
        buffer.upload(stream)
        stream.synchronize()

    with pytest.raises(DeviceError, match="cudaStreamSynchronize: cudaErrorStreamCapture"):
        stream.capture(waits)
    stream.synchronize()


def test_another_thread_may_allocate_while_work_is_captured(cuda, stream, buffer):
    """An engine is loaded while another one captures: neither disturbs the other."""
    failures = []

    def allocates():
        try:
            DeviceMemory(cuda, 1024).close()
        except DeviceError as error:
            failures.append(error)

    def work():
        buffer.upload(stream)
        thread = threading.Thread(target=allocates)
        thread.start()
        thread.join()

    stream.capture(work).close()
    assert failures == []


def test_no_room_is_an_error_that_says_what_to_do(cuda):
    """It names call and code, and the settings that make an engine smaller."""
    if isinstance(cuda.runtime, FakeCuda):
        cuda.runtime.run_out_of_memory(1)
    with pytest.raises(DeviceError, match="cudaMalloc: cudaErrorMemoryAllocation") as caught:
        DeviceMemory(cuda, TOO_MUCH)
    assert not isinstance(caught.value, DeviceLostError)
    assert "APPLIANCE_ENGINE__MEMORY_MB" in caught.value.hint
    DeviceMemory(cuda, 1024).close()


@pytest.mark.parametrize(
    "make",
    [Stream, Event, lambda c: DeviceMemory(c, 8), lambda c: HostMemory(c, 8)],
    ids=["stream", "event", "device memory", "host memory"],
)
def test_what_is_closed_cannot_be_used(cuda, make):
    """Closing may be repeated; using it afterwards is an error, not a crash."""
    made = make(cuda)
    assert made.handle is not None
    made.close()
    made.close()
    with pytest.raises(EngineError, match="closed"):
        _ = made.handle


def test_nothing_runs_before_it_is_waited_for(fake):
    """The stand-in shows who reads too early: what is queued has not been done."""
    cuda = Cuda(fake)
    with Stream(cuda) as stream, Buffer(cuda, SPEC) as buffer:
        buffer.array[...] = VALUES
        buffer.upload(stream)
        buffer.download(stream)
        buffer.array.fill(-1)
        assert (buffer.array == -1).all()
        stream.synchronize()
        assert (buffer.array == -1).all()  # what was uploaded when the work ran
        buffer.upload(stream)
        with pytest.raises(AssertionError, match="queued work touches"):
            fake.cudaFree(buffer.address)
        stream.synchronize()


def test_waiting_sleeps_a_little_longer_each_time(fake, monkeypatch):
    """A core that spins is one that decodes no pictures."""
    pauses = []
    monkeypatch.setattr(work.time, "sleep", pauses.append)
    fake.slow = 20
    cuda = Cuda(fake)
    with Stream(cuda) as stream, Buffer(cuda, SPEC) as buffer, Event(cuda) as event:
        buffer.upload(stream)
        event.record(stream)
        assert event.wait()
    assert len(pauses) == 20
    assert pauses == sorted(pauses)
    assert pauses[0] > 0
    assert pauses[-1] == work.LONGEST_PAUSE_S


def test_a_buffer_that_finds_half_its_room_leaves_nothing(fake):
    """The host's part is given back when the GPU has none for its own."""
    cuda = Cuda(fake)
    fake.run_out_of_memory(2)
    with pytest.raises(DeviceError):
        Buffer(cuda, SPEC)
    assert fake.live == {}


def test_memory_that_cannot_be_mapped_is_given_back():
    """An integrated GPU that does not find the host's memory leaves none of it behind."""
    fake = FakeCuda(integrated=True)
    cuda = Cuda(fake)
    fake.refuse("cudaHostGetDevicePointer", ERROR.cudaErrorNotSupported)
    with pytest.raises(DeviceError, match="cudaHostGetDevicePointer: cudaErrorNotSupported"):
        Buffer(cuda, SPEC)
    assert fake.live == {}


def test_every_code_that_ends_the_process_is_known():
    """The documentation says of a code that the process must be relaunched: so it is lost."""
    docs = {code.name: " ".join((code.__doc__ or "").split()) for code in ERROR}
    said = {name for name, doc in docs.items() if "process must be terminated" in doc}
    assert said
    assert said <= LOST <= {code.name for code in ERROR}


@pytest.mark.parametrize("name", sorted(LOST))
def test_a_lost_gpu_is_told_from_one_that_refuses(fake, name):
    """Every call says so; closing is quiet, for with the GPU went what was on it."""
    cuda = Cuda(fake)
    stream = Stream(cuda)
    fake.lost = getattr(ERROR, name)
    with pytest.raises(DeviceLostError, match=f"cudaMemGetInfo: {name}") as caught:
        cuda.memory()
    assert caught.value.hint
    stream.close()


def test_a_refusal_while_closing_is_told(fake):
    """What the driver does not take back is an error; closing again does nothing."""
    event = Event(Cuda(fake))
    fake.refuse("cudaEventDestroy", ERROR.cudaErrorInvalidResourceHandle)
    with pytest.raises(DeviceError, match="cudaEventDestroy: cudaErrorInvalidResourceHandle"):
        event.close()
    event.close()


@pytest.mark.parametrize(
    ("version", "says"), [(0, "there is no driver"), (12080, "the driver is for CUDA 12.8")]
)
def test_without_a_driver_that_fits_there_is_no_gpu(fake, version, says):
    """It says whether there is no driver, or an old one, and what to do."""
    fake.cudaDriverGetVersion = lambda: (ERROR.cudaSuccess, version)
    fake.refuse("cudaGetDeviceCount", ERROR.cudaErrorInsufficientDriver)
    with pytest.raises(DeviceError, match=rf"{says} \(cudaErrorInsufficientDriver\)") as caught:
        Cuda(fake)
    assert "driver" in caught.value.hint


def test_without_a_driver_nothing_is_loaded(monkeypatch):
    """A box without a GPU does not pay for finding none."""
    monkeypatch.setattr(module, "DRIVER_LIBRARY", "libno-such-driver.so.1")
    monkeypatch.setattr(module, "importlib", None)
    with pytest.raises(DeviceError, match="there is no NVIDIA driver") as caught:
        module.find()
    assert "driver" in caught.value.hint


def test_without_the_package_there_is_no_gpu(monkeypatch):
    """A box with a driver and without the extra is told which to install."""
    monkeypatch.setattr(module, "has_driver", lambda: True)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(EngineError, match="cuda-bindings is not installed") as caught:
        module.find()
    assert "cuda" in caught.value.hint


def test_the_real_package_answers_as_the_wrapper_expects(monkeypatch):
    """With a driver there is a device, without one an error that can be read."""
    monkeypatch.undo()
    code, count = runtime.cudaGetDeviceCount()
    if code == ERROR.cudaSuccess and count:
        assert module.find().device().name
    else:
        with pytest.raises(DeviceError, match=code.name):
            Cuda(runtime)


def test_the_software_is_told_down_to_the_board(fake, tmp_path):
    """An engine is bound to the driver, CUDA and, on a Jetson, its Linux."""
    assert Cuda(fake, root=tmp_path).device().software == "CUDA 13.2"
    for path, text in {
        "sys/module/nvidia/version": "580.65.06\n",
        "etc/nv_tegra_release": "# R38 (release), REVISION: 2.1, GCID: 1, BOARD: generic\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    software = Cuda(fake, root=tmp_path).device().software
    assert software == "driver 580.65.06, CUDA 13.2, L4T 38.2.1"


def test_a_gpu_beside_the_board_is_not_taken_for_an_integrated_one(fake):
    """Only a GPU that can map the host's memory computes in it."""
    facts = SimpleNamespace(**{**vars(fake.cudaGetDeviceProperties(0)[1]), "integrated": 1})
    facts.canMapHostMemory = 0
    fake.cudaGetDeviceProperties = lambda _device: (ERROR.cudaSuccess, facts)
    assert not Cuda(fake).integrated
