"""The inference loop: one thread that owns every engine, and serves work.

A turn lets changes in, gives up what keeps an engine for too long, and then does one thing: submit
the next work, or finish results, or rest. Cameras' frames go first, each camera in turn; work of
people and of the background goes where no frame waits, or before one, by its share of the engine.
While engines work, a free slot waits for the next frame, and whatever comes first is served first.

An engine may take the place of another: it gets every frame from then on, and the other ends as
soon as its own frames in flight are finished. Results keep their order, for a model's oldest frame
is finished first, whichever engine has it.

An engine that fails gets a pause of its own, and one that hangs is asked less and less often. The
others lose nothing by it.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial

from loguru import logger
from typing_extensions import override

from appliance.errors import ApplianceError, DeviceLostError, EngineError, EngineStuckError
from appliance.pipeline.asked import Asked, Inspected
from appliance.pipeline.closing import CLOSING_S
from appliance.pipeline.criteria import Criteria
from appliance.pipeline.engine_table import (
    FAILURE_PAUSE_S,
    HUNG,
    EngineFault,
    EngineRow,
    EngineTable,
    not_served,
)
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.in_flight import InFlight
from appliance.pipeline.lanes import Lane, Lanes, OnResult
from appliance.pipeline.served import ServedModel, ThresholdsOf
from appliance.pipeline.shares import Shares
from appliance.pipeline.waiting import ending
from appliance.pipeline.work import Urgency, Work
from appliance.threads import Worker
from appliance.values import U8

TELLING_S = 60.0  # between two lines of the log on cameras' frames that fail in the same way
IDLE_S = 0.25  # longest sleep, so that an idle loop still ticks
POLL_S = 0.001  # how late a frame may find its free slot while engines work


class Loop(Worker):
    """Runs until stopped. `wake` is called by cameras when a frame is there.

    Args:
        lanes: the cameras, in the order in which they take turns.
        on_result: gets each result with the lease on its frame, in the loop's thread; it
            retains the lease if it needs the pixels after it returns.
        on_failure: gets the model at work, None where it is no model's, and the error; called in
            the loop's thread, and in one that ends an engine.
        heartbeat: ticked every turn, unless every engine that could work keeps a frame.
        clock_ns: monotonic.
        shares: of an engine's time, for others than cameras.

    Attributes:
        engines: those that serve, by model.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        *,
        on_result: OnResult,
        on_failure: Callable[[ServedModel | None, ApplianceError], None],
        heartbeat: Heartbeat,
        clock_ns: Callable[[], int],
        shares: Shares | None = None,
    ) -> None:
        super().__init__("loop")
        self.engines = EngineTable(shares or Shares(), clock_ns)
        self._lanes = Lanes(lanes, on_result=on_result, clock_ns=clock_ns)
        self._on_failure = on_failure
        self._heartbeat = heartbeat
        self._clock_ns = clock_ns
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._changes: deque[Callable[[], None]] = deque()  # under the lock, and so is the next
        self._has_ended = False
        self._tell_from_ns: dict[str, int] = {}  # of cameras' frames that fail, by how

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
        if not self._change(partial(self.engines.install, model)):
            model.engine.close()

    def withdraw(self, name: str) -> None:
        """Serve no model of this name from the next turn on."""
        self._change(partial(self.engines.withdraw, name))

    def add(self, lane: Lane) -> None:
        """Serve one more camera from the next turn on."""
        self._change(partial(self._lanes.add, lane))

    def remove(self, key: str) -> None:
        """Serve this camera no more from the next turn on."""
        self._change(partial(self._lanes.remove, key))

    def judge_by(self, criteria: Criteria | None) -> None:
        """Judge all cameras' frames by these from the next turn on; None: each by its own."""
        self._change(partial(self._lanes.judge_by, criteria))

    def labels(self) -> frozenset[str]:
        """The classes that the models served now know."""
        models = self.engines.serving().values()
        return frozenset(label for model in models for label in model.labels)

    def put(self, work: Work) -> None:
        """Let work wait for its turn, behind the cameras; from any thread.

        Raises:
            EngineError: its model is not served now, or too much waits for it already.
        """
        row, _ = self._serving(work.model)
        row.waiting.put(work)
        self.wake()

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
        _, model = self._serving(name)
        fitted, fit = model.letterbox.fitted(picture)
        answer: Future[Inspected] = Future()
        self.put(Asked(model, fitted, fit, thresholds_of(model), self._clock_ns(), answer))
        return answer

    def _serving(self, name: str) -> tuple[EngineRow, ServedModel]:
        """What serves whoever stands behind the cameras.

        Raises:
            EngineError: nothing does now.
        """
        row = self.engines.get(name)
        if row is not None and row.is_closing:
            raise EngineError(
                f"{name} is still busy with an earlier picture", hint="Try again later."
            )
        if row is None or (model := row.serving) is None:
            raise not_served(name)
        return row, model

    def _change(self, change: Callable[[], None]) -> bool:
        """Make a change at the next turn; False where there is none any more."""
        with self._lock:
            if not self._has_ended:
                self._changes.append(change)
            self.wake()
            return not self._has_ended

    @override
    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001 - top of the thread: told, not swallowed
                self._on_failure(None, _as_appliance_error(error))
                self._heartbeat.tick()
                self._stop.wait(FAILURE_PAUSE_S)
        self._drain()

    def _turn(self) -> None:
        """Some work in, or some results out, or a rest."""
        self._wake.clear()
        self._admit()
        for row in self.engines:
            self._close_replaced(row)
            self._give_up_overdue(row)
        self.engines.tidy()
        has_moved = self._submit_next() or self._finish_ready() or self._rest()
        if self.engines.beat() or has_moved:
            self._heartbeat.tick()

    def _admit(self) -> None:
        """Make the changes that were asked for, those too that one of them asks for."""
        while (change := self._next_change()) is not None:
            change()

    def _next_change(self) -> Callable[[], None] | None:
        with self._lock:
            return self._changes.popleft() if self._changes else None

    def _close_replaced(self, row: EngineRow) -> None:
        """End the engines that were replaced and have no frame in flight any more."""
        for model in list(row.replaced):
            if not any(job.model is model for job in row.in_flight):
                row.close(model, partial(self._not_closed, model))

    def _not_closed(self, model: ServedModel, error: Exception) -> None:
        self._on_failure(model, _as_appliance_error(error))

    def _give_up_overdue(self, row: EngineRow) -> None:
        """An engine that is kept for too long ends, and somebody brings another."""
        job = row.overdue(is_spare=lambda: self.engines.works_without(row))
        if job is None:
            return
        lost = row.give_up(job.model)
        row.close(job.model, partial(self._not_closed, job.model))
        error = _frame_kept(job.model) if job.is_live else _picture_kept(job.model)
        self._on_failure(job.model, error)
        for each in lost:  # last: whoever is told so may ask again at once
            each.work.fail(error)

    def _submit_next(self) -> bool:
        """What is due goes first, then cameras, then what waits for a gap between their frames."""
        for row in self.engines:
            if (work := row.due()) is not None:
                return self._submit(row, work, is_charged=True)
        frame = self._lanes.next(self.engines.takes_frames)
        if frame is not None:
            return self._submit(self.engines.get(frame.model), frame)
        for row in self.engines:
            if (work := row.next_waiting()) is not None:
                return self._submit(row, work)
        return False

    def _submit(self, row: EngineRow | None, work: Work, *, is_charged: bool = False) -> bool:
        if row is None or (model := row.serving) is None:
            work.fail(not_served(work.model))
            return True
        submit = partial(row.submit, work, model, is_charged=is_charged)
        self._attempt(submit, row, model, work)
        return True

    def _finish_ready(self) -> bool:
        """Whatever is ready: at most one result of each queue, so that none waits for another."""
        finished = [self._finish(row, job, 0) for row, job in self._heads()]
        return any(finished)

    def _heads(self) -> list[tuple[EngineRow, InFlight]]:
        return [(row, job) for row in self.engines for job in row.heads()]

    def _finish(self, row: EngineRow, job: InFlight, timeout_s: float) -> bool:
        return self._attempt(partial(row.finish, job, timeout_s), row, job.model, job.work)

    def _rest(self) -> bool:
        """Wait for a result or a frame, whichever comes first; True where a result came.

        While a slot is free, a frame may come for it. What should come next is waited for; what
        is late, is asked the less often the later it is.
        """
        idle_s = min(IDLE_S, self.engines.next_try_s())
        heads = self._heads()
        if not heads:
            self._wake.wait(idle_s)
            return False
        row, job = min(heads, key=lambda head: head[0].due_in_s(head[1]))
        if len(heads) == 1 and not any(each.has_room for each in self.engines):
            return self._finish(row, job, idle_s)
        pause_s = row.lateness_s(job)
        if pause_s <= POLL_S:
            return self._finish(row, job, POLL_S)
        self._wake.wait(min(idle_s, pause_s))
        return False

    def _attempt(
        self, act: Callable[[], bool], row: EngineRow, model: ServedModel, work: Work
    ) -> bool:
        """Act, say what fails, and go on: the next work may do better. A failure ends it, too.

        An engine that fails on a camera's frame gets a pause. Other work ends alone, unless the
        device is lost, for everybody; and so does a frame that cannot be placed or published.
        """
        try:
            return act()
        except EngineFault as fault:
            error = _as_appliance_error(fault.error)
            work.fail(error)
            if work.urgency is Urgency.LIVE or isinstance(error, DeviceLostError):
                row.pause.begin()
                self._on_failure(model, error)
        except Exception as caught:  # noqa: BLE001 - whatever one picture raises is its own
            self._fail_alone(work, caught)
        row.heartbeat.tick()
        return True

    def _fail_alone(self, work: Work, caught: Exception) -> None:
        """The engine is well, and others' pictures with it. Frames of a camera may all be so."""
        error = _as_appliance_error(caught)
        work.fail(error)
        now_ns, how = self._clock_ns(), str(error)
        if work.urgency is Urgency.LIVE and now_ns >= self._tell_from_ns.get(how, now_ns):
            self._tell_from_ns[how] = now_ns + round(TELLING_S * 1e9)
            logger.opt(exception=caught).error("inference loop: a frame gave no result")
            self._on_failure(None, error)

    def _drain(self) -> None:
        with self._lock:
            self._has_ended = True
            changes = list(self._changes)
        for change in changes:  # an engine that came late is closed with the others
            change()
        for row in self.engines:
            row.waiting.fail(ending(), is_end=True)
            for job in row.in_flight:
                job.work.fail(ending())
            row.in_flight.clear()
        for row in self.engines:
            for model in (*row.replaced, *filter(None, [row.serving])):
                try:
                    model.engine.close()
                except Exception as error:  # noqa: BLE001 - told, and the other engines are closed
                    self._not_closed(model, error)
            for closing in row.closing:
                closing.join(CLOSING_S)


def _as_appliance_error(error: Exception) -> ApplianceError:
    """As it is said; what nobody expected is logged with its traceback."""
    if isinstance(error, ApplianceError):
        return error
    logger.opt(exception=error).error("inference loop: unexpected error")
    return ApplianceError(f"inference failed: {type(error).__name__}")


def _picture_kept(model: ServedModel) -> EngineStuckError:
    return EngineStuckError(
        f"one picture kept the model for over {model.patience_s:.0f} s: it is loaded again",
        hint="Nothing to do. Do not show it this picture again.",
    )


def _frame_kept(model: ServedModel) -> EngineStuckError:
    patience_s = HUNG * model.patience_s
    return EngineStuckError(
        f"the engine has not answered for over {patience_s:.0f} s: it is loaded again",
        hint="Nothing to do while it is loaded. If it happens often, look at the log.",
    )
