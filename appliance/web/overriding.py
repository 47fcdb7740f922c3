"""The routes behind overrides of what counts as seen.

POST   api/override      {"confidence": 0.45, "classes": "person=0.5, car"}
DELETE api/override      back to the settings
"""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from appliance.errors import SettingsError
from appliance.pipeline.criteria import Criteria
from appliance.pipeline.overrides import Overrides
from appliance.settings.forms import ClassMap
from appliance.stores import Audit
from appliance.web.access.callers import ADDRESS_KEY
from appliance.web.access.gate import SESSION_KEY
from appliance.web.telling import telling

LONGEST_CLASSES = 4000  # letters


def _is_short(text: object) -> object:
    if not isinstance(text, str) or len(text) > LONGEST_CLASSES:
        raise ValueError(f"is no text of at most {LONGEST_CLASSES} letters")
    return text


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    confidence: float = Field(ge=0, le=1, allow_inf_nan=False)
    classes: Annotated[ClassMap, BeforeValidator(_is_short)] = {}


class Overriding:
    """The gate lets operators and admins through, and nobody else.

    Args:
        overrides: what acts in the place of the settings.
        audit: gets each that is set, and each that is ended.
    """

    def __init__(self, overrides: Overrides, audit: Audit) -> None:
        self._overrides = overrides
        self._audit = audit

    def router(self) -> APIRouter:
        """The routes, below the base path."""
        router = APIRouter()
        router.add_api_route("/api/override", telling(self.set), methods=["POST"])
        router.add_api_route("/api/override", telling(self.end), methods=["DELETE"])
        return router

    async def set(self, request: Request) -> Response:
        """Let what was sent act at once; the lines that make it last."""
        wanted = _wanted(await request.body())
        user = str(request.scope[SESSION_KEY].user)
        before, reading = self._overrides.reading(), self._overrides.set(wanted, user)
        lines = reading.lines if reading is not None else ()
        if lines:
            self._tell("override_set", request, "; ".join(lines))
        elif before is not None:
            self._tell("override_cleared", request)
        return JSONResponse({"lines": lines})

    async def end(self, request: Request) -> Response:
        """Back to the settings."""
        if self._overrides.end():
            self._tell("override_cleared", request)
        return JSONResponse({"lines": []})

    def _tell(self, what: str, request: Request, detail: str = "") -> None:
        user, address = str(request.scope[SESSION_KEY].user), request.scope[ADDRESS_KEY]
        self._audit.note(what, user=user, address=address, detail=detail)


def _wanted(body: bytes) -> Criteria:
    """What a person wants to count as seen.

    Raises:
        SettingsError: it is not as it must be.
    """
    try:
        said = _Body.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = str(first["loc"][0]) if first["loc"] else "the request"
        raise SettingsError(
            f"{where}: {first['msg'].removeprefix('Value error, ')}",
            hint="Confidence is 0..1; classes are names, as person=0.5, car; none means all.",
        ) from error
    return Criteria(said.confidence, said.classes)
