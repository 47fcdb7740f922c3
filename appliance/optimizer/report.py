"""What a person can look at: every precision that was tried, its figures, and pictures.

Two files for each engine: report.html, whole in itself, to be read offline and printed; and
report.json, the same figures for programs.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, zip_longest
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from appliance.optimizer.agreement import MARGIN, alone
from appliance.optimizer.exhibits import LIMIT, Exhibit
from appliance.optimizer.sidecar import REPORT, REPORT_FIGURES
from appliance.optimizer.verdict import MIN_REFERENCES
from appliance.optimizer.verification import (
    CONFIDENCE,
    MAX_SHIFT_PX,
    Trial,
)
from appliance.predictions import Instances
from appliance.render.boxes import draw_boxes
from appliance.values import U8

PAGES = Path(__file__).parent / "pages"
PICTURES_BYTES = 700_000  # of JPEG in one report; base64 makes a third more of it
QUALITIES = (80, 60, 40)  # the first with which they fit


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value.

    Attributes:
        title: what was measured.
        value: with its unit.
        limit: what is asked for, as "≤ 0.25 px"; empty where nothing is.
        is_fine: whether the value is within the limit.
    """

    title: str
    value: str
    limit: str = ""
    is_fine: bool = True


@dataclass(frozen=True, slots=True)
class Side:
    """A frame with what one side saw.

    Attributes:
        title: whose view it is, with a count.
        uri: the picture, as a data URI.
    """

    title: str
    uri: str


def write_report(
    folder: Path, facts: Mapping[str, str], trials: Sequence[Trial], labels: Sequence[str]
) -> None:
    """Write report.html and report.json into `folder`.

    Args:
        folder: where they go.
        facts: what was compared, by title.
        trials: the precisions in the order in which they were tried; the last one is taken,
            unless it is refused.
        labels: class names in the order of ids; may be empty.

    Raises:
        OSError: the folder cannot be written.
    """
    tried = [
        {**trial.verification.as_dict(), "limits": trial.limits and asdict(trial.limits)}
        for trial in trials
    ]
    document = {"facts": dict(facts), "trials": tried}
    figures = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / REPORT_FIGURES).write_text(figures, encoding="utf-8")
    pages = Environment(
        loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = pages.get_template(REPORT).render(
        facts=facts,
        confidence=CONFIDENCE,
        margin=MARGIN,
        outcome=trials[-1].verification,
        rungs=[(trial.verification, list(_figures(trial))) for trial in trials],
        pictures=_pictures(trials, labels),
    )
    (folder / REPORT).write_text(page, encoding="utf-8")


def _figures(trial: Trial) -> Iterator[Figure]:
    """What was measured, beside what is asked for; nothing where nothing was compared."""
    found, limits = trial.verification, trial.limits
    if limits is None:
        return
    yield _at_most("Candidates: edges", found.row_box_px, limits.box_px, 2, " px")
    yield _at_most("Candidates: score", found.row_score, limits.score, 3)
    yield _at_most("Candidates: all to one side", found.row_shift_px, MAX_SHIFT_PX, 2, " px")
    yield _at_least("Objects of the original", found.references, MIN_REFERENCES, 0)
    if not found.references:
        return
    yield _at_least("Objects: F1 of the engine's", found.f1, limits.f1, 3)
    yield _at_most("Objects: all to one side", found.shift_px, MAX_SHIFT_PX, 2, " px")
    yield Figure("Objects: edges, 99 of 100 within", f"{found.box_px_p99:.2f} px")
    yield Figure("Objects: score, 99 of 100 within", f"{found.score_p99:.3f}")


def _at_most(title: str, value: float, limit: float, digits: int, unit: str = "") -> Figure:
    return Figure(title, f"{value:.{digits}f}{unit}", f"≤ {limit:g}{unit}", value <= limit)


def _at_least(title: str, value: float, limit: float, digits: int) -> Figure:
    return Figure(title, f"{value:.{digits}f}", f"≥ {limit:g}", value >= limit)


def _pictures(trials: Sequence[Trial], labels: Sequence[str]) -> list[tuple[Side, Side]]:
    """Pairs of pictures: of each trial in turn the most telling, the last trial first."""
    turns = zip_longest(*(_shown(trial, labels) for trial in reversed(trials)))
    drawn = list(islice((pair for turn in turns for pair in turn if pair is not None), LIMIT))
    for quality in QUALITIES:
        pairs = [
            tuple((title, _jpeg(picture, quality)) for title, picture in pair) for pair in drawn
        ]
        if sum(len(jpeg) for pair in pairs for _, jpeg in pair) <= PICTURES_BYTES:
            break
    return [(Side(*_with_uri(left)), Side(*_with_uri(right))) for left, right in pairs]


def _shown(trial: Trial, labels: Sequence[str]) -> Iterator[tuple[tuple[str, U8], tuple[str, U8]]]:
    """Each exhibit of a trial drawn twice, with titles."""
    precision = trial.verification.precision
    for exhibit in trial.exhibits:
        missed, invented = alone(exhibit.expected, exhibit.seen, CONFIDENCE)
        yield (
            (
                _title("Original", exhibit.expected, missed, "not seen by the engine"),
                _drawn(exhibit, exhibit.expected, missed, labels),
            ),
            (
                _title(f"Engine, {precision}", exhibit.seen, invented, "not in the original"),
                _drawn(exhibit, exhibit.seen, invented, labels),
            ),
        )


def _title(whose: str, found: Instances, lonely: NDArray[np.bool_], word: str) -> str:
    count = int(lonely.sum())
    objects = "1 object" if len(found) == 1 else f"{len(found)} objects"
    return f"{whose}: {objects}" + (f", {count} {word}" if count else "")


def _drawn(
    exhibit: Exhibit, found: Instances, lonely: NDArray[np.bool_], labels: Sequence[str]
) -> U8:
    picture = exhibit.frame.copy()
    draw_boxes(picture, found, found.names(labels), alone=lonely)
    return picture


def _jpeg(picture: U8, quality: int) -> bytes:
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _with_uri(side: tuple[str, bytes]) -> tuple[str, str]:
    title, jpeg = side
    return title, f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
