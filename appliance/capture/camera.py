"""A camera that is watched for months: it goes away, comes back, hangs, and is told apart.

    connecting ──> live ──> stalled ──┐
        │          ^  └───────────────┼──> offline ──(back-off)──> tried again ──> live
        └──────────┼──> offline       │
                   └── tried again <──┘          a file without repeat: live ──> ended

The camera's thread never calls a driver; each attempt does that in a thread of its own
(`Reading`). An attempt whose call does not return is left behind with its frame memory.
"""

from collections.abc import Callable
from math import ceil
from threading import Event, Lock

from loguru import logger
from typing_extensions import override

from appliance.buffers import Allocate, Lease, nobody, pageable
from appliance.capture.contract import (
    CameraSpec,
    NoVideoError,
    SettledError,
    Source,
    StalledError,
)
from appliance.capture.memory import FrameMemory
from appliance.capture.reading import Reading, silence
from appliance.capture.status import CameraStatus
from appliance.capture.timing import FrameMeter, Timing
from appliance.errors import SourceError
from appliance.threads import Worker
from appliance.values import CameraState, Drop

MAX_ABANDONED = 3
MAX_BRIEF = 3  # connections that end soon, one after the other
LONGEST_SLEEP_S = 1.0
LATE_SLEEP_S = 0.1
LEAVE_S = 0.3
WEDGED_HINT = "Restart the appliance. If this comes back, check the camera and its network."
SUPPLIER_HINT = "Download the log and send it to your supplier."


