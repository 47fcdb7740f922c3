"""The inference loop: one thread that owns every engine.

It takes the newest frame of each camera in turn, fits it into a free engine slot and submits.
While engines work, a free slot waits for the next frame, and whatever comes first is served
first: the frame or the oldest result of a model.

An engine may take the place of another: it gets every frame from then on, and the other ends as
soon as its own frames in flight are finished. Results keep their order, for a model's oldest frame
is finished first, whichever engine has it.

Single pictures that people ask about go through the same engines, behind the cameras: one is
served when no frame waits for its model, or when enough frames have gone before it.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from loguru import logger
from typing_extensions import override

from appliance.buffers import Lease
from appliance.errors import (
    ApplianceError,
    DeviceLostError,
    EngineError,
    EngineStuckError,
    NoNumbersError,
)
from appliance.pipeline.asked import Asked, AskedQueue, Inspected, ThresholdsOf, ending
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.in_flight import Frame, InFlight, Lane
from appliance.pipeline.served import ServedModel
from appliance.predictions import Result
from appliance.tasks import Thresholds
from appliance.threads import Worker
from appliance.values import U8

IDLE_S = 0.25  # longest sleep, so that an idle loop still ticks
POLL_S = 0.001  # how late a frame may find its free slot while engines work
FAILURE_PAUSE_S = 1.0


class Loop(Worker):
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
        self._in_flight: deque[InFlight] = deque()
        self._at: ServedModel | None = None  # at work, for the message when it fails
        self._at_asked: Asked | None = None  # whose picture it is, where it is no camera's
        self._asked = AskedQueue()
        self._lock = threading.Lock()
        # Under the lock, and so are the next: models by name, None to serve none any more.
        self._arrived: deque[tuple[str, ServedModel | None]] = deque()
        self._thresholds_of: ThresholdsOf = _own_thresholds
        self._thresholds_changed = False
        self._leaving: dict[str, threading.Thread] = {}  # engines that were given up, by model
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

    def judge_by(self, thresholds_of: ThresholdsOf | None) -> None:
        """Judge each model's outputs by these from the next turn on; None: by its own."""
        with self._lock:
            self._thresholds_of = thresholds_of or _own_thresholds
            self._thresholds_changed = True
            self.wake()

    def labels(self) -> frozenset[str]:
        """The classes that the models served now know."""
        with self._lock:
            return frozenset(label for model in self._models.values() for label in model.labels)

    def inspect(self, name: str, picture: U8, thresholds_of: ThresholdsOf) -> Future[Inspected]:
        """Have a model look at a single picture, behind the cameras; from any thread.

        Args:
            name: the model's.
            picture: (H, W, 3) uint8 BGR; not needed any more when this returns.
            thresholds_of: what counts as seen.

        Returns:
            The answer to come. Cancelled before its turn, the picture is not looked at.

        Raises:
            EngineError: the model is not served now, or too many pictures wait already.
        """
        with self._lock:
            model, leaving = self._models.get(name), self._leaving.get(name)
        if leaving is not None and leaving.is_alive():
            raise EngineError(
                f"{name} is still busy with an earlier picture", hint="Try again later."
            )
        if model is None:
            raise EngineError(
                f"no engine runs {name} yet", hint="System tells how far it is; try again then."
            )
        fitted, fit = model.letterbox.fitted(picture)
        answer: Future[Inspected] = Future()
        thresholds = thresholds_of(model)
        asked = Asked(model, fitted, fit, thresholds, self._clock_ns(), answer)
        self._asked.put(asked)
        self.wake()
        return answer

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
        self._at_asked = None
        self._admit()
        self._close_replaced()
        self._give_up_overdue()
        if self._submit_asked(is_due=True) or self._submit_next() or self._submit_asked():
            return True
        if self._in_flight:
            # A person's picture may take its time: what is waited for so ends by itself.
            return self._finish_one() or any(job.is_asked for job in self._in_flight)
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
                self._thresholds_changed = True
            if self._thresholds_changed:
                self._thresholds_changed = False
                for model in self._models.values():
                    model.thresholds_in_force = self._thresholds_of(model)

    def _close_replaced(self) -> None:
        """End the engines that were replaced and have no frame in flight any more."""
        for model in list(self._replaced):
            if not any(job.model is model for job in self._in_flight):
                self._at = model
                self._replaced.remove(model)
                model.engine.close()

    def _give_up_overdue(self) -> None:
        """An engine that a person's picture keeps for too long ends, and somebody brings another.

        Its end may take long as well, so nobody waits for it; until then it gets no picture more.
        """
        now_ns = self._clock_ns()
        overdue = next((job for job in self._in_flight if job.is_overdue(now_ns)), None)
        if overdue is None:
            return
        model = overdue.model
        error = EngineStuckError(
            f"one picture kept the model for over {model.patience_s:.0f} s: it is loaded again",
            hint="Nothing to do. Do not show it this picture again.",
        )
        lost = [job for job in self._in_flight if job.model is model]
        for job in lost:
            self._in_flight.remove(job)
        model.is_given_up = True
        leaving = threading.Thread(target=model.engine.close, name="engine-leaves", daemon=True)
        leaving.start()
        with self._lock:
            self._leaving[model.name] = leaving
            if self._models.get(model.name) is model:
                del self._models[model.name]
        if model in self._replaced:
            self._replaced.remove(model)
        self._on_failure(model, error)
        for job in lost:  # last: whoever is told so may ask again at once
            job.give_up(error)

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
        self._start(Frame(lane, lease), model, lease.pixels)
        self._asked.gone_before(model.name)

    def _submit_asked(self, *, is_due: bool = False) -> bool:
        """A single picture, if one can have its turn."""
        asked = self._asked.next(is_due=is_due)
        if asked is None:
            return False
        if self._asked.take(asked):
            self._at_asked = asked
            if self._models.get(asked.model.name) is not asked.model:
                raise EngineError("the engine was replaced just now", hint="Try again.")
            self._start(asked, asked.model, asked.fitted)
        return True

    def _start(self, origin: Frame | Asked, model: ServedModel, picture: U8) -> None:
        slot = model.free.popleft()
        self._at = model
        try:
            if isinstance(origin, Asked):
                fit = origin.fit
                model.letterbox.put(origin.fitted, slot.frames[0])
            else:
                fit = model.letterbox.place(picture, slot.frames[0])
            submitted_ns = self._clock_ns()
            model.engine.submit(slot)
        except BaseException:
            model.free.append(slot)
            if isinstance(origin, Frame):
                origin.lease.release()
            raise
        self._in_flight.append(InFlight(origin, model, slot, fit, submitted_ns))

    def _finish_one(self) -> bool:
        """The oldest result of one queue; False where none is there soon enough.

        While a slot is free, soon is very soon: a frame may come for it.
        """
        oldest = {job.queue: job for job in reversed(self._in_flight)}
        nothing_else = len(oldest) == 1 and not any(m.free for m in self._models.values())
        for job in oldest.values():
            self._at = job.model
            self._at_asked = job.origin if isinstance(job.origin, Asked) else None
            try:
                done = job.model.engine.wait(job.slot, IDLE_S if nothing_else else POLL_S)
            except BaseException:
                self._in_flight.remove(job)
                job.give_back()
                raise
            if done:
                self._in_flight.remove(job)
                self._finish(job)
                return True
        return False

    def _finish(self, job: InFlight) -> None:
        try:
            ready_ns = self._clock_ns()
            if isinstance(job.origin, Asked):
                self._answer(job, job.origin, ready_ns)
            else:
                self._publish(job, job.origin, ready_ns)
        finally:
            job.give_back()

    def _publish(self, job: InFlight, frame: Frame, ready_ns: int) -> None:
        model, lease, unknown = job.model, frame.lease, ""
        try:
            prediction = model.finish(job.slot, job.fit, model.thresholds_in_force)
        except NoNumbersError as error:
            prediction, unknown = model.task.nothing, error.sentence()
        result = Result(
            camera=frame.lane.key,
            stamp=lease.stamp,
            size_wh=job.fit.source_wh,
            task=model.task.name,
            prediction=prediction,
            inference_ms=(ready_ns - job.submitted_ns) / 1e6,
            finished_ns=self._clock_ns(),
            labels=model.labels,
            unknown=unknown,
        )
        self._on_result(result, lease)

    @staticmethod
    def _answer(job: InFlight, asked: Asked, ready_ns: int) -> None:
        model = job.model
        asked.answer.set_result(
            Inspected(
                task=model.task.name,
                prediction=model.finish(job.slot, job.fit, asked.thresholds),
                labels=model.labels,
                report=model.engine.report,
                input_wh=job.fit.input_wh,
                waited_ms=(job.submitted_ns - asked.asked_ns) / 1e6,
                inference_ms=(ready_ns - job.submitted_ns) / 1e6,
            )
        )

    def _fail(self, error: ApplianceError) -> None:
        """Say so and go on after a pause: the next frame may do better.

        The loop goes on, so its heart beats: another engine may be built meanwhile, for minutes.
        A single picture ends alone, unless the device is lost, for everybody.
        """
        if self._at_asked is not None:
            self._at_asked.answer.set_exception(error)
            self._at_asked = None
            if not isinstance(error, DeviceLostError):
                self._heartbeat.tick()
                return
        self._on_failure(self._at, error)
        self._heartbeat.tick()
        self._stop.wait(FAILURE_PAUSE_S)

    def _drain(self) -> None:
        with self._lock:
            self._has_ended = True
        self._asked.end()
        for job in self._in_flight:
            job.give_up(ending())
        self._in_flight.clear()
        arrived = (model for _, model in self._arrived if model is not None)
        for model in (*self._models.values(), *self._replaced, *arrived):
            model.engine.close()


def _own_thresholds(model: ServedModel) -> Thresholds:
    return model.thresholds
