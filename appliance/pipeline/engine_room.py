"""Brings each model's engine up: found, built if need be, loaded, handed to the loop.

One thread, so that the page is there while an engine is built. A model that fails says why and
leaves the others alone.

A model may get several engines, one after the other: what serves while a better one is built,
then that one. An engine that keeps failing, or whose device is gone, is given up for this run, and
its model is brought up again without its backend: once for each backend, so that nothing loops.
Where nothing else runs the model, the engine that fails goes on being tried with every frame.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from loguru import logger
from typing_extensions import override

from appliance.errors import ApplianceError, DeviceLostError, EngineError, EngineStuckError
from appliance.pipeline.place import Place
from appliance.pipeline.served import ServedModel
from appliance.readings import EngineReading
from appliance.threads import Worker
from appliance.values import EngineState

LOOK_AGAIN_S = 20.0  # at files that gave no engine: somebody may have brought others
DOUBT_S = 60.0  # after the last result that was no numbers, the station counts as well again
PATIENCE = 5  # frames that fail in a row until another backend is tried
TRIED_AGAIN = "It is tried again at the next start of the station."


@dataclass(frozen=True, slots=True)
class Prepared:
    """A loaded model, what is known of its proof, and why it is not what was asked for.

    Attributes:
        served: the model, ready for frames.
        verdict: "proven" or "unproven".
        proof: the verdict in a sentence.
        fallback: why this is not what was asked for, without a full stop; empty if it is.
        next_step: what a person can do about that.
        notice: what a person should know, and nothing has to be done about it.
    """

    served: ServedModel
    verdict: str
    proof: str
    fallback: str = ""
    next_step: str = ""
    notice: str = ""


class Progress(Protocol):
    """Told while an engine is made: what is being done, and 0..1 or None where unknown."""

    def __call__(self, sentence: str, progress: float | None) -> None:
        """Note it; must not block."""


class Preparing(Protocol):
    """From a model's name to loaded models, each of which takes the place of the one before."""

    def prepare(self, name: str, progress: Progress, without: frozenset[str]) -> Iterator[Prepared]:
        """One or more; `without` names backends that failed in this run and are not used again.

        Raises:
            ApplianceError: the model cannot be had, or nothing runs it; what was given just now
                must not serve either.
        """

    def is_changed(self, name: str) -> bool:
        """Whether files that gave no engine of their own are others now."""

    def forget(self, name: str) -> None:
        """What was prepared for this model last serves no more; called from any thread."""