class Camera(Worker):
    """One camera or file, watched by a thread of its own."""

    def __init__(
        self,
        spec: CameraSpec,
        source: Source,
        *,
        timing: Timing,
        slots_count: int,
        allocate: Allocate = pageable,
        on_publish: Callable[[], None] = nobody,
    ) -> None:
        """Nothing is opened before `start`.

        Args:
            spec: which camera.
            source: how to open it.
            timing: clocks and patience.
            slots_count: frames that may be held at once; see `buffers.slots_for`.
            allocate: gives the memory of one slot.
            on_publish: called from the reading thread after each new frame.
        """
        super().__init__(f"camera-{spec.key}")
        self._spec = spec
        self._source = source
        self._timing = timing
        self._memory_options = (slots_count, allocate, on_publish)
        self._memory = self._fresh_memory()
        self._drops_before = dict.fromkeys(Drop, 0)
        self._meter = FrameMeter()
        self._abandoned: list[Reading] = []
        self._failures = 0
        self._brief = 0
        self._is_news = False
        self._attempt = 0
        self._connects = 0
        self._live_since_ns: int | None = None
        self._retry_at_ns: int | None = None
        self._lock = Lock()
        self._state = CameraState.CONNECTING
        self._since_s = timing.wall_s()
        self._sentence, self._next_step = "", ""
        self._wedged = False
        self._wake = Event()
        self._log = logger.bind(camera=spec.key)

    @property
    def wedged(self) -> bool:
        """So many calls into the driver hang that only a restart of the process helps."""
        return self._wedged

    @override
    def stop(self) -> None:
        """End soon, even within a call that hangs; may be called again."""
        super().stop()
        self._wake.set()

    def take(self, after_sequence: int = 0) -> Lease | None:
        """Lease the newest frame, if newer than `after_sequence`; does not wait.

        Sequence numbers rise over all reconnects.
        """
        return self._memory.take(after_sequence)

    def status(self) -> CameraStatus:
        """The camera at this moment; does not wait for it."""
        now_ns = self._timing.clock_ns()
        retry_at_ns = self._retry_at_ns
        with self._lock:
            return CameraStatus(
                key=self._spec.key,
                name=self._spec.name,
                state=self._state,
                since_s=self._since_s,
                sentence=self._sentence,
                next_step=self._next_step,
                attempt=self._attempt,
                retry_in_s=None if retry_at_ns is None else max(0.0, (retry_at_ns - now_ns) / 1e9),
                source_fps=self._meter.fps(now_ns),
                reconnects=max(0, self._connects - 1),
                frames_grabbed=self._meter.frames,
                drops=self._drops(),
                size_wh=self._memory.size_wh,
            )

    @override
    def _run(self) -> None:
        try:
            while not self._stop.is_set() and self._state is not CameraState.ENDED:
                if self._has_room_for_another():
                    self._try_once()
        except Exception as error:  # noqa: BLE001 (top of the thread: log, report)
            self._log.exception("watching the camera failed inside")
            self._wedged = True
            message = f"Watching the camera failed inside ({type(error).__name__})"
            self._enter(CameraState.OFFLINE, SourceError(message, hint=SUPPLIER_HINT))

    def _has_room_for_another(self) -> bool:
        """Whether few enough calls hang; otherwise wait a little for one to return."""
        self._abandoned = [reading for reading in self._abandoned if not reading.finished]
        self._wedged = len(self._abandoned) >= MAX_ABANDONED
        if self._wedged:
            message = f"{MAX_ABANDONED} attempts hang; the appliance needs a restart"
            self._enter(CameraState.OFFLINE, SourceError(message, hint=WEDGED_HINT))
            self._stop.wait(LONGEST_SLEEP_S)
        return not self._wedged

    def _try_once(self) -> None:
        self._attempt += 1
        self._live_since_ns = None
        self._wake.clear()
        reading = Reading(
            self._spec,
            self._source,
            memory=self._memory,
            meter=self._meter,
            timing=self._timing,
            wake=self._wake.set,
        )
        reading.start()
        self._watch(reading)
        if self._stop.is_set():
            reading.stop()
            reading.join(LEAVE_S)
        elif not reading.finished:
            self._walk_away(reading)
        elif reading.error is None:
            self._end()
        else:
            self._fail(reading.error)

    def _watch(self, reading: Reading) -> None:
        """Follow an attempt until it finishes, the camera is stopped, or a call hangs."""
        while not (self._stop.is_set() or reading.finished):
            call, now_ns = reading.call, self._timing.clock_ns()
            late_s = call.late_s(now_ns) if call else -LONGEST_SLEEP_S
            if call and late_s > call.timeout_s + self._timing.margin_s:
                return
            if reading.grabbed and late_s > 0 and call:
                self._change(CameraState.STALLED, silence())
            elif reading.grabbed:
                self._enter_live(now_ns)
            self._wake.wait(LATE_SLEEP_S if late_s >= 0 else min(-late_s, LONGEST_SLEEP_S))
            self._wake.clear()

    def _walk_away(self, reading: Reading) -> None:
        """Leave a hanging call behind, and with it the memory it may still write into."""
        reading.stop()
        self._abandoned.append(reading)
        with self._lock:
            self._memory.retire()
            self._drops_before = self._drops()
            self._memory = self._fresh_memory()
        message = "The connection to the camera hangs; a new one is made"
        hint = "If it stays like this, switch the camera off and on again."
        self._fail(StalledError(message, hint=hint))

    def _fail(self, error: SourceError) -> None:
        """Take on why an attempt failed, and wait for the next one."""
        if isinstance(error, NoVideoError) and self._connects:
            error = silence()  # it worked with this setting, so its setting is not to blame
        now_ns, backoff = self._timing.clock_ns(), self._timing.backoff
        lasted = self._has_lasted(now_ns)
        self._failures = 1 if lasted else self._failures + 1
        self._brief = 0 if lasted else self._brief
        delay_s = backoff.delay_s(self._failures, seldom=isinstance(error, SettledError))
        self._retry_at_ns = now_ns + round(delay_s * 1e9)
        stalled = isinstance(error, StalledError)
        self._enter(CameraState.STALLED if stalled else CameraState.OFFLINE, error, delay_s)
        if self._live_since_ns is not None and not lasted:
            self._note_brief()
        self._stop.wait(delay_s)
        self._retry_at_ns = None

    def _has_lasted(self, now_ns: int) -> bool:
        """Whether the connection at hand lived for long enough to count as settled."""
        since_ns = self._live_since_ns
        return since_ns is not None and now_ns - since_ns >= self._timing.backoff.settled_s * 1e9

    def _note_brief(self) -> None:
        self._brief += 1
        if self._brief == MAX_BRIEF:
            self._log.warning(
                "{} connections were brief; the next lines come when one lasts", MAX_BRIEF
            )

    def _end(self) -> None:
        self._enter(CameraState.ENDED, SourceError("The file has been played to its end"))

    def _enter_live(self, now_ns: int) -> None:
        if self._state is CameraState.LIVE:
            self._tell_that_it_lasts(now_ns)
            return
        attempts, self._attempt = self._attempt, 0
        self._connects += attempts > 0  # else it was only silent for a while
        self._live_since_ns = now_ns
        self._change(CameraState.LIVE)
        if self._is_worth_a_line():
            self._log.info("camera live, attempt {}", attempts)

    def _tell_that_it_lasts(self, now_ns: int) -> None:
        if self._brief >= MAX_BRIEF and self._has_lasted(now_ns):
            self._log.info("camera live, after {} brief connections", self._brief)
            self._brief = 0

    def _enter(self, state: CameraState, cause: SourceError, delay_s: float | None = None) -> None:
        """Take on a state and its cause, and tell of them and of the next attempt in the log."""
        self._change(state, cause)
        if not self._is_worth_a_line():
            return
        if delay_s is None:
            level = "INFO" if state is CameraState.ENDED else "WARNING"
            self._log.log(level, "camera {}: {}", state.value, cause.sentence())
            return
        self._log.warning(
            "camera {}: {}. Connects again in {} s, attempt {}. {}",
            state.value,
            cause,
            ceil(delay_s),
            self._attempt + 1,
            cause.hint,
        )

    def _is_worth_a_line(self) -> bool:
        """Only a change of state is; none is while it changes all the time."""
        news, self._is_news = self._is_news, False
        return news and self._brief < MAX_BRIEF

    def _change(self, state: CameraState, cause: SourceError | None = None) -> None:
        with self._lock:
            changed = state is not self._state
            self._state = state
            self._sentence, self._next_step = (str(cause), cause.hint) if cause else ("", "")
            if changed:
                self._since_s = self._timing.wall_s()
                self._is_news = True

    def _drops(self) -> dict[Drop, int]:
        """Of all connections."""
        return {reason: self._drops_before[reason] + n for reason, n in self._memory.drops.items()}

    def _fresh_memory(self) -> FrameMemory:
        count, allocate, on_publish = self._memory_options
        return FrameMemory(
            count=count,
            allocate=allocate,
            on_publish=on_publish,
            clock_ns=self._timing.clock_ns,
        )
