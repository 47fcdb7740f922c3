"""The tabs of the Gradio page: each is one module with a constant TAB.

A tab is shown by role, and its handlers ask again: what is hidden on a page can still be called.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import gradio as gr

from appliance.logs import Ring
from appliance.readings import StationReading
from appliance.settings import Role, Row
from appliance.web.templates import Pages


@dataclass(frozen=True, slots=True)
class TabContext:
    """What tabs may show.

    Attributes:
        base: the base path.
        pages: renders our templates.
        reading: the station now.
        roles: of every user, by name.
        settings: what is in effect, fit to be shown.
        ring: the last log lines.
        versions: of the appliance and the libraries that matter, by name.
        state_folder: whose disk is shown.
    """

    base: str
    pages: Pages
    reading: Callable[[], StationReading]
    roles: Mapping[str, Role]
    settings: Sequence[Row]
    ring: Ring
    versions: Mapping[str, str]
    state_folder: str

    def may(self, request: gr.Request, role: Role) -> bool:
        """Whether the person behind an event has at least this role."""
        order = list(Role)
        held = self.roles.get(request.username or "")
        return held is not None and order.index(held) >= order.index(role)


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab.

    Attributes:
        title: as on the page.
        order: from left to right.
        role: the least role that sees it.
        build: makes the tab's components, inside its gr.Tab of the page.
    """

    title: str
    order: int
    role: Role
    build: Callable[[TabContext, gr.Blocks], None]
