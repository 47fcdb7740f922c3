"""The GPU's side of an engine's slot, the same for every library that computes on CUDA.

Never ran on a GPU; see `appliance.runtimes.cuda`.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from numpy.typing import NDArray
from typing_extensions import override

from appliance.errors import DeviceLostError, EngineError
from appliance.runtimes.cuda import Cuda
from appliance.runtimes.cuda.memory import Buffer
from appliance.runtimes.cuda.owned import Closing
from appliance.runtimes.cuda.work import Event, Graph, Stream
from appliance.values import U8, ModelContract


class GpuSlot(Closing):
    """Copy in, compute, copy out: queued at once, in the order of one stream.

    Args:
        cuda: the GPU.
        stream: where the slot's work is queued; may be shared, and outlives the slot.
        contract: the slot's tensors.

    Attributes:
        frames: the input on the host; valid until this is closed.
        outputs: the outputs on the host, by name; valid until this is closed.
        addresses: where the GPU reads and writes each tensor, by name; they never change.

    Raises:
        DeviceError: there is no room.
    """

    def __init__(self, cuda: Cuda, stream: Stream, contract: ModelContract) -> None:
        self._stream = stream
        self._compute: Callable[[], None] | None = None
        self._graph: Graph | None = None
        with ExitStack() as owned:
            self._input = owned.enter_context(Buffer(cuda, contract.input))
            self._outputs = [owned.enter_context(Buffer(cuda, spec)) for spec in contract.outputs]
            self._done = owned.enter_context(Event(cuda))
            owned.callback(self._forget)
            owned.callback(stream.drain)  # before anything goes that may be at work
            self._owned = owned.pop_all()
        self.frames: U8 = self._input.array
        self.outputs: Mapping[str, NDArray[Any]] = {b.spec.name: b.array for b in self._outputs}
        self.addresses: Mapping[str, int] = {
            buffer.spec.name: buffer.address for buffer in (self._input, *self._outputs)
        }

    def prepare(self, compute: Callable[[], None], *, capture: bool) -> str:
        """Run once, so that the first frame finds everything in place, and capture a graph.

        Args:
            compute: queues the inference on the slot's stream, from `addresses` to `addresses`.
            capture: whether the work can be captured; then one call queues all of it.

        Returns:
            Why there is no graph although there should be; else empty.

        Raises:
            EngineError: the inference fails.
        """
        self._compute = compute
        self._queue()
        self._stream.synchronize()
        if not capture:
            return ""
        try:
            self._graph = self._owned.enter_context(self._stream.capture(self._queue))
            self._graph.launch()
            self._stream.synchronize()
        except DeviceLostError:
            raise
        except EngineError as error:
            self._graph = None  # closed with the slot
            self._queue()
            self._stream.synchronize()
            return f"no CUDA graph: {error}"
        return ""

    def submit(self) -> None:
        """Queue one inference of `frames`.

        Raises:
            EngineError: the GPU or the library refuses, or the slot is closed.
        """
        if self._graph is not None:
            self._graph.launch()
        else:
            self._queue()
        self._done.record(self._stream)

    def wait(self, timeout_s: float | None) -> bool:
        """Whether `outputs` hold the results within `timeout_s`; None waits for them.

        Raises:
            EngineError: the inference failed, or the slot is closed.
        """
        return self._done.wait(timeout_s)

    @override
    def close(self) -> None:
        """Wait for what runs, and give everything back; idempotent."""
        self._owned.close()

    def _queue(self) -> None:
        if self._compute is None:
            raise EngineError("the engine is closed")
        self._input.upload(self._stream)
        self._compute()
        for buffer in self._outputs:
            buffer.download(self._stream)

    def _forget(self) -> None:
        """Let go of the library's own objects while their memory is still there."""
        self._compute = None
        self._graph = None
