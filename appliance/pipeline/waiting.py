"""Work of people and of the background that waits for its turn at one model."""

import threading
from collections import deque

from appliance.errors import EngineError
from appliance.pipeline.work import OTHERS, Urgency, Work

WAITING_LIMIT = 8  # of each urgency


class Waiting:
    """Filled from any thread, emptied by the loop; bounded, the rest is refused."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[Urgency, deque[Work]] = {urgency: deque() for urgency in OTHERS}
        self._end: EngineError | None = None

    def __bool__(self) -> bool:
        """Whether any waits."""
        return any(self._queues.values())

    def put(self, work: Work) -> None:
        """Let work wait; what nobody waits for any more makes room, and fails.

        Raises:
            EngineError: too much waits already, or the model serves no more.
        """
        with self._lock:
            if self._end is not None:
                raise self._end
            queue = self._queues[work.urgency]
            unwanted = [each for each in queue if not each.is_wanted]
            for each in unwanted:
                queue.remove(each)
            is_full = len(queue) >= WAITING_LIMIT
            if not is_full:
                queue.append(work)
        for each in unwanted:
            each.fail(unwanted_now())
        if is_full:
            raise crowded()

    def take(self, urgency: Urgency) -> Work | None:
        """The one that has waited longest."""
        with self._lock:
            queue = self._queues[urgency]
            return queue.popleft() if queue else None

    def fail(self, error: EngineError, *, is_end: bool = False) -> None:
        """Tell everybody who waits; at the end, also those who come later."""
        with self._lock:
            self._end = error if is_end else self._end
            failed = [work for queue in self._queues.values() for work in queue]
            for queue in self._queues.values():
                queue.clear()
        for work in failed:
            work.fail(error)


def crowded() -> EngineError:
    """The answer to whoever asks while too many wait."""
    return EngineError("too many pictures wait already", hint="Try again soon.")


def unwanted_now() -> EngineError:
    """The end of work that nobody waits for any more."""
    return EngineError("nobody waits for it any more")


def ending() -> EngineError:
    """The answer to whoever asks too late."""
    return EngineError("the station ends", hint="Try again when it is back.")
