"""The texts, numbers and times of one language."""

import gettext
import io
import math
from collections.abc import Mapping
from datetime import UTC, datetime

import polib
from markupsafe import Markup, escape

from appliance.texts.sentences import MARK, PLACE, Sentences

ENGLISH = "en"
UNKNOWN = "–"
THIN = "\u2009"
SCRIPT = ".js"  # what is said in one is said by the browser
LARGEST = 1e12  # of a figure that is written out


def marked(text: str) -> str:
    """The text as it is, noted for the catalog; it is said in a language later."""
    return text


MONTHS = (
    marked("Jan"),
    marked("Feb"),
    marked("Mar"),
    marked("Apr"),
    marked("May"),
    marked("Jun"),
    marked("Jul"),
    marked("Aug"),
    marked("Sep"),
    marked("Oct"),
    marked("Nov"),
    marked("Dec"),
)


class Texts:
    """One language.

    Args:
        language: as in `<html lang>`.
        catalog: what stands for the English of the code; an empty one leaves it as it is.
        languages: that the page may be read in: the name of each, in itself, by its code.

    Attributes:
        language: the same.
        languages: the same.
        script: what scripts in the browser need: for each English text the other, and for one that
            counts all its forms.
    """

    def __init__(self, language: str, catalog: polib.POFile, languages: Mapping[str, str]) -> None:
        self.language = language
        self.languages = languages
        self._gettext = (
            gettext.GNUTranslations(io.BytesIO(catalog.to_binary()))
            if len(catalog)
            else gettext.NullTranslations()
        )
        translated = catalog.translated_entries()
        self.script = {entry.msgid: _forms(entry) for entry in translated if _is_script(entry)}
        self.sentence = Sentences(
            {
                entry.msgid: entry.msgstr
                for entry in translated
                if MARK in entry.comment.split() or not PLACE.search(entry.msgid)
            }
        ).say

    def __call__(self, text: str, **values: object) -> str:
        """A text, with values in the place of its {names}."""
        found = self._gettext.gettext(text)
        return found.format(**values) if values else found

    def plural(self, one: str, many: str, count: int, **values: object) -> str:
        """The text for so many, in which {count} is their number."""
        found = self._gettext.ngettext(one, many, count)
        return found.format(count=self.whole(count), **values)

    def html(self, text: str, **values: object) -> Markup:
        """A text for a template: all is escaped but values that are markup."""
        return escape(self._gettext.gettext(text)).format(**values)

    def number(self, value: float | None, decimals: int) -> str:
        """With so many decimals; a dash where it is unknown."""
        if value is None or not math.isfinite(value):
            return UNKNOWN
        whole, _, fraction = f"{value:.{decimals}f}".partition(".")
        return self("{whole}.{fraction}", whole=whole, fraction=fraction) if fraction else whole

    def figure(self, value: float | None) -> str:
        """One decimal below 100, none above; a dash where it is unknown."""
        if value is not None and math.isfinite(value) and abs(value) >= LARGEST:
            return f"{value:.0e}"
        return self.number(value, 0 if value is not None and abs(value) >= 99.95 else 1)

    def whole(self, value: int) -> str:
        """A count, with thin spaces between the thousands."""
        return f"{value:,}".replace(",", THIN)

    def duration(self, seconds: float) -> str:
        """Two units, as "7 h 53 min"."""
        rest = int(seconds)
        parts: list[str] = []
        units = ((self("d"), 86400), (self("h"), 3600), (self("min"), 60), (self("s"), 1))
        for unit, size in units:
            count, rest = divmod(rest, size)
            if count or parts or size == 1:
                parts.append(f"{count} {unit}")
        return " ".join(parts[:2])

    def moment(self, at_s: float, *, exact: bool = False) -> str:
        """Day and time, as "28 Nov 14:05", in the station's time zone; exact to the second."""
        at = datetime.fromtimestamp(at_s, UTC).astimezone()
        day = self("{day} {month}", day=at.day, month=self(MONTHS[at.month - 1]))
        return f"{day} {at:%H:%M:%S}" if exact else f"{day} {at:%H:%M}"


def _is_script(entry: polib.POEntry) -> bool:
    return any(place.endswith(SCRIPT) for place, _ in entry.occurrences)


def _forms(entry: polib.POEntry) -> str | list[str]:
    forms: Mapping[int, str] = entry.msgstr_plural
    return [forms[index] for index in sorted(forms)] if forms else str(entry.msgstr)
