"""A stand-in for `cuda.bindings.runtime`: the same names, arguments and answers, without a GPU.

Enums and handles are the real ones. Memory is real memory of the host. What is queued on a stream
runs only when the stream is synchronized or an event behind it is queried, so that whoever reads
too early reads what was there before. Misuse that a GPU would answer with garbage or a crash is
an AssertionError here: memory that is not there, work that is queued when its memory goes.
"""

# ruff: noqa: N802, N803, N815 - the module's own names

import functools
import inspect
import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from cuda.bindings import runtime

POISON = 0xDD
TOTAL_BYTES = 8 << 30
ERROR = runtime.cudaError_t
KIND = runtime.cudaMemcpyKind
MAKES = (
    "cudaHostAlloc",
    "cudaMalloc",
    "cudaStreamCreateWithFlags",
    "cudaEventCreateWithFlags",
    "cudaGraphInstantiate",
)
"""What takes something of the driver's."""
WITHOUT_GPU = {"cudaDriverGetVersion"}

Range = tuple[int, int]  # address and size in bytes


class _Refused(Exception):  # noqa: N818 - an answer
    def __init__(self, code):
        super().__init__(code.name)
        self.code = code


@dataclass
class _Memory:
    data: np.ndarray
    kind: str  # "host", "mapped" or "device"

    @property
    def address(self):
        return self.data.ctypes.data


@dataclass
class _Work:
    """One thing on a stream, and the memory that it touches."""

    run: Callable[[], None]
    touches: tuple[Range, ...] = ()
    graph: int = 0


@dataclass
class _Stream:
    queue: deque[_Work] = field(default_factory=deque)
    captured: list[_Work] | None = None
    capturer: int = 0  # thread
    broken: bool = False  # the capture, by a call that may not be made in one


@dataclass
class _Event:
    pending: tuple[_Stream, _Work] | None = None
    asked: int = 0


def _call(function):
    """Answer as the driver does: a code, then the results, or None for each of them."""
    name = function.__name__
    results = int(inspect.signature(function).return_annotation)

    @functools.wraps(function)
    def answer(self, *arguments):
        inspect.signature(function).bind(self, *arguments)  # positional, none too many
        try:
            self._count(name)
            given = function(self, *arguments)
        except _Refused as refused:
            return (refused.code, *[None] * results)
        return (ERROR.cudaSuccess, *([given] if results == 1 else given or ()))

    return answer


