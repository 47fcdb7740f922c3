"""What a tab of the page is, and which there are: each is a folder of `web/tabs/`.

    __init__.py    TAB: title, order, role, shortcut, routes with their rules; loads no Gradio
    page.py        build(context): the tab's components, where Gradio has a part in it
    beside.html    what stands beside Gradio's part, there before Gradio is
    chips.html     what the bar at the top says of it
    *.html         templates, named with the folder: `system/log.html`
    script.js      joined into the page's script, with all that it imports
    style.css      joined into the page's style

The folder's name is the tab's key. Its routes lie below /api/KEY. What `build` writes stands in the
page of everybody who is signed in; what only some may read is for a handler to bring, which runs
for the tab's role alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi import APIRouter

from appliance.registry import plugins
from appliance.settings import Role
from appliance.web import tabs
from appliance.web.access.routes import RULES, Rule, below
from appliance.web.context import TabContext


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab.

    Attributes:
        title: as on the page, noted for the catalog.
        order: from left to right.
        role: the least role that sees it, and that may call what its components do.
        letter: opens it after "G"; none opens it by hand alone.
        rules: of its routes; their patterns name what follows the tab's prefix.
        router: makes them, with paths that follow the prefix. None answers without a rule.
    """

    title: str
    order: int
    role: Role
    letter: str = ""
    rules: tuple[Rule, ...] = ()
    router: Callable[[TabContext], APIRouter] | None = None


def known_tabs() -> dict[str, Tab]:
    """All of them by key, from left to right."""
    found = plugins(tabs, "TAB", Tab)
    return dict(sorted(found.items(), key=lambda item: item[1].order))


def prefix_of(key: str) -> str:
    """Below which a tab's routes lie."""
    return f"/api/{key}"


def every_rule() -> tuple[Rule, ...]:
    """The rules of all routes there are; those of tabs come last, so they change no other."""
    found = known_tabs().items()
    own = (below(prefix_of(key), tab.rules, least=tab.role) for key, tab in found)
    return (*RULES, *(each for rules in own for each in rules))


def letters(known: Mapping[str, Tab]) -> dict[str, str]:
    """The tabs' keys, by the letters that open them."""
    return {tab.letter.lower(): key for key, tab in known.items() if tab.letter}
