"""Errors of our own routes: JSON with what happened, and what a person can do about it."""

from collections.abc import Awaitable, Callable
from functools import wraps

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from appliance.errors import ApplianceError, EngineError, PictureError, SettingsError, SourceError
from appliance.web.asgi import texts_of


class TooLargeError(PictureError):
    """The body is larger than a picture may be."""


# The first that fits.
STATUS = (
    (TooLargeError, 413),
    (PictureError, 400),
    (SettingsError, 400),
    (SourceError, 504),
    (EngineError, 503),
)

Handler = Callable[[Request], Awaitable[Response]]


def telling(handler: Handler) -> Handler:
    """`handler`, whose errors are answered in words."""

    @wraps(handler)
    async def told(request: Request) -> Response:
        try:
            return await handler(request)
        except ApplianceError as error:
            status = next((value for kind, value in STATUS if isinstance(error, kind)), 500)
            say, message = texts_of(request.scope).sentence, str(error)
            message = say(f"{message[:1].upper()}{message[1:]}.")
            document = {"error": message, "hint": say(error.hint)}
            return JSONResponse(document, status_code=status)

    return told
