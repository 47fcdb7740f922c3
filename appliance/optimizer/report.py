"""What a person can look at: every precision that was tried, its figures, and pictures.

Two files for each engine: report.html, whole in itself, to be read offline and printed; and
report.json, the same figures for programs.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import cv2
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from appliance.optimizer.exhibits import LIMIT
from appliance.optimizer.measures import Measure
from appliance.optimizer.sidecar import REPORT, REPORT_FIGURES
from appliance.optimizer.verification import Trial
from appliance.values import U8

PAGES = Path(__file__).parent / "pages"
PICTURES_BYTES = 700_000  # of JPEG in one report; base64 makes a third more of it
QUALITIES = (80, 60, 40)  # the first with which they fit


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
    folder: Path,
    measure: Measure[Any],
    facts: Mapping[str, str],
    trials: Sequence[Trial],
    labels: Sequence[str],
) -> None:
    """Write report.html and report.json into `folder`.

    Args:
        folder: where they go.
        measure: what they were compared by.
        facts: what was compared, by title.
        trials: the precisions in the order in which they were tried; the last one is taken,
            unless it is refused.
        labels: class names in the order of ids; may be empty.

    Raises:
        OSError: the folder cannot be written.
    """
    tried = [
        {**trial.verification.as_dict(), "limits": trial.limits and dict(trial.limits)}
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
        measure=measure,
        outcome=trials[-1].verification,
        rungs=[trial.verification for trial in trials],
        pictures=_pictures(trials, measure, labels),
    )
    (folder / REPORT).write_text(page, encoding="utf-8")


def _pictures(
    trials: Sequence[Trial], measure: Measure[Any], labels: Sequence[str]
) -> list[tuple[Side, Side]]:
    """Pairs of pictures: of each trial in turn the most telling, the last trial first."""
    turns = zip_longest(*(_shown(trial, measure, labels) for trial in reversed(trials)))
    drawn = list(islice((pair for turn in turns for pair in turn if pair is not None), LIMIT))
    for quality in QUALITIES:
        pairs = [
            tuple((title, _jpeg(picture, quality)) for title, picture in pair) for pair in drawn
        ]
        if sum(len(jpeg) for pair in pairs for _, jpeg in pair) <= PICTURES_BYTES:
            break
    return [(Side(*_with_uri(left)), Side(*_with_uri(right))) for left, right in pairs]


def _shown(
    trial: Trial, measure: Measure[Any], labels: Sequence[str]
) -> Iterator[tuple[tuple[str, U8], tuple[str, U8]]]:
    """Each exhibit of a trial drawn twice, with titles."""
    for exhibit in trial.exhibits:
        original, engine = measure.views(exhibit, labels)
        yield (
            (f"Original: {original.caption}", original.picture),
            (f"Engine, {trial.verification.precision}: {engine.caption}", engine.picture),
        )


def _jpeg(picture: U8, quality: int) -> bytes:
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _with_uri(side: tuple[str, bytes]) -> tuple[str, str]:
    title, jpeg = side
    return title, f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
