"""The routes behind the System tab.

GET api/system/reports/MODEL      how the engine of a model in use was verified
GET api/system/support-bundle     what a person hands on who asks for help
"""

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from appliance.web.access.callers import ADDRESS_KEY
from appliance.web.access.gate import SESSION_KEY
from appliance.web.asgi import texts_of
from appliance.web.context import TabContext
from appliance.web.tabs.system.bundle import SupportBundle


def router(context: TabContext) -> APIRouter:
    """Those of the station. Each handler reads files, so it is not `async`: it has a thread."""
    router = APIRouter()
    bundle = SupportBundle(
        context,
        station_name=context.station_name,
        sidecars=context.sidecars,
        redactor=context.redactor,
    )

    @router.api_route("/reports/{model}", methods=["GET", "HEAD"])
    def engine_report(request: Request, model: str) -> Response:
        """The name is looked up among the models in use; it never becomes a path."""
        in_use = {engine.model for engine in context.reading().engines}
        path = context.report(model) if model in in_use else None
        if path is None:
            texts = texts_of(request.scope)
            return PlainTextResponse(texts("This model has no report."), status_code=404)
        return FileResponse(path, media_type="text/html; charset=utf-8")

    @router.api_route("/support-bundle", methods=["GET"])
    def support_bundle(request: Request) -> Response:
        made = bundle.make()
        user, address = request.scope[SESSION_KEY].user, request.scope[ADDRESS_KEY]
        context.audit.note("export", user=user, address=address, detail=made.name)
        disposition = f'attachment; filename="{made.name}"'
        return Response(
            made.content,
            media_type="application/zip",
            headers={"Content-Disposition": disposition},
        )

    return router
