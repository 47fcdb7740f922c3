"""The engines that the loop has, by model: each row has its own queue, pause, account and so on.

What fails, hangs or is crowded is so in its own row; the loop goes on with the others.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from appliance.errors import EngineError
from appliance.pipeline.closing import Closing
from appliance.pipeline.heartbeat import Heartbeat
from appliance.pipeline.in_flight import InFlight
from appliance.pipeline.served import ServedModel
from appliance.pipeline.shares import Account, Shares
from appliance.pipeline.waiting import Waiting
from appliance.pipeline.work import OTHERS, Urgency, Work

FAILURE_PAUSE_S = 1.0  # after the first failure; twice as long after each one more
LONGEST_PAUSE_S = 60.0
LATE = 0.01  # of its own duration, how late a result may be noticed
HUNG = 6  # times a model's patience: then an engine that keeps a camera's frame is loaded again


class EngineFault(Exception):  # noqa: N818 - never seen outside: the loop says what was raised
    """An engine has raised `error`, and not the work that it was given.

    Args:
        error: as the engine raised it.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def _by_the_engine() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise EngineFault(error) from error


class Pause:
    """A growing back-off, in which an engine that has failed gets no frame."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._failures = 0
        self._until_ns = 0

    def begin(self) -> None:
        """The engine has failed; what was in flight beside it makes the pause no longer."""
        if not self.left_s():
            pause_s = min(FAILURE_PAUSE_S * 2.0**self._failures, LONGEST_PAUSE_S)
            self._failures = min(self._failures + 1, 10)
            self._until_ns = self._clock_ns() + round(pause_s * 1e9)

    def end(self) -> None:
        """A result came."""
        self._failures = self._until_ns = 0

    def left_s(self) -> float:
        """Until the next try; 0 where there is no pause."""
        return max(0, self._until_ns - self._clock_ns()) / 1e9 if self._until_ns else 0.0


class EngineRow:
    """One model's engines; all but `waiting` is used by the loop's thread only.

    Args:
        name: the model's.
        shares: of the engine's time.
        clock_ns: monotonic.

    Attributes:
        serving: gets what comes next; None where nothing does now.
        replaced: served before, and still have work in flight.
        in_flight: of all of them, the oldest first.
        waiting: work of people and the background.
        pause: after failures.
        heartbeat: ticks while no camera's frame is kept for long.
        account: of engine time.
        usual_s: how long the last inference took.
        closing: end engines that serve no more.
    """

    def __init__(self, name: str, shares: Shares, clock_ns: Callable[[], int]) -> None:
        self.name = name
        self.serving: ServedModel | None = None
        self.replaced: list[ServedModel] = []
        self.in_flight: list[InFlight] = []
        self.waiting = Waiting()
        self.pause = Pause(clock_ns)
        self.heartbeat = Heartbeat(clock_ns)
        self.account = Account(shares)
        self.usual_s = 0.0
        self.closing: list[Closing] = []
        self._clock_ns = clock_ns

    @property
    def has_room(self) -> bool:
        """Whether a slot is free."""
        return self.serving is not None and bool(self.serving.free)

    @property
    def takes_frames(self) -> bool:
        """Whether a slot is free, and no pause holds cameras back."""
        return self.has_room and not self.pause.left_s()

    @property
    def has_no_stuck_frame(self) -> bool:
        """Nothing is in flight, or something that ends by itself, as it may not keep an engine."""
        return not self.in_flight or any(not job.is_live for job in self.in_flight)

    @property
    def is_closing(self) -> bool:
        """Whether an engine that was given up has not ended yet."""
        return any(each.was_stuck and not each.is_over for each in self.closing)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of the model's engines."""
        return not (self.serving or self.replaced or self.in_flight or self.closing)

    def serve(self, model: ServedModel | None) -> None:
        """Give `model` all that comes next, also where it was replaced; None: nothing does."""
        before = (*self.replaced, *filter(None, [self.serving]))
        self.replaced = [each for each in before if each is not model]
        self.serving = model
        self.pause.end()

    def close(self, model: ServedModel, on_error: Callable[[Exception], None]) -> None:
        """End an engine that is replaced or given up; nobody waits for it."""
        self.replaced = [each for each in self.replaced if each is not model]
        closing = Closing(model.engine, on_error, was_stuck=model.is_given_up)
        closing.start()
        self.closing = [*self.closing, closing]

    def forget_closed(self) -> None:
        """Hold no engine that has ended."""
        self.closing = [each for each in self.closing if not each.is_over]

    def due(self) -> Work | None:
        """Work that goes before waiting cameras, by its share."""
        return self._waiting(self.account.is_due)

    def next_waiting(self) -> Work | None:
        """Work that goes where no camera waits."""
        return self._waiting(lambda _: True)

    def _waiting(self, may_go: Callable[[Urgency], bool]) -> Work | None:
        """A person hears at once that an engine fails; the background has time to wait."""
        for urgency in OTHERS if self.waiting and self.has_room else ():
            is_held = urgency is Urgency.BACKGROUND and self.pause.left_s()
            if may_go(urgency) and not is_held:
                work = self.waiting.take(urgency)
                if work is not None:
                    return work
        return None

    def submit(self, work: Work, model: ServedModel, *, is_charged: bool) -> bool:
        """Place the picture in a free slot of `model`, and submit it; False if nobody waits for it.

        Raises:
            EngineFault: the engine failed; the slot is free again.
            Exception: the picture failed; so is it then.
        """
        slot = model.free.popleft()
        try:
            fit = work.place(model, slot)
            submitted_ns = self._clock_ns()
            if fit is not None:
                with _by_the_engine():
                    model.engine.submit(slot)
        except BaseException:
            model.free.append(slot)
            raise
        if fit is None:
            model.free.append(slot)
            return False
        if is_charged:
            self.account.begin(work.urgency)
        self.in_flight.append(InFlight(work, model, slot, fit, submitted_ns, is_charged))
        self.heartbeat.tick()
        return True

    def heads(self) -> list[InFlight]:
        """Those whose results are next: order is kept, and frames wait for no other work."""
        first: dict[bool, InFlight] = {}
        for job in self.in_flight:
            first.setdefault(job.is_live, job)
        return list(first.values())

    def finish(self, job: InFlight, timeout_s: float) -> bool:
        """Whether the outputs were there in time; then the work has taken them.

        Raises:
            EngineFault: the engine failed; the slot is free again.
            Exception: the receiver failed; so is it then.
        """
        try:
            with _by_the_engine():
                is_over = job.model.engine.wait(job.slot, timeout_s)
            if not is_over:
                return False
        except BaseException:
            self._end(job)
            job.model.free.append(job.slot)
            raise
        ready_ns = self._clock_ns()
        self.usual_s = job.age_s(ready_ns)
        self._end(job)
        self.pause.end()
        try:
            job.work.finish(job.over(ready_ns))
        finally:
            job.model.free.append(job.slot)
        return True

    def lateness_s(self, job: InFlight) -> float:
        """How late its result may be noticed: the later, the longer it takes."""
        return LATE * job.age_s(self._clock_ns())

    def due_in_s(self, job: InFlight) -> float:
        """When its result should be looked for."""
        return max(self.usual_s - job.age_s(self._clock_ns()), self.lateness_s(job))

    def overdue(self, *, is_spare: Callable[[], bool]) -> InFlight | None:
        """Work that keeps an engine for longer than it may.

        Args:
            is_spare: whether the station works without this engine. Then a camera's frame may not
                keep it for ever, for nobody restarts the station. One such engine may be closing at
                a time, lest they fill the memory.
        """
        now_ns = self._clock_ns()
        for job in self.in_flight:
            limit_s = job.model.patience_s * (HUNG if job.is_live else 1)
            if job.age_s(now_ns) > limit_s and (
                not job.is_live or (is_spare() and not self.is_closing)
            ):
                return job
        return None

    def give_up(self, model: ServedModel) -> list[InFlight]:
        """Let an engine that is kept for too long serve no more; whoever asks for it closes it.

        Returns:
            What was in flight, without a result.
        """
        lost = [job for job in self.in_flight if job.model is model]
        for job in lost:
            self._end(job)
        model.is_given_up = True
        self.serving = None if self.serving is model else self.serving
        return lost

    def _end(self, job: InFlight) -> None:
        self.in_flight.remove(job)
        duration_s = job.age_s(self._clock_ns())
        self.account.end(job.work.urgency, duration_s, is_charged=job.is_charged)
        self.heartbeat.tick()


