"""The places of viewers: nobody takes them all."""

from contextlib import ExitStack

import pytest

from appliance.web.access.seats import Seats

LIMIT = 6


class Room:
    """Viewers who come, and stay until they lose their seats."""

    def __init__(self, stack):
        self.seats = Seats(LIMIT)
        self.lost = []
        self._stack = stack

    def come(self, holder):
        """One more; whether there was a seat."""
        return self._stack.enter_context(self.seats.taken(holder, lambda: self.lost.append(holder)))


@pytest.fixture
def room():
    with ExitStack() as stack:
        yield Room(stack)


def test_one_may_take_all_while_nobody_else_wants_any(room):
    """Many streams of one recorder are fine; there are no more than there are."""
    assert [room.come("vic") for _ in range(LIMIT + 1)] == [True] * LIMIT + [False]
    assert (room.seats.count(), room.lost) == (LIMIT, [])


def test_a_newcomer_gets_a_seat_of_whoever_has_most(room):
    """Until they have as many as each other; whoever lost one gets it back from nobody."""
    for _ in range(LIMIT):
        room.come("vic")
    assert [room.come("ada") for _ in range(4)] == [True, True, True, False]
    assert room.lost == ["vic"] * 3
    assert not room.come("vic")
    assert room.come("otto")
    assert room.seats.count() == LIMIT


def test_nobody_loses_the_only_seat(room):
    """As many people as seats: the next one is told that there are too many."""
    assert all(room.come(f"person {n}") for n in range(LIMIT))
    assert not room.come("one more")
    assert room.lost == []


def test_what_was_taken_last_is_lost_first():
    """What somebody has watched for long goes on."""
    seats, lost = Seats(2), []
    with (
        seats.taken("vic", lambda: lost.append("first")),
        seats.taken("vic", lambda: lost.append("second")),
        seats.taken("ada", lambda: lost.append("ada")) as is_free,
    ):
        assert is_free
        assert lost == ["second"]
    assert seats.count() == 0


def test_seats_that_are_left_are_free_again():
    """Whether there was one or not, however often."""
    seats = Seats(1)
    for _ in range(5):
        with seats.taken("a", print) as first, seats.taken("b", print) as second:
            assert (first, second) == (True, False)
    assert seats.count() == 0
