"""Watches a release that was just started until it has proven itself, or has not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

ASK_EVERY_S: Final = 2.0

Ask: TypeAlias = Callable[[], Mapping[str, Any] | None]
"""What the station says of its health: `ready`, `health`, `reasons`; nothing when none answers."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what is waited for.

    Attributes:
        steady_s: it must be well for so long, without a break.
        grace_s: until then it may take so long to become well,
        build_s: and so much longer while it says that it builds an engine.
    """

    steady_s: float = 120.0
    grace_s: float = 120.0
    build_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, for whoever waits.

    Attributes:
        monotonic_s: seconds.
        sleep: waits for some of them.
    """

    monotonic_s: Callable[[], float]
    sleep: Callable[[float], None]


def watch(ask: Ask, patience: Patience, clock: Clock, *, must_be_ready: bool) -> str:
    """Wait until the station has been well for long enough.

    Args:
        ask: its health.
        patience: how long to wait for what.
        clock: time.
        must_be_ready: well means ready; else it means that it answers.

    Returns:
        What is wrong with it; nothing when it has proven itself.
    """
    began_s = clock.monotonic_s()
    well_since_s: float | None = None
    while True:
        answer = ask()
        now_s = clock.monotonic_s()
        if answer is not None and (answer["ready"] or not must_be_ready):
            well_since_s = now_s if well_since_s is None else well_since_s
            if now_s - well_since_s >= patience.steady_s:
                return ""
        else:
            well_since_s = None
            is_building = answer is not None and answer["health"] == "starting"
            limit_s = patience.grace_s + (patience.build_s if is_building else 0.0)
            if now_s - began_s > limit_s:
                return _told(answer)
        clock.sleep(ASK_EVERY_S)


def _told(answer: Mapping[str, Any] | None) -> str:
    if answer is None:
        return "it does not answer"
    return "; ".join(("it does not get ready", *answer["reasons"]))
