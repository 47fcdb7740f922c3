"""Threads with one owner, and the mailboxes through which they are given work."""

import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator
from enum import StrEnum
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Worker(ABC):
    """A thread with one owner: starts once, is asked to end, and ends.

    The work is in `_run`, which heeds `_stop`.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end soon; idempotent, and harmless before the start."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False if it did not come in time."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @abstractmethod
    def _run(self) -> None:
        """The thread's work, until `_stop` is set."""


class Full(StrEnum):
    """What a full mailbox drops."""

    NEWEST = "newest"  # what came first is kept
    OLDEST = "oldest"  # what came last is kept


def _one_for_all(_item: object) -> Hashable:
    return None


def _nobody(_item: object) -> None:
    """Stands where no one wants to be told of what is dropped."""


class Mailbox(Generic[Item]):
    """Where any thread leaves work for another one. Bounded; to leave something never waits.

    Items of one kind compete for room, so that one kind cannot push out another. What is dropped is
    counted and handed to `on_drop`, for it may hold memory or owe somebody an answer.

    Args:
        room: items of one kind that wait at most.
        full: what is dropped when there is no room.
        on_drop: gets each item that is dropped, in the thread that left one, without the lock
            unless that thread holds it.
        kind_of: the kind of an item; by default all are of one.

    Attributes:
        changed: guards the mailbox and is notified of each change. May be held by whoever has to do
            several things at once; it can be acquired again by the thread that holds it.
    """

    def __init__(
        self,
        room: int,
        full: Full,
        *,
        on_drop: Callable[[Item], None] = _nobody,
        kind_of: Callable[[Item], Hashable] = _one_for_all,
    ) -> None:
        if room < 1:
            raise ValueError(f"room: expected at least 1, got {room}")
        self.changed = threading.Condition()
        self._room = room
        self._full = full
        self._on_drop = on_drop
        self._kind_of = kind_of
        self._items: deque[Item] = deque()
        self._waiting: Counter[Hashable] = Counter()  # by kind
        self._dropped = 0
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is let in."""
        return self._is_closed

    @property
    def dropped(self) -> int:
        """Items that were dropped so far, those that came too late included."""
        return self._dropped

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        """What waits, the oldest first; hold `changed` meanwhile."""
        return iter(self._items)

    def put(self, item: Item) -> bool:
        """Leave one; False where it is dropped itself, as each one is after `close`."""
        with self.changed:
            drop = self._to_drop(item)
            self._dropped += drop is not None
            if drop is not item:
                if drop is not None:
                    self.remove(drop)
                self._items.append(item)
                self._waiting[self._kind_of(item)] += 1
                self.changed.notify_all()
        if drop is not None:
            self._on_drop(drop)
        return drop is not item

    def take(self, timeout_s: float | None = None) -> Item | None:
        """The oldest, taken out; None where none came in time, or none will come any more."""
        with self.changed:
            self.changed.wait_for(lambda: self._items or self._is_closed, timeout_s)
            oldest = self._items[0] if self._items else None
            if oldest is not None:
                self.remove(oldest)
            return oldest

    def first(self, count: int) -> list[Item]:
        """The oldest ones, which go on waiting until they are removed."""
        with self.changed:
            return list(islice(self._items, count))

    def remove(self, item: Item) -> None:
        """Take out this very one; it does not count as dropped.

        Raises:
            ValueError: it does not wait here.
        """
        with self.changed:
            index = next((at for at, each in enumerate(self._items) if each is item), None)
            if index is None:
                raise ValueError("remove: expected an item that waits here")
            del self._items[index]
            self._waiting[self._kind_of(item)] -= 1
            self.changed.notify_all()

    def clear(self) -> list[Item]:
        """Take out all that wait; they do not count as dropped."""
        with self.changed:
            items = list(self._items)
            self._items.clear()
            self._waiting.clear()
            self.changed.notify_all()
            return items

    def close(self) -> None:
        """Let nothing more in; what waits can still be taken out. Idempotent."""
        with self.changed:
            self._is_closed = True
            self.changed.notify_all()

    def _to_drop(self, item: Item) -> Item | None:
        """What has to go if this one is to come: itself where it is to stay outside."""
        if self._is_closed:
            return item
        kind = self._kind_of(item)
        if self._waiting[kind] < self._room:
            return None
        if self._full is Full.NEWEST:
            return item
        return next(each for each in self._items if self._kind_of(each) == kind)
