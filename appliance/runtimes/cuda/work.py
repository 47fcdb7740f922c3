"""Work on the GPU: streams, what was captured of them, and marks in them."""

import math
import time
from collections.abc import Callable
from typing import Any, Final

from typing_extensions import override

from appliance.errors import DeviceLostError
from appliance.runtimes.cuda import Cuda
from appliance.runtimes.cuda.owned import Owned

SHORTEST_PAUSE_S: Final = 0.00005
LONGEST_PAUSE_S: Final = 0.0005


class Stream(Owned):
    """Work in the order in which it was queued, beside that of other streams.

    Raises:
        DeviceError: the GPU refuses.
    """

    def __init__(self, cuda: Cuda) -> None:
        flags = cuda.runtime.cudaStreamNonBlocking
        handle = cuda.call("cudaStreamCreateWithFlags", flags)
        super().__init__(cuda, handle, release="cudaStreamDestroy")

    def synchronize(self) -> None:
        """Wait for all that is queued.

        Raises:
            EngineError: some of it failed, or the stream is closed.
        """
        self._cuda.call("cudaStreamSynchronize", self.handle)

    def drain(self) -> None:
        """Wait until nothing is at work, whether it succeeds or not; also on a closed stream.

        Raises:
            DeviceError: the GPU refuses.
        """
        if self._handle is None:
            return
        try:
            self.synchronize()
        except DeviceLostError:
            return  # nothing works on a GPU that is lost

    def capture(self, work: Callable[[], None]) -> "Graph":
        """What `work` queues on this stream, as a graph; nothing of it runs.

        Other threads may use the GPU meanwhile.

        Raises:
            EngineError: some of it cannot be captured; the stream is as it was before.
        """
        mode = self._cuda.runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._cuda.call("cudaStreamBeginCapture", self.handle, mode)
        try:
            work()
        except BaseException:
            self._abandon_capture()
            raise
        graph = self._cuda.call("cudaStreamEndCapture", self.handle)
        try:
            return Graph(self._cuda, graph, self)
        finally:
            self._cuda.release("cudaGraphDestroy", graph)

    def _abandon_capture(self) -> None:
        """End it. The driver may say again that it failed, which is known."""
        success = self._cuda.runtime.cudaError_t.cudaSuccess
        code, graph = self._cuda.runtime.cudaStreamEndCapture(self.handle)
        if code == success and graph is not None:
            self._cuda.release("cudaGraphDestroy", graph)

    @override
    def close(self) -> None:
        """Wait for what runs, and give the stream back; idempotent."""
        try:
            self.drain()
        finally:
            super().close()


class Graph(Owned):
    """Work that was captured, to be queued again and again by one call.

    Args:
        cuda: the GPU.
        graph: what was captured; still the caller's.
        stream: where it is launched.

    Raises:
        DeviceError: the GPU refuses.
    """

    def __init__(self, cuda: Cuda, graph: Any, stream: Stream) -> None:  # noqa: ANN401
        handle = cuda.call("cudaGraphInstantiate", graph, 0)
        super().__init__(cuda, handle, release="cudaGraphExecDestroy")
        self._stream = stream

    def launch(self) -> None:
        """Queue it.

        Raises:
            EngineError: the GPU refuses, or something is closed.
        """
        self._cuda.call("cudaGraphLaunch", self.handle, self._stream.handle)

    @override
    def close(self) -> None:
        """Wait for what runs, and give the graph back; idempotent."""
        try:
            self._stream.drain()
        finally:
            super().close()


class Event(Owned):
    """A mark in a stream's work.

    Raises:
        DeviceError: the GPU refuses.
    """

    def __init__(self, cuda: Cuda) -> None:
        flags = cuda.runtime.cudaEventDisableTiming
        handle = cuda.call("cudaEventCreateWithFlags", flags)
        super().__init__(cuda, handle, release="cudaEventDestroy")

    def record(self, stream: Stream) -> None:
        """Put the mark behind what is queued now.

        Raises:
            EngineError: the GPU refuses, or something is closed.
        """
        self._cuda.call("cudaEventRecord", self.handle, stream.handle)

    def done(self) -> bool:
        """Whether the work before the mark is over.

        Raises:
            EngineError: some of it failed, or the event is closed.
        """
        (code,) = self._cuda.runtime.cudaEventQuery(self.handle)
        if code == self._cuda.runtime.cudaError_t.cudaErrorNotReady:
            return False
        self._cuda.check("cudaEventQuery", code)
        return True

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether the work before the mark is over within `timeout_s`; None waits for it.

        It sleeps between questions: a wait of the driver's own would keep a core busy.

        Raises:
            EngineError: some of it failed, or the event is closed.
        """
        deadline_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        pause_s = SHORTEST_PAUSE_S
        while not self.done():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return True
