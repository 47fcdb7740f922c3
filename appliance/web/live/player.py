"""The player, a page of its own that the station's page frames: every camera's newest picture."""

from collections.abc import Mapping

from fastapi import APIRouter, Request
from starlette.responses import Response

from appliance.web.access.gate import SESSION_KEY
from appliance.web.asgi import texts_of
from appliance.web.packing import packed_page
from appliance.web.tab import Tab
from appliance.web.templates import Pages


def player_routes(pages: Pages, tabs: Mapping[str, Tab]) -> APIRouter:
    """The page below the base path; its list of keys names the tabs that a person's role sees."""
    router = APIRouter()

    @router.api_route("/player", methods=["GET", "HEAD"])
    async def show_player(request: Request) -> Response:
        texts, role = texts_of(request.scope), request.scope[SESSION_KEY].role
        shortcuts = [
            {"key": tab.letter, "title": texts(tab.title)}
            for tab in tabs.values()
            if tab.letter and role.covers(tab.role)
        ]
        text = pages.render("player.html", texts, places=(), shortcuts=shortcuts)
        return packed_page(request.scope, text)

    return router
