"""Threads with one owner, and mailboxes that are bounded, count what they drop, and close."""

import re
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.threads import Full, Mailbox, Worker
from tests.support.fakes import wait_until

PATIENCE_S = 10
PRODUCT = Path(__file__).parents[2] / "appliance"
BY_HAND = re.compile(r"(?<!class )\bThread\(")
MAY = {
    "threads.py": "a worker's own",
    "web/deferred.py": "makes the page while the event loop goes on, and ends with it",
    "app/child.py": "reads what one child says, and is joined before the call returns",
}


class Waiting(Worker):
    """Waits for its end."""

    def __init__(self):
        super().__init__("waiting")
        self.ran_in = ""

    def _run(self):
        self.ran_in = threading.current_thread().name
        self._stop.wait()


@pytest.fixture
def box():
    """A mailbox for three items that drops the newest, and what it has dropped."""
    dropped = []
    return Mailbox(3, Full.NEWEST, on_drop=dropped.append), dropped


def taken(mailbox):
    """All that waits, taken out one after the other."""
    items = []
    while (item := mailbox.take(0)) is not None:
        items.append(item)
    return items


def test_a_worker_runs_in_a_thread_of_its_name_until_it_is_stopped():
    """Its end is waited for only so long; stopping twice does nothing more."""
    worker = Waiting()
    worker.start()
    assert not worker.join(0.01)
    worker.stop()
    worker.stop()
    assert worker.join(PATIENCE_S)
    assert worker.ran_in == "waiting"


def test_a_worker_that_never_began_has_ended():
    """As where something else kept the station from starting."""
    worker = Waiting()
    worker.stop()
    assert worker.join(0)


def test_what_finds_no_room_is_dropped_counted_and_told(box):
    """The policy that keeps what came first."""
    mailbox, dropped = box
    assert [mailbox.put(item) for item in "abcde"] == [True, True, True, False, False]
    assert (dropped, mailbox.dropped, len(mailbox)) == (["d", "e"], 2, 3)
    assert taken(mailbox) == ["a", "b", "c"]


def test_the_newest_takes_the_place_of_the_oldest_of_its_kind():
    """The policy that keeps what came last; another kind loses nothing by it."""
    dropped = []
    mailbox = Mailbox(1, Full.OLDEST, on_drop=dropped.append, kind_of=lambda item: item[0])
    assert all(mailbox.put(item) for item in ("a1", "b1", "a2", "a3"))
    assert (dropped, mailbox.dropped) == (["a1", "a2"], 2)
    assert taken(mailbox) == ["b1", "a3"]


def test_what_comes_after_the_end_is_dropped_and_what_waits_can_be_taken(box):
    """Whoever waits for an item is woken by the end."""
    mailbox, dropped = box
    mailbox.put("a")
    mailbox.close()
    mailbox.close()
    assert mailbox.is_closed
    assert not mailbox.put("b")
    assert dropped == ["b"]
    assert mailbox.take() == "a"
    assert mailbox.take() is None  # at once, without a limit of time


def test_whoever_waits_is_woken_by_an_item_and_by_the_end(box):
    """Without a limit of time."""
    mailbox, _ = box
    got = []

    def read():
        while (item := mailbox.take()) is not None:
            got.append(item)

    reader = threading.Thread(target=read)
    reader.start()
    mailbox.put("a")
    wait_until(lambda: got == ["a"])
    mailbox.close()
    reader.join(PATIENCE_S)
    assert not reader.is_alive()


def test_no_item_in_time_is_none(box):
    """Whoever looks for something else now and then goes on."""
    assert box[0].take(0.01) is None


def test_items_may_stay_until_they_are_done(box):
    """What is taken out by name, or at the end, does not count as dropped."""
    mailbox, dropped = box
    items = [[1], [1], [1]]  # equal, and yet each is itself
    for item in items:
        mailbox.put(item)
    assert mailbox.first(2) == items[:2]
    mailbox.remove(items[1])
    assert [each is items[0] or each is items[2] for each in mailbox] == [True, True]
    with pytest.raises(ValueError, match="expected an item that waits"):
        mailbox.remove(items[1])
    assert len(mailbox.clear()) == 2
    assert (len(mailbox), mailbox.dropped, dropped) == (0, 0, [])
    assert mailbox.put("room again")


def test_its_lock_can_be_held_for_several_steps(box):
    """Whoever holds it may wait for an item; others can leave one meanwhile."""
    mailbox, _ = box
    threading.Timer(0.05, mailbox.put, ["a"]).start()
    with mailbox.changed:
        assert mailbox.take(PATIENCE_S) == "a"


def test_a_mailbox_without_room_is_refused():
    """It could pass on nothing."""
    with pytest.raises(ValueError, match="expected at least 1, got 0"):
        Mailbox(0, Full.OLDEST)


@given(
    full=st.sampled_from(Full),
    room=st.integers(1, 3),
    steps=st.lists(st.one_of(st.none(), st.sampled_from("xyz")), max_size=30),
)
def test_each_item_waits_or_is_taken_or_was_dropped(full, room, steps):
    """None is lost, none comes twice, no kind has more than its room, and order is kept."""
    dropped, got, put = [], [], []
    mailbox = Mailbox(room, full, on_drop=dropped.append, kind_of=lambda item: item[0])
    for at, step in enumerate(steps):
        if step is None:
            got += [item for item in [mailbox.take(0)] if item]
        else:
            put.append((step, at))
            mailbox.put(put[-1])
        waiting = list(mailbox)
        assert all(sum(kind == each for kind, _ in waiting) <= room for each in "xyz")
        assert sorted([*dropped, *got, *waiting]) == sorted(put)
        assert mailbox.dropped == len(dropped)
    assert got + taken(mailbox) == sorted(set(put) - set(dropped), key=lambda item: item[1])


def test_nobody_else_keeps_a_thread_by_hand():
    """A part with a thread of its own is a `Worker`: one way to start, to stop and to join."""
    found = {
        str(path.relative_to(PRODUCT))
        for path in PRODUCT.rglob("*.py")
        if BY_HAND.search(path.read_text(encoding="utf-8"))
    }
    assert found == MAY.keys()
