"""Brings the catalogs up to date with the code: `make texts`."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import polib

from appliance.texts.languages import FOLDER

# By these a text is marked; pyproject.toml says where they are looked for.
KEYWORDS = ("_", "t", "texts", "self", "marked", "plural:1,2")
HEADER = ("Language", "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Plural-Forms")
WIDTH = 100


def template(root: Path) -> polib.POFile:
    """What the code below `root` says now, found by Babel, which only developers have.

    Raises:
        CalledProcessError: it cannot read the code.
    """
    with TemporaryDirectory() as folder:
        found = Path(folder) / "texts.pot"
        babel = (sys.executable, "-m", "babel.messages.frontend", "--quiet", "extract")
        options = ("--mapping-file=pyproject.toml", "--add-location=file", f"--output={found}")
        marks = ("--no-default-keywords", *(f"--keyword={keyword}" for keyword in KEYWORDS))
        command = (*babel, *options, *marks, ".")
        subprocess.run(command, cwd=root, check=True)  # noqa: S603 - nothing in it is anybody's
        return polib.pofile(str(found), encoding="utf-8")


def update(catalog: polib.POFile, found: polib.POFile) -> None:
    """Take in what the code says now, untranslated; what it says no longer goes.

    Only lines of the header that mean something stay: no date and no name, which change alone.
    """
    catalog.merge(found)
    kept = [entry for entry in catalog if not entry.obsolete]
    del catalog[:]
    catalog.extend(sorted(kept, key=lambda entry: str(entry.msgid)))
    catalog.wrapwidth = WIDTH
    catalog.metadata = {name: catalog.metadata[name] for name in HEADER}


def update_all(root: Path) -> None:
    """Every catalog, by the code below `root`."""
    found = template(root)
    for path in sorted(FOLDER.glob("*.po")):
        catalog = polib.pofile(str(path), encoding="utf-8")
        update(catalog, found)
        catalog.save()
