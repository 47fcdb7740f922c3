"""The support bundle: one zip with what the station knows of itself, and no secret.

    about.json      time, versions, Python, packages
    station.json    the reading: health, cameras, engines
    settings.json   what is in effect and where it came from, as the page shows it
    hardware.json   disk, memory, load, temperatures, GPUs
    history.csv     the last hour of each camera
    log.txt         the kept log lines, with tracebacks
    engines/*.json  the sidecars of the engines in the cache: what each was made from, and its proof

It is made in memory when it is asked for. Every text goes through the redactor as a whole, after
it was put together: a document that is no longer JSON is better than one that tells a password.
"""

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions
from math import isnan

from pydantic_core import to_json

from appliance.pipeline.history import Hour
from appliance.redaction import Redactor
from appliance.web.context import TabContext

LONGEST_MEMBER = 1 << 20  # characters
CUT = "(the beginning was cut off)\n"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A file to download."""

    name: str
    content: bytes


class SupportBundle:
    """Makes bundles.

    Args:
        context: what the System page shows.
        station_name: for the file's name; may be empty.
        sidecars: texts of the engines' sidecars, by a name for each.
        redactor: knows the station's secrets.
    """

    def __init__(
        self,
        context: TabContext,
        *,
        station_name: str,
        sidecars: Callable[[], Mapping[str, str]],
        redactor: Redactor,
    ) -> None:
        self._context = context
        self._station_name = station_name
        self._sidecars = sidecars
        self._redactor = redactor

    def make(self) -> Bundle:
        """A bundle of this moment; reads files and takes a good part of a second."""
        now_s = self._context.reading().now_s
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in self._members(now_s):
                archive.writestr(name, self._fit(text))
        # The station's name is a person's text, and a person may put anything into it.
        named = re.sub(r"[^a-z0-9]+", "-", self._redactor.redact(self._station_name).lower())
        parts = ("support", named.strip("-"), f"{_at(now_s):%Y%m%dT%H%M%SZ}")
        return Bundle("-".join(filter(None, parts)) + ".zip", content.getvalue())

    def _members(self, now_s: float) -> Iterator[tuple[str, str]]:
        context = self._context
        packages = sorted((found.name.lower(), found.version) for found in distributions())
        about = {
            "made_at": _at(now_s).isoformat(timespec="seconds"),
            "station": self._station_name,
            "versions": dict(context.versions()),
            "packages": dict(packages),
        }
        yield "about.json", _json(about)
        yield "station.json", _json(context.reading())
        yield "settings.json", _json(context.settings)
        yield "hardware.json", _json(context.hardware())
        yield "history.csv", _history(context.history(), now_s)
        yield "log.txt", "".join(f"{line.as_text()}\n" for line in context.ring.lines())
        for name, text in self._sidecars().items():
            yield f"engines/{name}.json", text

    def _fit(self, text: str) -> str:
        """Without secrets, and then no longer than it may be: half a secret would not be found."""
        text = self._redactor.redact(text)
        return text if len(text) <= LONGEST_MEMBER else CUT + text[-LONGEST_MEMBER:]


def _at(time_s: float) -> datetime:
    return datetime.fromtimestamp(time_s, UTC)


def _json(document: object) -> str:
    """Any value of ours; what has no form in JSON as its text, for a bundle is always made."""
    return to_json(document, indent=2, fallback=str).decode() + "\n"


def _history(hour: Hour, now_s: float) -> str:
    """A row for each camera and step; unknown values are empty."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["time", "camera", "fps", "age_ms", "inference_ms"])
    for camera, series in hour.series.items():
        columns = (series.fps, series.age_ms, series.inference_ms)
        for ago_s, *values in zip(hour.ago_s.tolist(), *(c.tolist() for c in columns), strict=True):
            at = _at(now_s - ago_s).isoformat(timespec="seconds")
            table.writerow([at, camera, *("" if isnan(v) else f"{v:.3f}" for v in values)])
    return text.getvalue()
