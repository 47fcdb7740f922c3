"""Plots of the last hour as SVG text: no script, in the page's own colors.

Everything is placed in percent of the drawing, so that it fills whatever room it gets while its
letters stay as large as the page's. Lines are told apart by their dashes, then by a paler grey,
and by a name at their end; grey is normal, so no hue says anything here.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

import numpy as np

from appliance.texts import Texts
from appliance.values import F32

DASHES = ("", "7 3", "2 3", "8 3 2 3", "12 5", "5 2 1 2")
MOST_LABELS = len(DASHES)  # more names beside one plot could not be read; the table has them all
LONGEST_LABEL = 11
TICK_S = 900
TOP, FLOOR = 5.0, 87.0  # of the drawing's height, percent: the plot's upper and lower edge
LEFT, RIGHT = 9.0, 80.0  # of its width: where the plot begins, and where names do
LABEL_GAP = 9.0  # between two names, percent of the height
SIZE = 1000  # the plot's own coordinates run from 0 to this
LARGEST = 1e12  # far beyond everything that is plotted; keeps the scale's arithmetic finite
DECIMALS = 3  # of the steps of a scale, at most


@dataclass(frozen=True, slots=True)
class Line:
    """One camera's values.

    Attributes:
        name: for people.
        values: (N,) float32, oldest first, NaN where unknown.
    """

    name: str
    values: F32


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is shown, by the wall clock.

    Attributes:
        now_s: its right edge.
        span_s: how far it reaches back.
    """

    now_s: float
    span_s: float


@dataclass(frozen=True, slots=True)
class Row:
    """One line in figures, for the table beside the plot.

    Attributes:
        name: the whole name.
        style: of its stroke, as in the plot: attributes, markup.
        last: the newest value; a dash where it is unknown, as are the others.
        lowest: of the whole time.
        highest: of the whole time.
    """

    name: str
    style: str
    last: str
    lowest: str
    highest: str


def plot(title: str, lines: Sequence[Line], ago_s: F32, window: Window, texts: Texts) -> str:
    """One plot as an SVG element, with a sentence for those who do not see it.

    Args:
        title: what is plotted, with its unit.
        lines: one for each camera.
        ago_s: (N,) float32, how long before now each value was taken.
        window: the time that is shown.
        texts: of the language that it is in.
    """
    step, top = _scale(lines)
    named = 1 < len(lines) <= MOST_LABELS
    right = RIGHT if named else 100.0
    across = np.rint((1 - np.clip(ago_s / window.span_s, 0, 1)) * SIZE).astype(int).tolist()
    parts = [
        f'<svg class="plot" role="img" aria-label="{escape(sentence(title, lines, texts))}">',
        *_grid(step, top, right, texts),
        *_times(window, right),
        f'<svg x="{LEFT}%" y="{TOP}%" width="{right - LEFT}%" height="{FLOOR - TOP}%"'
        f' viewBox="0 0 {SIZE} {SIZE}" preserveAspectRatio="none">',
        *(_path(line, index, across, top) for index, line in enumerate(lines)),
        "</svg>",
        *(_names(lines, top) if named else ()),
        "</svg>",
    ]
    return "".join(parts)


def rows(lines: Sequence[Line], texts: Texts) -> list[Row]:
    """The lines in figures."""
    return [_row(line, index, texts) for index, line in enumerate(lines)]


def sentence(title: str, lines: Sequence[Line], texts: Texts) -> str:
    """The plot in one sentence."""
    known = [values for line in lines if len(values := _known(line))]
    if not known:
        return texts("{title}, last hour: nothing is known.", title=title)
    return texts.plural(
        "{title}, last hour, {known} of {count} camera: from {lowest} to {highest}.",
        "{title}, last hour, {known} of {count} cameras: from {lowest} to {highest}.",
        len(lines),
        title=title,
        known=len(known),
        lowest=texts.figure(min(float(values.min()) for values in known)),
        highest=texts.figure(max(float(values.max()) for values in known)),
    )


def time_of_day(at_s: float, pattern: str = "%H:%M") -> str:
    """Of a wall clock's seconds, in the station's time zone (TZ)."""
    return datetime.fromtimestamp(at_s, UTC).astimezone().strftime(pattern)


