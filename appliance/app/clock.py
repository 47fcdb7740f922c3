"""The wall clock, and whether it can be right."""

import time
from datetime import UTC, datetime

from appliance import __released__

RELEASED_S = datetime.fromisoformat(__released__).replace(tzinfo=UTC).timestamp()

wall_s = time.time  # noqa: TID251 - the one wall clock, injected from here; only ever a label


def clock_doubt(now_s: float) -> str:
    """What is wrong with a clock that shows `now_s`, and what it costs; empty where nothing is.

    A box without a battery starts in the past until it hears of the time from its network.
    Nothing waits for that: intervals, and with them sign-ins, go by another clock.

    Args:
        now_s: wall clock, seconds since 1970.
    """
    now = datetime.fromtimestamp(now_s, UTC)
    if now_s >= RELEASED_S:
        return ""
    return (
        f"the clock says {now:%Y-%m-%d}, which is before this release was made ({__released__}): "
        "certificates seem not to be valid yet, so HTTPS cameras and downloads may be refused, "
        "and times in the log and on the page are wrong; sign-ins are not touched by it"
    )