class EngineTable:
    """One row for each model; changed by the loop's thread, looked at by any.

    Args:
        shares: of each engine's time.
        clock_ns: monotonic.
    """

    def __init__(self, shares: Shares, clock_ns: Callable[[], int]) -> None:
        self._shares = shares
        self._clock_ns = clock_ns
        self._rows: Mapping[str, EngineRow] = {}  # another one at each change

    def __iter__(self) -> Iterator[EngineRow]:
        return iter(self._rows.values())

    def get(self, name: str) -> EngineRow | None:
        """The row of a model, if it has one now."""
        return self._rows.get(name)

    def serving(self) -> dict[str, ServedModel]:
        """What serves now, by the model's name."""
        return {row.name: row.serving for row in self if row.serving is not None}

    def takes_frames(self, name: str) -> bool:
        """Whether a model can take a camera's frame now."""
        row = self._rows.get(name)
        return row is not None and row.takes_frames

    def install(self, model: ServedModel) -> None:
        """Let `model` serve, in the place of the one of its name."""
        row = self._rows.get(model.name)
        if row is None:
            row = EngineRow(model.name, self._shares, self._clock_ns)
            self._rows = {**self._rows, model.name: row}
        row.serve(model)

    def withdraw(self, name: str) -> None:
        """Let no model of this name serve."""
        if (row := self._rows.get(name)) is not None:
            row.serve(None)

    def tidy(self) -> None:
        """Where a model serves no more, tell whoever waits; forget it when nothing is left."""
        for row in self:
            row.forget_closed()
        idle = [row for row in self if row.serving is None]
        empty = {row.name for row in idle if row.is_empty}
        for row in idle:
            row.waiting.fail(not_served(row.name), is_end=row.name in empty)
        if empty:
            self._rows = {row.name: row for row in self if row.name not in empty}

    def next_try_s(self) -> float:
        """Until the next pause ends; infinite where there is none."""
        return min(filter(None, self.pauses_s().values()), default=float("inf"))

    def beat(self) -> bool:
        """Tick the heartbeats of engines that keep no frame; whether the station goes on.

        It does while no engine keeps a frame, or another one is ready for work.
        """
        moving = [row for row in self if row.has_no_stuck_frame]
        for row in moving:
            row.heartbeat.tick()
        is_any_kept = len(moving) < len(self._rows)
        return not is_any_kept or any(row.serving and not row.pause.left_s() for row in moving)

    def works_without(self, row: EngineRow) -> bool:
        """Whether another engine has shown progress within its patience."""
        return any(
            other.heartbeat.age_s() < other.serving.patience_s and not other.pause.left_s()
            for other in self
            if other is not row and other.serving is not None
        )

    def silences_s(self) -> dict[str, float]:
        """For how long each model's engine has shown no progress."""
        return {row.name: row.heartbeat.age_s() for row in self}

    def patiences_s(self) -> dict[str, float]:
        """For how long a single picture may keep each model's engine."""
        return {name: model.patience_s for name, model in self.serving().items()}

    def pauses_s(self) -> dict[str, float]:
        """How long each model's engine gets no frame yet, after it failed."""
        return {row.name: row.pause.left_s() for row in self}


def not_served(name: str) -> EngineError:
    """The answer to whoever asks a model that no engine runs."""
    return EngineError(
        f"no engine runs {name} yet", hint="System tells how far it is; try again then."
    )