def _known(line: Line) -> F32:
    return line.values[np.isfinite(line.values)]


def _row(line: Line, index: int, texts: Texts) -> Row:
    known = _known(line)
    last = float(line.values[-1]) if len(line.values) else None
    lowest, highest = (float(known.min()), float(known.max())) if len(known) else (None, None)
    figures = (texts.figure(value) for value in (last, lowest, highest))
    return Row(line.name, _style(index), *figures)


def _style(index: int) -> str:
    turn, which = divmod(index, len(DASHES))
    dash = f' stroke-dasharray="{DASHES[which]}"' if DASHES[which] else ""
    return dash + (' class="pale"' if turn % 2 else "")


def _scale(lines: Sequence[Line]) -> tuple[float, float]:
    """The step between two grid lines, 1, 2 or 5 of some power of ten, and the plot's top."""
    highest = max((float(known.max()) for line in lines if len(known := _known(line))), default=0)
    highest = min(max(highest, 1.0), LARGEST)
    power = 10.0 ** math.floor(math.log10(highest / 2))
    step = next(factor * power for factor in (1, 2, 5, 10) if highest / (factor * power) <= 3)
    return step, step * math.ceil(highest / step)


def _down(value: float, top: float) -> float:
    """From a value to percent of the drawing's height; what is out of range stays at the edge."""
    return TOP + (1 - min(max(value / top, 0.0), 1.0)) * (FLOOR - TOP)


def _grid(step: float, top: float, right: float, texts: Texts) -> Iterator[str]:
    decimals = max(0, min(DECIMALS, -math.floor(math.log10(step))))
    for index in range(round(top / step) + 1):
        y = f"{_down(index * step, top):.1f}%"
        yield f'<line class="grid" x1="{LEFT}%" x2="{right}%" y1="{y}" y2="{y}"></line>'
        value = round(index * step, decimals)
        label = texts.number(value, 0 if value.is_integer() else decimals)
        yield f'<text x="{LEFT - 2}%" y="{y}" dy="0.35em" text-anchor="end">{label}</text>'


def _times(window: Window, right: float) -> Iterator[str]:
    """Quarters of an hour."""
    begin_s = window.now_s - window.span_s
    tick_s = math.ceil(begin_s / TICK_S) * TICK_S
    while tick_s <= window.now_s:
        share = (tick_s - begin_s) / window.span_s
        # At an edge the text stands inside of it.
        anchor = "start" if share < 0.06 else "end" if share > 0.94 else "middle"
        x, label = f"{LEFT + share * (right - LEFT):.1f}%", time_of_day(tick_s)
        yield f'<text x="{x}" y="{FLOOR}%" dy="1.3em" text-anchor="{anchor}">{label}</text>'
        tick_s += TICK_S


def _path(line: Line, index: int, across: Sequence[int], top: float) -> str:
    """The line; unknown values leave gaps, and one that stands alone is a dot."""
    known = np.isfinite(line.values)
    begins = known & ~np.concatenate(([False], known[:-1]))
    down = np.rint((1 - np.clip(np.where(known, line.values, 0) / top, 0, 1)) * SIZE)
    steps = [
        f"M{x} {y}h0" if begins_here else f"L{x} {y}"
        for x, y, is_known, begins_here in zip(
            across, down.astype(int).tolist(), known.tolist(), begins.tolist(), strict=True
        )
        if is_known
    ]
    return f'<path d="{"".join(steps)}"{_style(index)}></path>'


def _names(lines: Sequence[Line], top: float) -> Iterator[str]:
    """Each line's name beside its last known value, pushed apart where they would overlap."""
    known = [(line.name, values) for line in lines if len(values := _known(line))]
    ends = sorted((_down(float(values[-1]), top), name) for name, values in known)
    heights = [height for height, _ in ends]
    limit = FLOOR
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], limit)
        limit = heights[index] - LABEL_GAP
    limit = TOP
    for index, height in enumerate(heights):
        heights[index] = max(height, limit)
        limit = heights[index] + LABEL_GAP
    for height, (_, name) in zip(heights, ends, strict=True):
        short = name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1]}…"
        place = f'x="{RIGHT + 2}%" y="{height:.1f}%" dy="0.35em"'
        yield f'<text class="name" {place}>{escape(short)}</text>'
