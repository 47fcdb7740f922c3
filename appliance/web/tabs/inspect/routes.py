"""The routes behind the Inspect tab; a script may call them as well.

    POST api/inspect?model=NAME&confidence=0.5     a picture's bytes in, JSON out
    GET  api/inspect/cameras/KEY                   the camera's next picture, as a JPEG

A picture goes from the request's body into memory, and what was seen in it into the answer;
nothing is written to disk.
"""

import asyncio
import base64
from collections import Counter
from typing import Any

import cv2
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from appliance import tasks
from appliance.errors import PictureError, SettingsError, SourceError
from appliance.pipeline.inspector import ALL_LIMIT, ONE_LIMIT, Inquiry, Inspection, Inspector
from appliance.pipeline.snapshots import Snapshots
from appliance.pipeline.waiting import crowded
from appliance.values import U8
from appliance.web.access.gate import SESSION_KEY
from appliance.web.context import TabContext
from appliance.web.telling import TooLargeError, telling

CAMERA_S = 5.0  # for a camera's next picture
CAMERA_QUALITY = 95
GONE = 499  # nobody is there to read it


class Inspecting:
    """The gate lets operators and admins through, and nobody else.

    Args:
        inspector: looks at pictures.
        snapshots: gives those of cameras.
        models: names of those in use.
    """

    def __init__(self, inspector: Inspector, snapshots: Snapshots, models: frozenset[str]) -> None:
        self.models = models
        self.limits = inspector.limits
        self._inspector = inspector
        self._snapshots = snapshots
        self._under_way: Counter[str] = Counter()  # by person

    def router(self) -> APIRouter:
        """The routes, below the tab's prefix."""
        router = APIRouter()
        router.add_api_route("", telling(self.inspect), methods=["POST"])
        router.add_api_route("/cameras/{key}", telling(self.camera_picture), methods=["GET"])
        return router

    async def inspect(self, request: Request) -> Response:
        """What a model sees in the picture that was sent."""
        model, confidence = _question(request, self.models)
        person = str(request.scope[SESSION_KEY].user)
        # The inspector's limits, from the first byte on: it knows of whole pictures alone.
        if self._under_way[person] >= ONE_LIMIT or self._under_way.total() >= ALL_LIMIT:
            raise crowded()
        self._under_way[person] += 1
        try:
            data = await self._body(request)
            inquiry = self._inspector.ask(data, model, confidence, person)
            found = await _unless_gone(request, inquiry)
        finally:
            self._under_way[person] -= 1
            self._under_way += Counter()  # forgets who has none
        if found is None:
            return Response(status_code=GONE)
        return JSONResponse(document(found, model, confidence))

    async def camera_picture(self, request: Request) -> Response:
        """The next picture of a camera."""
        snapshot = self._snapshots.ask(request.path_params["key"])
        if snapshot is None:
            raise SettingsError("there is no such camera", hint="Reload the page.")
        try:
            async with asyncio.timeout(CAMERA_S):
                picture = await asyncio.wrap_future(snapshot)
        except TimeoutError as error:
            raise SourceError(
                "the camera sends no picture now", hint="Live tells what is wrong with it."
            ) from error
        return Response(await asyncio.to_thread(_encoded, picture), media_type="image/jpeg")

    async def _body(self, request: Request) -> bytes:
        """The picture, refused as soon as it is known to be too large."""
        declared = request.headers.get("content-length", "")
        parts, limits = bytearray(), self.limits()
        try:
            if declared.isdecimal():
                limits.check_bytes(int(declared))
            async for part in request.stream():
                parts += part
                limits.check_bytes(len(parts))
        except PictureError as error:
            raise TooLargeError(str(error), hint=error.hint) from error
        return bytes(parts)


def router(context: TabContext) -> APIRouter:
    """Those of the station."""
    return Inspecting(context.inspector, context.snapshots, context.models).router()


def document(found: Inspection, model: str, confidence: float) -> dict[str, Any]:
    """An inspection as JSON, in pixels of the picture as a person sees it."""
    seen = found.seen
    task = tasks.known()[seen.task]
    return {
        "model": model,
        "engine": f"{seen.report.running} {seen.report.precision}",
        "input_wh": seen.input_wh,
        "picture_wh": found.size_wh,
        "confidence": confidence,
        "task": task.name,
        "form": task.form,
        **task.document(seen.prediction, seen.labels),
        "below_confidence": found.below,
        "inference_ms": round(seen.inference_ms, 1),
        "waited_ms": round(seen.waited_ms, 1),
        "total_ms": round(found.total_ms, 1),
        "picture": "data:image/jpeg;base64," + base64.b64encode(found.jpeg).decode(),
    }


def _question(request: Request, models: frozenset[str]) -> tuple[str, float]:
    model = request.query_params.get("model", "")
    if model not in models:
        known = ", ".join(sorted(models))
        raise SettingsError("no such model is in use", hint=f"In use: {known}.")
    try:
        confidence = float(request.query_params.get("confidence", ""))
    except ValueError:
        confidence = -1.0
    if not 0 <= confidence <= 1:
        raise SettingsError("the confidence is no number of 0..1", hint="Give one such as 0.5.")
    return model, confidence


async def _unless_gone(request: Request, inquiry: Inquiry) -> Inspection | None:
    """The answer; None when whoever asked has gone, and then it is not looked for any more."""
    answer = asyncio.wrap_future(inquiry.answer)
    going = asyncio.ensure_future(_gone(request))
    both: set[asyncio.Future[Any]] = {answer, going}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return await answer if answer.done() else None
    finally:
        going.cancel()
        if not answer.done():
            inquiry.cancel()
            answer.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


def _encoded(picture: U8) -> bytes:
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, CAMERA_QUALITY])
    return jpeg.tobytes()
