"""Single pictures that people ask about: read, shown to a model behind the cameras, drawn.

One thread, one picture at a time: five people at once take turns, and the memory that one large
picture needs is all that is ever needed.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from functools import partial

import cv2
import numpy as np
from loguru import logger
from typing_extensions import override

from appliance.errors import ApplianceError, EngineError, PictureError
from appliance.pictures import Limits, read_picture
from appliance.pipeline.asked import Inspected, RulesOf
from appliance.pipeline.part import Part
from appliance.pipeline.served import ServedModel
from appliance.render.boxes import draw_boxes
from appliance.tasks import Rules
from appliance.values import U8, Detections

WAITING_LIMIT = 5  # beside the one at hand
TIME_LIMIT_S = 20.0  # for the engine, cameras before it included
FLOOR = 0.05  # what scores less is no candidate that a person wants counted
SHOWN_SIDE = 1920  # pixels of the drawn picture, at most: it is for a page
QUALITY = 90

Inspect = Callable[[str, U8, RulesOf], Future[Inspected]]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was seen in one picture.

    Attributes:
        seen: by the model, without what scores less than was asked for.
        names: of the class of each detection.
        size_wh: of the picture as a person sees it, pixels; boxes are in these.
        below: how many more score at least FLOOR.
        total_ms: from the reading of the file to the drawn picture.
        jpeg: the picture with its boxes, at most SHOWN_SIDE wide and high.
    """

    seen: Inspected
    names: tuple[str, ...]
    size_wh: tuple[int, int]
    below: int
    total_ms: float
    jpeg: bytes


@dataclass(slots=True, eq=False)
class Inquiry:
    """A picture with its question, and the answer to come."""

    data: bytes
    model: str
    confidence: float
    answer: Future[Inspection] = field(default_factory=Future)
    engines: Future[Inspected] | None = None

    def cancel(self) -> None:
        """Whoever asked has gone; what has not begun does not begin."""
        self.answer.cancel()
        if self.engines is not None:
            self.engines.cancel()


class Inspector(Part):
    """Answers one inquiry after the other.

    Args:
        inspect: hands a picture to the loop.
        limits: of the pictures, as they are now.
    """

    def __init__(self, inspect: Inspect, *, limits: Callable[[], Limits]) -> None:
        super().__init__("inspector")
        self.limits = limits
        self._inspect = inspect
        self._changed = threading.Condition()
        self._waiting: deque[Inquiry] = deque()
        self._at_hand = 0

    @override
    def stop(self) -> None:
        """End after the picture at hand; idempotent."""
        with self._changed:
            super().stop()
            for inquiry in self._waiting:
                inquiry.answer.cancel()
            self._waiting.clear()
            self._changed.notify_all()

    def ask(self, data: bytes, model: str, confidence: float) -> Inquiry:
        """Have a picture looked at.

        Args:
            data: the file's bytes.
            model: the name of one in use.
            confidence: score from which a detection counts.

        Returns:
            The inquiry. Its answer may be an ApplianceError: PictureError where it is the
            picture's fault.

        Raises:
            EngineError: too many wait already.
        """
        inquiry = Inquiry(data, model, confidence)
        with self._changed:
            if self._stop.is_set() or len(self._waiting) + self._at_hand > WAITING_LIMIT:
                raise EngineError("too many pictures wait already", hint="Try again soon.")
            self._waiting.append(inquiry)
            self._changed.notify_all()
        return inquiry

    @override
    def _run(self) -> None:
        while (inquiry := self._next()) is not None:
            answer = inquiry.answer
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                answer.set_result(self._look(inquiry))
            except CancelledError:
                answer.set_exception(EngineError("nobody waits for this picture any more"))
            except ApplianceError as error:
                answer.set_exception(error)
            except Exception as error:  # noqa: BLE001 - top of the thread: told, not swallowed
                logger.exception("inspection: unexpected error")
                told = f"the picture cannot be inspected: {type(error).__name__}"
                answer.set_exception(PictureError(told, hint="Try another one; the log has more."))

    def _next(self) -> Inquiry | None:
        with self._changed:
            self._at_hand = 0
            self._changed.wait_for(lambda: self._waiting or self._stop.is_set())
            self._at_hand = 1
            return None if self._stop.is_set() else self._waiting.popleft()

    def _look(self, inquiry: Inquiry) -> Inspection:
        began_s = time.monotonic()
        picture = read_picture(inquiry.data, self.limits())
        floor = min(FLOOR, inquiry.confidence)
        inquiry.engines = self._inspect(inquiry.model, picture, partial(_from, floor))
        try:
            seen = inquiry.engines.result(TIME_LIMIT_S)
        except TimeoutError as error:
            inquiry.engines.cancel()
            raise EngineError(
                f"no answer within {TIME_LIMIT_S:.0f} s: the cameras go first",
                hint="Try again; with cameras this busy it may take several times.",
            ) from error
        counts = seen.detections.scores >= np.float32(inquiry.confidence)
        shown = replace(seen, detections=_only(seen.detections, counts))
        names = tuple(shown.detections.names(shown.labels))
        jpeg = _drawn(picture, shown.detections, names)
        return Inspection(
            seen=shown,
            names=names,
            size_wh=(picture.shape[1], picture.shape[0]),
            below=int((~counts).sum()),
            total_ms=(time.monotonic() - began_s) * 1000,
            jpeg=jpeg,
        )


def _from(score: float, model: ServedModel) -> Rules:
    """The model's rules, but every class counts from this score."""
    thresholds = np.full_like(model.rules.thresholds, score)
    return replace(model.rules, thresholds=thresholds, default_threshold=score)


def _only(detections: Detections, wanted: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Detections:
    return Detections(
        detections.boxes_xyxy_px[wanted], detections.scores[wanted], detections.class_ids[wanted]
    )


def _drawn(picture: U8, detections: Detections, names: tuple[str, ...]) -> bytes:
    """JPEG of the picture with its boxes, scaled down where it is larger than a page shows."""
    height, width = picture.shape[:2]
    scale = min(1.0, SHOWN_SIDE / max(width, height))
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    boxes = detections.boxes_xyxy_px * np.float32(scale)
    draw_boxes(picture, replace(detections, boxes_xyxy_px=boxes), names)
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return jpeg.tobytes()
