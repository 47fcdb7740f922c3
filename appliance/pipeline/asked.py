"""Single pictures that people ask about, waiting behind the cameras for a model's free slot."""

import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from appliance.errors import EngineError
from appliance.geometry import Fit
from appliance.pipeline.served import ServedModel
from appliance.predictions import Prediction
from appliance.runtimes import EngineReport
from appliance.tasks import Thresholds
from appliance.values import U8

ASKED_LIMIT = 8  # single pictures that wait for their turn at one model
FRAMES_BEFORE = 8  # frames of cameras that a single picture lets go first, at most

ThresholdsOf = Callable[[ServedModel], Thresholds]


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a model sees in a single picture.

    Attributes:
        task: the model's, which tells the kind of the prediction.
        prediction: in the picture's pixels.
        labels: the model's class names in the order of class ids.
        report: on the engine that looked.
        input_wh: the model's input size, pixels.
        waited_ms: until the engine got it.
        inference_ms: from the engine's submit to its outputs being ready.
    """

    task: str
    prediction: Prediction
    labels: tuple[str, ...]
    report: EngineReport
    input_wh: tuple[int, int]
    waited_ms: float
    inference_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A single picture, fitted for `model` by whoever asks: it may be a large one."""

    model: ServedModel
    fitted: U8
    fit: Fit
    thresholds: Thresholds
    asked_ns: int
    answer: Future[Inspected]


class AskedQueue:
    """Filled from any thread, emptied by the loop; bounded for each model, the rest is refused."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Asked] = deque()
        self._has_ended = False
        self._gone_before: Counter[str] = Counter()  # frames, while a picture waits; by model

    def put(self, asked: Asked) -> None:
        """Let a picture wait; those that nobody waits for any more make room.

        Raises:
            EngineError: too many wait already, or the station ends.
        """
        with self._lock:
            if self._has_ended:
                raise ending()
            self._waiting = deque(each for each in self._waiting if not each.answer.cancelled())
            before = sum(each.model.name == asked.model.name for each in self._waiting)
            if before >= ASKED_LIMIT:
                raise crowded()
            self._waiting.append(asked)

    def gone_before(self, model: str) -> None:
        """A frame of a camera was submitted to `model`."""
        self._gone_before[model] += 1

    def next(self, *, is_due: bool) -> Asked | None:
        """The first whose model has a free slot, if there is one; it stays until it is taken.

        Args:
            is_due: only one that enough frames have gone before.
        """
        with self._lock:
            waiting = list(self._waiting)
        # Counted from when one begins to wait.
        names = {asked.model.name for asked in waiting}
        for name in self._gone_before.keys() - names:
            del self._gone_before[name]
        for asked in waiting:
            has_waited = self._gone_before[asked.model.name] >= FRAMES_BEFORE
            if asked.model.free and (has_waited or not is_due):
                return asked
        return None

    def take(self, asked: Asked) -> bool:
        """Take it out, for its turn; False where whoever asked has gone."""
        with self._lock:
            if asked not in self._waiting:
                return False  # and made room for another
            self._waiting.remove(asked)
        if not asked.answer.set_running_or_notify_cancel():
            return False
        del self._gone_before[asked.model.name]
        return True

    def end(self) -> None:
        """Answer those that wait, and take no more."""
        with self._lock:
            self._has_ended = True
            waiting = list(self._waiting)
            self._waiting.clear()
        for each in waiting:
            if each.answer.set_running_or_notify_cancel():
                each.answer.set_exception(ending())


def crowded() -> EngineError:
    """The answer to whoever asks while too many wait."""
    return EngineError("too many pictures wait already", hint="Try again soon.")


def ending() -> EngineError:
    """The answer to whoever asks too late."""
    return EngineError("the station ends", hint="Try again when it is back.")
