"""The page that stands in for the station while its settings are wrong.

Strangers see it, so it names variables, forms and examples, never a value. Nothing else runs.
"""

from collections.abc import Sequence

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from appliance.settings import Problem
from appliance.texts import Languages
from appliance.web.access.plain import secured_application
from appliance.web.asgi import App, texts_of
from appliance.web.files import Files
from appliance.web.templates import Pages


def problem_application(
    problems: Sequence[Problem], languages: Languages, *, base: str, version: str
) -> App:
    """Answers every page with the list of problems, and every readiness check with no."""
    pages = Pages(base=base, station_name="", version=version)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.mount(f"{base}/static/public", Files("public"))

    @app.api_route(f"{base}/api/health", methods=["GET", "HEAD"])
    async def health() -> Response:
        return JSONResponse({"status": "live"})

    @app.get("/{path:path}")
    async def page(request: Request, path: str) -> Response:
        if path.removeprefix(base.lstrip("/")).strip("/") == "api/ready":
            return JSONResponse({"ready": False, "health": "failed"}, status_code=503)
        text = pages.render("problem.html", texts_of(request.scope), problems=problems)
        return HTMLResponse(text, status_code=503)

    return secured_application(app, languages)