class EngineRoom(Worker):
    """Prepares models in the order given, and again where an engine is given up.

    Args:
        models: names of the models in use.
        asked: the backend setting's word.
        preparer: from a name to loaded models.
        install: hands a model to the loop, in the place of the one of the same name.
        withdraw: has the loop serve no model of this name any more.
        clock_ns: monotonic.
    """

    def __init__(
        self,
        models: Sequence[str],
        *,
        asked: str,
        preparer: Preparing,
        install: Callable[[ServedModel], None],
        withdraw: Callable[[str], None],
        clock_ns: Callable[[], int],
    ) -> None:
        super().__init__("engines")
        self._preparer = preparer
        self._install = install
        self._withdraw = withdraw
        self._clock_ns = clock_ns
        self._changed = threading.Condition()
        self._asked = asked
        # Another one at each change; so is it looked at without the lock.
        self._places: Mapping[str, Place] = {name: self._blank(name) for name in models}

    @override
    def stop(self) -> None:
        """End after the model at hand; idempotent."""
        with self._changed:
            super().stop()
            self._changed.notify_all()

    def readings(self) -> tuple[EngineReading, ...]:
        """One for each model, in order."""
        with self._changed:
            return tuple(place.reading() for place in self._places.values())

    def again(self, model: str) -> None:
        """Bring a model up once more: what it is made of, or compared with, has changed."""
        if model in self._places:
            self.load(model)

    def load(self, model: str) -> None:
        """Bring up a model that was not in use; one that is, is brought up once more."""
        with self._changed:
            place = self._places.get(model) or self._blank(model)
            place.is_wanted = True
            self._places = {**self._places, model: place}
            self._changed.notify_all()

    def unload(self, model: str) -> None:
        """Let a model be in use no more; one that is being brought up goes as soon as it came."""
        with self._changed:
            self._places = {name: each for name, each in self._places.items() if name != model}
            self._let_go(model)

    def _let_go(self, model: str) -> None:
        """Whatever serves the model ends; the next time it is prepared anew."""
        self._preparer.forget(model)
        self._withdraw(model)

    def _blank(self, model: str) -> Place:
        return Place(EngineReading(model, EngineState.WAITING, self._asked))

    def failed(self, served: ServedModel | None, error: ApplianceError) -> None:
        """An engine that ran has failed on a frame; said once, until it changes.

        Args:
            served: what failed; None where no model was at work.
            error: how.
        """
        if served is None:
            logger.error("inference: {}", error.sentence())
            return
        if (place := self._places.get(served.name)) is None:
            return  # it was unloaded meanwhile
        with self._changed:
            place.failures += 1
            is_last = served is place.served
            is_new = is_last and str(place.trouble) != str(error)
            if is_last:
                place.trouble = error
                place.in_a_row += 1
                self._give_up_hopeless(place, error)
                if isinstance(error, EngineStuckError):  # another of its kind will do
                    place.is_wanted = True
                    self._changed.notify_all()
        if is_new:
            logger.bind(model=served.name).error("engine: {}", error.sentence())
        elif not is_last:
            logger.bind(model=served.name).warning("engine that was replaced: {}", error)

    def _give_up_hopeless(self, place: Place, error: ApplianceError) -> None:
        if place.running is None or place.running.backend in place.given_up:
            return
        if place.in_a_row >= PATIENCE or isinstance(error, DeviceLostError):
            place.given_up[place.running.backend] = f"{place.running.running} failed: {error}"
            place.is_wanted = True
            self._changed.notify_all()

    def recovered(self, model: str) -> None:
        """A result came: whatever was wrong is over."""
        if (place := self._places.get(model)) is None:
            return
        self._answered(model, place)
        with self._changed:
            long_ago = self._clock_ns() - place.doubted_ns > DOUBT_S * 1e9
            is_sure_again = bool(place.doubt) and long_ago
            if is_sure_again:
                place.doubt = ""
        if is_sure_again:
            logger.bind(model=model).info("engine: its results are numbers again")

    def doubted(self, model: str, reason: str) -> None:
        """A result came of which nothing is known; said once, until there are only sound ones.

        Args:
            model: the model's name.
            reason: what is wrong with its output.
        """
        if (place := self._places.get(model)) is None:
            return
        self._answered(model, place)
        with self._changed:
            place.unknown += 1
            place.doubted_ns = self._clock_ns()
            is_new = not place.doubt
            place.doubt = f"Some of its results are unknown: {reason}"
        if is_new:
            logger.bind(model=model).error("engine: result unknown: {}", reason)

    def _answered(self, model: str, place: Place) -> None:
        """An engine has looked at a frame without failing."""
        with self._changed:
            place.in_a_row = 0
            was_over = place.trouble is None or place.running is None
            if not was_over:
                place.trouble = None
        if not was_over:
            logger.bind(model=model).info("engine: runs again")

    @override
    def _run(self) -> None:
        while (model := self._next()) is not None:
            if (place := self._places.get(model)) is None:
                continue  # it was unloaded meanwhile
            try:
                self._bring_up(model, place)
            except ApplianceError as error:
                self._not_brought_up(model, place, error)
            except Exception as error:  # noqa: BLE001 - top of the thread: told, not swallowed
                logger.bind(model=model).exception("engine: unexpected error")
                failure = ApplianceError(f"engine failed: {type(error).__name__}")
                self._not_brought_up(model, place, failure)

    def _next(self) -> str | None:
        """The next model to bring up; waits for one, and gives None at the end."""
        while not self._stop.is_set():
            with self._changed:
                wanted = self._wanted()
                if wanted is None and not self._stop.is_set():
                    self._changed.wait(LOOK_AGAIN_S)
                    wanted = self._wanted()
            changed = next((name for name in self._places if self._is_worth_a_try(name)), None)
            if wanted or changed:
                return wanted or changed
        return None

    def _is_worth_a_try(self, name: str) -> bool:
        """Whether files are others now, or an engine ended whose like could not be loaded yet."""
        place = self._places.get(name)
        served = place.served if place is not None else None
        return (served is not None and served.is_given_up) or self._preparer.is_changed(name)

    def _wanted(self) -> str | None:
        for name, place in self._places.items():
            if place.is_wanted:
                place.is_wanted = False
                return name
        return None

    def _bring_up(self, model: str, place: Place) -> None:
        given_up = dict(place.given_up)
        place.given = 0
        without, note = frozenset(given_up), self._noting(model, place)
        for prepared in self._preparer.prepare(model, note, without):
            self._put_in_place(place, prepared, given_up)
            if self._has_left(model, place):
                self._let_go(model)
                return
            if self._stop.is_set():
                return  # the loop closes what it was given
        if not place.given:
            raise EngineError("nothing on this box runs it")
        with self._changed:
            place.under_way = None

    def _has_left(self, model: str, place: Place) -> bool:
        return self._places.get(model) is not place

    def _noting(self, model: str, place: Place) -> Progress:
        def note(sentence: str, progress: float | None) -> None:
            with self._changed:
                is_new = place.under_way is None or place.under_way[0] != sentence
                place.under_way = sentence, progress
            if is_new:
                logger.bind(model=model).info("engine: {}", sentence)

        return note

    def _put_in_place(self, place: Place, prepared: Prepared, given_up: Mapping[str, str]) -> None:
        served, reading = prepared.served, _described(prepared, given_up)
        with self._changed:
            is_new = served is not place.served  # else only what is known of it has changed
            is_news = is_new or reading != place.running
            place.given += 1
            place.replacements += is_new and place.served is not None
            place.served, place.running = served, reading
            place.trouble, place.under_way, place.in_a_row = None, None, 0
            place.doubt = "" if is_new else place.doubt
            place.is_wanted = False  # what was given up meanwhile is replaced by this
        if is_new:
            self._install(served)
        if not is_news:
            return
        say = logger.bind(model=served.name)
        what = f"{reading.running} {reading.version} {reading.precision}, {reading.proof}"
        if reading.fallback:
            say.warning("engine: {}; fallback: {}", what, reading.fallback)
        else:
            say.info("engine: {}", what)
        if reading.notice:
            say.warning("engine: {}", reading.notice)

    def _not_brought_up(self, model: str, place: Place, error: ApplianceError) -> None:
        """The model has failed; what ran before runs on, or goes on failing.

        What was put in place just now goes: in the end it was refused, too.
        """
        with self._changed:
            if self._has_left(model, place):
                self._let_go(model)
                return
            if self._stop.is_set():
                return  # a build that ends with the station is no failure
            place.under_way = None
            if place.given:
                self._let_go(model)
                place.served = place.running = None
            if place.running is None:
                place.trouble = error
        logger.bind(model=model).error("engine: {}", error.sentence())


def _described(prepared: Prepared, given_up: Mapping[str, str]) -> EngineReading:
    """What runs. What was given up in this run is why, whatever else stands in its way."""
    report = prepared.served.engine.report
    reasons = "; ".join(given_up.values())
    return EngineReading(
        model=prepared.served.name,
        state=EngineState.RUNNING,
        asked=report.asked,
        running=report.running,
        backend=report.backend,
        version=report.version,
        precision=report.precision,
        verdict=prepared.verdict,
        proof=prepared.proof,
        fallback=reasons or prepared.fallback or report.note,
        next_step=TRIED_AGAIN if reasons else prepared.next_step,
        notice=prepared.notice,
    )
