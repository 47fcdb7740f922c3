"""The languages there are, and which of them a visitor reads. A language is one file, xx.po."""

from collections.abc import Mapping
from pathlib import Path

import polib

from appliance.texts.spoken import ENGLISH, Texts, marked

FOLDER = Path(__file__).parent
LANGUAGES = (ENGLISH, *sorted(path.stem for path in FOLDER.glob("*.po")))
AUTO = "auto"
OWN_NAME = marked("English")  # stands for the name of each language, in itself
LONGEST_WISH = 200  # characters of a header that a browser sends; nobody reads more languages


class Languages:
    """Every language's texts, read once.

    Args:
        default: the station's language, or "auto": what the visitor's browser asks for.
    """

    def __init__(self, default: str = AUTO) -> None:
        self._default = default
        catalogs = {language: read(language) for language in LANGUAGES}
        names = {language: name_of(catalog) for language, catalog in catalogs.items()}
        self._texts = {
            language: Texts(language, catalog, names) for language, catalog in catalogs.items()
        }

    def all(self) -> Mapping[str, Texts]:
        """By language, English first."""
        return self._texts

    def choose(self, *, chosen: str, accepted: str) -> Texts:
        """The texts for one visitor.

        Args:
            chosen: the language that they have chosen on the page; may be empty, or none of ours.
            accepted: as their browser's Accept-Language says it.
        """
        wishes = (chosen, self._default) if self._default != AUTO else (chosen, *_wishes(accepted))
        found = next((wish for wish in wishes if wish in self._texts), ENGLISH)
        return self._texts[found]


def read(language: str) -> polib.POFile:
    """The catalog of one language; English has none."""
    if language == ENGLISH:
        return polib.POFile()
    return polib.pofile(str(FOLDER / f"{language}.po"), encoding="utf-8")


def name_of(catalog: polib.POFile) -> str:
    """What the catalog's language calls itself."""
    entry = catalog.find(OWN_NAME)
    return str(entry.msgstr if entry is not None and entry.msgstr else OWN_NAME)


def _wishes(accepted: str) -> list[str]:
    """Languages without their regions, the most wanted first; what is malformed counts least."""
    weighed: list[tuple[float, str]] = []
    for part in accepted[:LONGEST_WISH].split(","):
        tag, _, weight = part.partition(";q=")
        weighed.append((_weight(weight), tag.strip().partition("-")[0].lower()))
    return [tag for weight, tag in sorted(weighed, key=lambda pair: -pair[0]) if weight > 0]


def _weight(text: str) -> float:
    try:
        return float(text or 1)
    except ValueError:
        return 0.0
