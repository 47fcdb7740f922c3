"""The box's clock, looked at once at the start."""

from datetime import UTC, datetime, timedelta

import pytest

from appliance import __released__
from appliance.app.clock import clock_doubt

RELEASED = datetime.fromisoformat(__released__).replace(tzinfo=UTC)


@pytest.mark.parametrize("early", [timedelta(seconds=1), timedelta(days=20_000)])
def test_a_clock_before_the_release_is_doubted_with_the_reason(early):
    """Its day, ours, and what goes wrong by it: certificates and the times people see."""
    moment = RELEASED - early
    doubt = clock_doubt(moment.timestamp())
    assert f"{moment:%Y-%m-%d}" in doubt
    assert __released__ in doubt
    assert "certificates" in doubt


@pytest.mark.parametrize("late", [timedelta(), timedelta(days=20_000)])
def test_a_later_clock_is_believed(late):
    """How late it is nobody here can know."""
    assert clock_doubt((RELEASED + late).timestamp()) == ""


def test_the_release_is_not_to_come():
    """A day that was written wrong would doubt every clock."""
    assert datetime.now(UTC) >= RELEASED
