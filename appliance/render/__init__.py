"""Drawing of predictions onto pictures, for whatever leaves the page: reports now, clips later.

A painter is one module with a constant PAINTER, named as its task. The live view's own drawing is
static/player/tasks/, with the same look.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from appliance import render
from appliance.registry import plugins
from appliance.values import U8


@dataclass(frozen=True, slots=True)
class Painter:
    """What draws a task's predictions.

    Attributes:
        name: the task's.
        paint: draws a prediction into (H, W, 3) uint8 BGR itself, in whose pixels it is, with
            the names of its things.
    """

    name: str
    paint: Callable[[U8, Any, Sequence[str]], None]


@cache
def known() -> Mapping[str, Painter]:
    """Every painter by the name of its task."""
    return plugins(render, "PAINTER", Painter)