class FakeCuda:
    """The module.

    Args:
        integrated: the GPU computes in the host's memory.
        arch: the GPU's compute capability.
        slow: how often an event is queried before its work is over.
    """

    cudaError_t = ERROR
    cudaMemcpyKind = KIND
    cudaStreamCaptureMode = runtime.cudaStreamCaptureMode
    cudaHostAllocMapped = runtime.cudaHostAllocMapped
    cudaStreamNonBlocking = runtime.cudaStreamNonBlocking
    cudaEventDisableTiming = runtime.cudaEventDisableTiming

    def __init__(self, *, integrated=False, arch=(8, 6), slow=2):
        self.integrated = integrated
        self.arch = arch
        self.slow = slow
        self.calls: Counter[str] = Counter()
        self.made = 0
        self.lost = None  # the code of what broke the GPU for this process
        self.breaks_at_work = None  # the code with which the next work on a stream breaks it
        self._refusals: dict[str, tuple[int, float, Any]] = {}
        self._full_at = 0
        self._memory: dict[int, _Memory] = {}
        self._gone: list[_Memory] = []  # kept, so that a stale pointer reads poison
        self._streams: dict[int, _Stream] = {}
        self._events: dict[int, _Event] = {}
        self._graphs: dict[int, list[_Work]] = {}
        self._launchable: dict[int, list[_Work]] = {}
        self._handles = 0

    # What tests ask for and look at.

    def refuse(self, call, code, *, after=0, times=math.inf):
        """`call` answers with `code` so many times, once it was answered `after` times."""
        first = self.calls[call] + after + 1
        self._refusals[call] = (first, first + times, code)

    def run_out_of_memory(self, at):
        """The `at`-th thing that is made from now on finds no room; those after it do."""
        self._full_at = self.made + at

    @property
    def live(self):
        """Things of the driver's that are not given back, by kind."""
        found = {
            "memory": len(self._memory),
            "streams": len(self._streams),
            "events": len(self._events),
            "graphs": len(self._graphs) + len(self._launchable),
        }
        return {kind: count for kind, count in found.items() if count}

    # What a library beside the runtime does.

    def take(self, size):
        """Memory of a library's own, or None where there is no room."""
        try:
            self._making()
        except _Refused:
            return None
        return self._allocate(size, "device")

    def give_back(self, address):
        """Free what was taken; a GPU that is lost has nothing left to free."""
        self._free(address, "device")

    def capturing(self, stream):
        """Whether work on this stream is captured instead of run."""
        return self._stream(stream).captured is not None

    def break_capture(self, stream):
        """A call that may not be made while work is captured."""
        self._stream(stream).broken = True

    def enqueue(self, stream, run, touches: Iterable[Range]):
        """Queue a kernel that reads and writes memory of the GPU's."""
        self._queue(self._stream(stream), _Work(run, tuple(touches)))

    def view(self, address, shape, dtype):
        """Memory as a kernel sees it."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self._bytes(address, size, {"device", "mapped"}).view(dtype).reshape(shape)

    # The module's calls, each annotated with how many results stand behind its code.

    @_call
    def cudaGetDeviceCount(self) -> 1:
        return 1

    @_call
    def cudaGetDeviceProperties(self, device) -> 1:
        assert device == 0
        return SimpleNamespace(
            name=b"Fake GPU",
            major=self.arch[0],
            minor=self.arch[1],
            integrated=int(self.integrated),
            canMapHostMemory=1,
            uuid=SimpleNamespace(bytes=bytes(range(16))),
        )

    @_call
    def cudaDriverGetVersion(self) -> 1:
        return 13020

    @_call
    def cudaMemGetInfo(self) -> 2:
        kinds = {"host", "mapped", "device"} if self.integrated else {"device"}
        used = sum(memory.data.size for memory in self._memory.values() if memory.kind in kinds)
        return TOTAL_BYTES - used, TOTAL_BYTES

    @_call
    def cudaHostAlloc(self, size, flags) -> 1:
        return self._allocate(size, "mapped" if flags & self.cudaHostAllocMapped else "host")

    @_call
    def cudaHostGetDevicePointer(self, pHost, flags) -> 1:
        assert flags == 0
        if self._memory[pHost].kind != "mapped":
            raise _Refused(ERROR.cudaErrorInvalidValue)
        return pHost

    @_call
    def cudaFreeHost(self, ptr) -> 0:
        self._free(ptr, "host", "mapped")

    @_call
    def cudaMalloc(self, size) -> 1:
        return self._allocate(size, "device")

    @_call
    def cudaFree(self, devPtr) -> 0:
        self._free(devPtr, "device")

    @_call
    def cudaMemcpyAsync(self, dst, src, count, kind, stream) -> 0:
        host, gpu = {"host", "mapped"}, {"device", "mapped"}
        ends = {KIND.cudaMemcpyHostToDevice: (gpu, host), KIND.cudaMemcpyDeviceToHost: (host, gpu)}
        into, source = ends[kind]
        self._bytes(dst, count, into)
        self._bytes(src, count, source)

        def copy():
            self._bytes(dst, count, into)[:] = self._bytes(src, count, source)

        self._queue(self._stream(stream), _Work(copy, ((dst, count), (src, count))))

    @_call
    def cudaStreamCreateWithFlags(self, flags) -> 1:
        assert flags == self.cudaStreamNonBlocking, "it would wait for everybody's default stream"
        return self._new(self._streams, _Stream(), runtime.cudaStream_t)

    @_call
    def cudaStreamDestroy(self, stream) -> 0:
        assert not self._stream(stream).queue, "a stream is destroyed while work is queued on it"
        del self._streams[int(stream)]

    @_call
    def cudaStreamSynchronize(self, stream) -> 0:
        found = self._stream(stream)
        self._not_in_capture(found)
        self._work_off(found)

    @_call
    def cudaEventCreateWithFlags(self, flags) -> 1:
        assert flags == self.cudaEventDisableTiming
        return self._new(self._events, _Event(), runtime.cudaEvent_t)

    @_call
    def cudaEventDestroy(self, event) -> 0:
        del self._events[int(event)]

    @_call
    def cudaEventRecord(self, event, stream) -> 0:
        found, mark = self._stream(stream), _Work(lambda: None)
        assert found.captured is None, "an event in a graph is another thing"
        self._queue(found, mark)
        self._events[int(event)] = _Event(pending=(found, mark))

    @_call
    def cudaEventQuery(self, event) -> 0:
        found = self._events[int(event)]
        if found.pending is None:
            return
        found.asked += 1
        stream, mark = found.pending
        if found.asked <= self.slow and mark in stream.queue:
            raise _Refused(ERROR.cudaErrorNotReady)
        self._work_off(stream, upto=mark)
        found.pending = None

    @_call
    def cudaStreamBeginCapture(self, stream, mode) -> 0:
        expected = self.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        assert mode == expected, "other threads could not allocate meanwhile"
        found = self._stream(stream)
        self._not_in_capture(found)
        assert not found.queue, "a library may still have to set up what it does only once"
        found.captured, found.capturer, found.broken = [], threading.get_ident(), False

    @_call
    def cudaStreamEndCapture(self, stream) -> 1:
        found = self._stream(stream)
        assert found.captured is not None
        captured, found.captured = found.captured, None
        if found.broken:
            raise _Refused(ERROR.cudaErrorStreamCaptureInvalidated)
        return self._new(self._graphs, captured, runtime.cudaGraph_t)

    @_call
    def cudaGraphInstantiate(self, graph, flags) -> 1:
        assert flags == 0
        work = self._graphs[int(graph)]
        return self._new(self._launchable, work, runtime.cudaGraphExec_t)

    @_call
    def cudaGraphLaunch(self, graphExec, stream) -> 0:
        found = self._stream(stream)
        for work in self._launchable[int(graphExec)]:
            self._queue(found, _Work(work.run, work.touches, int(graphExec)))

    @_call
    def cudaGraphDestroy(self, graph) -> 0:
        del self._graphs[int(graph)]

    @_call
    def cudaGraphExecDestroy(self, graphExec) -> 0:
        for work in self._queued():
            assert work.graph != int(graphExec), "a graph is destroyed while it runs"
        del self._launchable[int(graphExec)]

    # Inside.

    def _count(self, name):
        self.calls[name] += 1
        if self.lost is not None and name not in WITHOUT_GPU:
            raise _Refused(self.lost)
        first, end, code = self._refusals.get(name, (0, 0, None))
        if first <= self.calls[name] < end:
            raise _Refused(code)
        if name in MAKES:
            self._making()

    def _making(self):
        for stream in self._streams.values():
            capturing = stream.captured is not None and stream.capturer == threading.get_ident()
            assert not capturing, "nothing may be made in a capture"
        self.made += 1
        if self.made == self._full_at:
            raise _Refused(ERROR.cudaErrorMemoryAllocation)

    def _new(self, table, thing, handle):
        self._handles += 1
        table[self._handles] = thing
        return handle(self._handles)

    def _stream(self, stream):
        assert int(stream) in self._streams, f"no such stream: {stream}"
        return self._streams[int(stream)]

    def _not_in_capture(self, stream):
        if stream.captured is not None:
            stream.broken = True
            raise _Refused(ERROR.cudaErrorStreamCaptureUnsupported)

    def _queue(self, stream, work):
        if stream.captured is not None:
            stream.captured.append(work)
        else:
            stream.queue.append(work)

    def _queued(self):
        return [work for stream in self._streams.values() for work in stream.queue]

    def _work_off(self, stream, upto=None):
        while stream.queue:
            if self.breaks_at_work is not None:
                self.lost = self.breaks_at_work
                for broken in self._streams.values():
                    broken.queue.clear()
                raise _Refused(self.lost)
            work = stream.queue.popleft()
            work.run()
            if work is upto:
                return

    def _allocate(self, size, kind):
        memory = _Memory(np.full(size, POISON, np.uint8), kind)
        self._memory[memory.address] = memory
        return memory.address

    def _free(self, address, *kinds):
        memory = self._memory.get(address)
        assert memory is not None, f"freed twice, or never made: {address:#x}"
        assert memory.kind in kinds, f"{memory.kind} memory freed as {kinds}"
        end = address + memory.data.size
        for work in self._queued():
            for start, size in work.touches:
                busy = address < start + size and start < end
                assert not busy, "memory is freed while queued work touches it"
        del self._memory[address]
        memory.data[:] = POISON
        self._gone.append(memory)

    def _bytes(self, address, size, kinds):
        for memory in self._memory.values():
            offset = address - memory.address
            if offset >= 0 and offset + size <= memory.data.size:
                assert memory.kind in kinds, f"{memory.kind} memory used as one of {kinds}"
                return memory.data[offset : offset + size]
        raise AssertionError(f"no memory of {size} bytes at {address:#x}")
