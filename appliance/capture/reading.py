"""One attempt at one camera: open it and read it, in a thread of its own.

A call into a camera's driver may never return, and nothing can break it off. So such calls
happen here only, and whoever started the attempt can see from outside how long the present
one has taken, and walk away.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from loguru import logger
from typing_extensions import override

from appliance.capture.contract import CameraSpec, Capture, Source, StalledError
from appliance.capture.memory import FrameMemory
from appliance.capture.timing import FrameMeter, Pacer, Timing
from appliance.errors import SourceError
from appliance.threads import Worker
from appliance.values import FrameStamp

ROOM_TICK_S = 0.5
MAX_SPOILED = 25


@dataclass(frozen=True, slots=True)
class Call:
    """A call into the driver that has not returned.

    Attributes:
        started_ns: monotonic.
        timeout_s: how long it should take at most.
    """

    started_ns: int
    timeout_s: float

    def late_s(self, now_ns: int) -> float:
        """By how much it exceeds its timeout, seconds; negative while it does not."""
        return (now_ns - self.started_ns) / 1e9 - self.timeout_s


class Reading(Worker):
    """Opens one camera and stores its frames, until stopped, ended or failed.

    Attributes:
        call: the present call into the driver; None in between.
        grabbed: frames of this attempt, from the first that could be decoded.
        finished: nothing more will come, and the camera is closed.
        error: why the attempt failed; None while it runs, or where a file just ended.
    """

    def __init__(
        self,
        spec: CameraSpec,
        source: Source,
        *,
        memory: FrameMemory,
        meter: FrameMeter,
        timing: Timing,
        wake: Callable[[], None],
    ) -> None:
        """`wake` is called at the first frame and at the end."""
        super().__init__(f"read-{spec.key}")
        self.call: Call | None = None
        self.grabbed = 0
        self.finished = False
        self.error: SourceError | None = None
        self._spec = spec
        self._source = source
        self._memory = memory
        self._meter = meter
        self._timing = timing
        self._wake = wake
        self._spoiled = 0
        self._spoiled_by: SourceError | None = None
        self._pacer = Pacer() if spec.paced and not source.live else None

    @override
    def _run(self) -> None:
        try:
            self._read()
        except SourceError as error:
            # Its traceback leads back to this reading: a cycle, which would keep the frames and
            # the camera's connection until a collection.
            self.error = error.with_traceback(None)
        except Exception as error:  # noqa: BLE001 (top of the thread: log, report, try again)
            logger.bind(camera=self._spec.key).exception("reading the camera failed inside")
            self.error = SourceError(
                f"Reading the camera failed inside ({type(error).__name__})",
                hint="Download the log and send it to your supplier.",
            )
        finally:
            self.call = None
            self.finished = True
            self._wake()

    def _read(self) -> None:
        spec = self._spec
        with self._calling(spec.open_timeout_s):
            capture = self._source.open(spec)
        try:
            while not self._stop.is_set():
                if not self._next(capture):
                    return
        finally:
            with self._calling(spec.read_timeout_s):
                capture.close()

    def _next(self, capture: Capture) -> bool:
        """Bring one frame on; False when there are no more."""
        media_s = self._grab(capture)
        if media_s is None:
            if self._spoiled_by is not None and not self.grabbed:
                raise self._spoiled_by
            return False
        if not self._source.live:
            self._wait_for_turn(media_s)
        now_ns = self._timing.clock_ns()
        if not self._stop.is_set():
            self._keep(capture, now_ns)
        return True

    def _grab(self, capture: Capture) -> float | None:
        failure: SourceError | None = None
        media_s = None
        with self._calling(self._spec.read_timeout_s) as call:
            try:
                media_s = capture.grab()
            except SourceError as error:
                failure = error
        now_ns = self._timing.clock_ns()
        if self._source.live and call.late_s(now_ns) > 0:
            # What comes after so long, frame or failure, is the driver giving up. Such a
            # connection does not recover even when the camera does.
            raise silence() from failure
        if failure is not None:
            raise failure
        return media_s

    def _wait_for_turn(self, media_s: float) -> None:
        if self._pacer is not None:
            self._stop.wait(self._pacer.wait_s(media_s, self._timing.clock_ns()))
        while not self._stop.is_set() and not self._memory.wait_for_room(ROOM_TICK_S):
            pass  # a tick ends so that a stop is noticed; the reader may take as long as it likes

    def _keep(self, capture: Capture, now_ns: int) -> None:
        stamp = FrameStamp(self._meter.count(now_ns), now_ns, self._timing.wall_s())
        # The first of each attempt is decoded: only then is the camera known to be live.
        if not (self._source.live and self.grabbed) or self._memory.wanted(now_ns):
            self._store(capture, stamp)
        else:
            self._memory.skip()
        if self.grabbed or not self._spoiled:
            self.grabbed += 1
            if self.grabbed == 1:
                self._wake()

    def _store(self, capture: Capture, stamp: FrameStamp) -> None:
        """One spoiled frame is no reason to reconnect; many in a row are."""
        try:
            with self._calling(self._spec.read_timeout_s):
                self._memory.store(capture.retrieve, stamp)
        except SourceError as error:
            self._spoiled += 1  # the memory has counted it as broken
            self._spoiled_by = error.with_traceback(None)  # it would lead back here: a cycle
            if self._spoiled >= MAX_SPOILED:
                raise
        else:
            self._spoiled = 0

    @contextmanager
    def _calling(self, timeout_s: float) -> Iterator[Call]:
        call = Call(self._timing.clock_ns(), timeout_s)
        self.call = call
        try:
            yield call
        finally:
            self.call = None


def silence() -> StalledError:
    """The camera sends nothing; for how long, its status says."""
    return StalledError(
        "No new picture. The connection is open",
        hint="Check the camera's network; if it stays like this, switch it off and on again.",
    )
