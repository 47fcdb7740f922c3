"""The inference loop: one thread that owns every engine.

It takes the newest frame of each camera in turn, fits it into a free engine slot and submits.
While engines work, a free slot waits for the next frame, and whatever comes first is served
first: the frame or the oldest result of a model.

An engine may take the place of another: it gets every frame from then on, and the other ends as
soon as its own frames in flight are finished. Results keep their order, for a model's oldest frame
is finished first, whichever engine has it.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from loguru import logger
from typing_extensions import override

from appliance.buffers import Lease
from appliance.errors import ApplianceError
from appliance.geometry import Fit
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.part import Part
from appliance.pipeline.served import ServedModel
from appliance.runtimes import EngineSlot
from appliance.values import Result

IDLE_S = 0.25  # longest sleep, so that an idle loop still ticks
POLL_S = 0.001  # how late a frame may find its free slot while engines work
FAILURE_PAUSE_S = 1.0


class FrameSource(Protocol):
    """What the loop needs of a camera."""

    def take(self, after_sequence: int) -> Lease | None:
        """The newest frame past `after_sequence`, or None; never waits."""


@dataclass(slots=True)
class Lane:
    """One camera and the model that looks at it."""

    key: str
    source: FrameSource
    model: str
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class _InFlight:
    lane: Lane
    model: ServedModel
    slot: EngineSlot
    lease: Lease
    fit: Fit
    submitted_ns: int


class Loop(Part):
    """Runs until stopped. `wake` is called by cameras when a frame is there.

    Args:
        lanes: the cameras, in the order in which they take turns.
        on_result: gets each result with the lease on its frame, in the loop's thread; it
            retains the lease if it needs the pixels after it returns.
        on_failure: gets the model at work, None before the first, and the error.
        heartbeat: ticked every turn.
        clock_ns: monotonic.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        *,
        on_result: Callable[[Result, Lease], None],
        on_failure: Callable[[ServedModel | None, ApplianceError], None],
        heartbeat: Heartbeat,
        clock_ns: Callable[[], int],
    ) -> None:
        super().__init__("loop")
        self._lanes = deque(lanes)
        self._on_result = on_result
        self._on_failure = on_failure
        self._heartbeat = heartbeat
        self._clock_ns = clock_ns
        self._models: dict[str, ServedModel] = {}
        self._replaced: list[ServedModel] = []  # with frames in flight
        self._wake = threading.Event()
        self._in_flight: deque[_InFlight] = deque()
        self._at: ServedModel | None = None  # at work, for the message when it fails
        self._lock = threading.Lock()
        # Under the lock, and so is the next: models by name, None to serve none any more.
        self._arrived: deque[tuple[str, ServedModel | None]] = deque()
        self._has_ended = False

    @override
    def stop(self) -> None:
        """End after the frame at hand; idempotent."""
        super().stop()
        self.wake()

    def wake(self) -> None:
        """A frame is there, or something changed."""
        self._wake.set()

    def install(self, model: ServedModel) -> None:
        """Serve `model` from the next turn on, in the place of the one of its name.

        The loop owns its engine from now on, and closes it; at once, where the loop has ended.
        """
        with self._lock:
            if not self._has_ended:
                self._arrived.append((model.name, model))
                self.wake()
                return
        model.engine.close()

    def withdraw(self, name: str) -> None:
        """Serve no model of this name from the next turn on."""
        with self._lock:
            self._arrived.append((name, None))
            self.wake()

    @override
    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self._turn():
                    self._heartbeat.tick()
            except ApplianceError as error:
                self._fail(error)
            except Exception as error:  # noqa: BLE001 - top of the thread: told, not swallowed
                logger.exception("inference loop: unexpected error")
                self._fail(ApplianceError(f"inference failed: {type(error).__name__}"))
        self._drain()

    def _turn(self) -> bool:
        """One frame in, or one result out, or a rest; False while an engine keeps us waiting."""
        self._wake.clear()
        self._admit()
        self._close_replaced()
        if self._submit_next():
            return True
        if self._in_flight:
            return self._finish_one()
        self._wake.wait(IDLE_S)
        return True

    def _admit(self) -> None:
        """Put what was installed in its place."""
        with self._lock:
            while self._arrived:
                name, model = self._arrived.popleft()
                if name in self._models:
                    self._replaced.append(self._models.pop(name))
                if model is not None:
                    self._models[name] = model

    def _close_replaced(self) -> None:
        """End the engines that were replaced and have no frame in flight any more."""
        for model in list(self._replaced):
            if not any(job.model is model for job in self._in_flight):
                self._at = model
                self._replaced.remove(model)
                model.engine.close()

    def _submit_next(self) -> bool:
        for _ in range(len(self._lanes)):
            lane = self._lanes[0]
            self._lanes.rotate(-1)
            model = self._models.get(lane.model)
            if model is None or not model.free:
                continue
            lease = lane.source.take(lane.sequence)
            if lease is not None:
                self._submit(lane, model, lease)
                return True
        return False

    def _submit(self, lane: Lane, model: ServedModel, lease: Lease) -> None:
        lane.sequence = lease.stamp.sequence
        slot = model.free.popleft()
        self._at = model
        try:
            fit = model.letterbox.place(lease.pixels, slot.frames[0])
            submitted_ns = self._clock_ns()
            model.engine.submit(slot)
        except BaseException:
            model.free.append(slot)
            lease.release()
            raise
        self._in_flight.append(_InFlight(lane, model, slot, lease, fit, submitted_ns))

    def _finish_one(self) -> bool:
        """One model's oldest result; False where none is there soon enough.

        While a slot is free, soon is very soon: a frame may come for it.
        """
        oldest = {job.model.name: job for job in reversed(self._in_flight)}
        nothing_else = len(oldest) == 1 and not any(m.free for m in self._models.values())
        for job in oldest.values():
            self._at = job.model
            try:
                done = job.model.engine.wait(job.slot, IDLE_S if nothing_else else POLL_S)
            except BaseException:
                self._in_flight.remove(job)
                self._give_back(job)
                raise
            if done:
                self._in_flight.remove(job)
                self._finish(job)
                return True
        return False

    def _finish(self, job: _InFlight) -> None:
        try:
            ready_ns = self._clock_ns()
            detections = job.model.task.finish(job.slot.outputs, job.fit, job.model.rules)
            result = Result(
                camera=job.lane.key,
                stamp=job.lease.stamp,
                size_wh=job.fit.source_wh,
                detections=detections,
                inference_ms=(ready_ns - job.submitted_ns) / 1e6,
                finished_ns=self._clock_ns(),
                labels=job.model.labels,
            )
            self._on_result(result, job.lease)
        finally:
            self._give_back(job)

    @staticmethod
    def _give_back(job: _InFlight) -> None:
        job.model.free.append(job.slot)
        job.lease.release()

    def _fail(self, error: ApplianceError) -> None:
        """Say so and go on after a pause: the next frame may do better.

        The loop goes on, so its heart beats: another engine may be built meanwhile, for minutes.
        """
        self._on_failure(self._at, error)
        self._heartbeat.tick()
        self._stop.wait(FAILURE_PAUSE_S)

    def _drain(self) -> None:
        while self._in_flight:
            job = self._in_flight.popleft()
            job.lease.release()
        with self._lock:
            self._has_ended = True
        arrived = (model for _, model in self._arrived if model is not None)
        for model in (*self._models.values(), *self._replaced, *arrived):
            model.engine.close()
