"""The files that our pages load: few, and named after their content.

A browser keeps such a file for good and never asks for it again; changed content has another name.
They are made once: of the sources in static/, which are served as well, under their own names, and
of what the tabs bring.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from typing_extensions import override

from appliance.web import tabs
from appliance.web.bundling import joined_modules
from appliance.web.packing import accepts_packed, pack

STATIC = Path(__file__).parent / "static"
NAMED_AFTER_CONTENT = re.compile(r"(public/)?[a-z]+-[0-9a-f]{12}\.(js|css)")
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class MadeFile:
    """One file.

    Attributes:
        place: below /static/, as `page-0123456789ab.js`.
        media_type: for Content-Type.
        content: as it is.
        packed: by gzip.
    """

    place: str
    media_type: str
    content: bytes
    packed: bytes


class Files(StaticFiles):
    """Serves them, and the sources; `folder` of static/ alone where it is given."""

    def __init__(self, folder: str = "") -> None:
        super().__init__(directory=STATIC / folder)
        self._prefix = f"{folder}/" if folder else ""

    @override
    async def get_response(self, path: str, scope: Scope) -> Response:
        file = _by_place().get(f"{self._prefix}{path}")
        if file is None or scope["method"] not in {"GET", "HEAD"}:
            return await super().get_response(path, scope)
        headers = {"Vary": "Accept-Encoding"}
        if not accepts_packed(scope):
            return Response(file.content, media_type=file.media_type, headers=headers)
        headers["Content-Encoding"] = "gzip"
        return Response(file.packed, media_type=file.media_type, headers=headers)


@cache
def made_files() -> Mapping[str, MadeFile]:
    """All of them, by the name under which a template asks: `page.js`."""
    return {name: _made(name, make()) for name, make in _RECIPES.items()}


@cache
def _by_place() -> Mapping[str, MadeFile]:
    return {file.place: file for file in made_files().values()}


def _made(name: str, text: str) -> MadeFile:
    content = text.encode()
    stem, dot, ending = name.partition(".")
    digest = hashlib.sha256(content).hexdigest()[:12]
    return MadeFile(f"{stem}-{digest}{dot}{ending}", _TYPES[dot + ending], content, pack(content))


def _joined(*sources: str) -> str:
    return _text_of(*(STATIC / source for source in sources))


def _text_of(*sources: Path) -> str:
    return "\n".join(source.read_text(encoding="utf-8") for source in sources)


def _page_script() -> str:
    return joined_modules(STATIC / "appliance.js", *tabs.files("script.js"))


def _page_style() -> str:
    shared = _joined(
        "public/tokens.css",
        "shared/note.css",
        "appliance.css",
        "outer/frame.css",
        "outer/bar.css",
        "outer/documents.css",
        "outer/forms.css",
    )
    return f"{shared}\n{_text_of(*tabs.files('style.css'))}"


def _player_script() -> str:
    return joined_modules(STATIC / "player.js")


_RECIPES: Mapping[str, Callable[[], str]] = {
    "public/first.js": partial(_joined, "public/theme.js", "public/language.js", "public/tab.js"),
    "public/login.js": partial(_joined, "public/login.js"),
    "public/login.css": partial(_joined, "public/tokens.css", "public/login.css"),
    "page.js": _page_script,
    "page.css": _page_style,
    "player.js": _player_script,
    "player.css": partial(
        _joined,
        "public/tokens.css",
        "shared/note.css",
        "player.css",
        "player/picture.css",
        "player/all.css",
        "player/one.css",
        "player/kiosk.css",
        "player/sizes.css",
    ),
}
