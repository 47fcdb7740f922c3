"""Single pictures that people ask about: read, shown to a model behind the cameras, drawn.

A few threads, each with one picture at a time, and one picture at a time of each person. So nobody
waits for a picture of somebody else's that takes long, nor for another model's engine.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from functools import partial

import cv2
import numpy as np
from loguru import logger
from typing_extensions import override

from appliance.errors import ApplianceError, EngineError, PictureError
from appliance.pictures import Limits
from appliance.pictures.apart import ReaderApart
from appliance.pipeline.asked import Inspected
from appliance.pipeline.served import ServedModel, ThresholdsOf
from appliance.pipeline.waiting import crowded, ending
from appliance.render import known as painters
from appliance.tasks import Thresholds
from appliance.threads import Full, Mailbox, Worker
from appliance.values import U8

AT_ONCE = 3  # threads; one model has all of them but one
ONE_LIMIT = 5  # pictures of one person, the one at hand included
ALL_LIMIT = 8  # of all people, those at hand included
IDLE_S = 60.0  # without a picture, until the process that reads gives its memory back
TIME_LIMIT_S = 20.0  # for the engine, cameras before it included
FLOOR = 0.05  # what scores less is no candidate that a person wants counted
SHOWN_SIDE = 1920  # pixels of the drawn picture, at most: it is for a page
QUALITY = 90

NOBODY_WAITS = "nobody waits for this picture any more"

Inspect = Callable[[str, U8, ThresholdsOf], Future[Inspected]]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was seen in one picture.

    Attributes:
        seen: by the model, without what scores less than was asked for.
        size_wh: of the picture as a person sees it, pixels; the prediction is in these.
        below: how many more score at least FLOOR.
        total_ms: from the reading of the file to the drawn picture.
        jpeg: the picture with what was seen drawn in, at most SHOWN_SIDE wide and high.
    """

    seen: Inspected
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
    person: str = ""
    answer: Future[Inspection] = field(default_factory=Future)
    engines: Future[Inspected] | None = None
    _reader: ReaderApart | None = None
    _has_gone: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def cancel(self) -> None:
        """Whoever asked has gone; what has not begun does not begin, and what reads is ended."""
        self.answer.cancel()
        with self._lock:
            self._has_gone = True
            if self._reader is not None:
                self._reader.end(NOBODY_WAITS)
            if self.engines is not None:
                self.engines.cancel()

    def read(self, reader: ReaderApart, limits: Limits) -> U8:
        """The picture.

        Raises:
            PictureError: it cannot be read.
            EngineError: whoever asked has gone.
        """
        with self._lock:
            if self._has_gone:
                raise EngineError(NOBODY_WAITS)
            self._reader = reader
        try:
            return reader.read(self.data, limits)
        finally:
            with self._lock:
                self._reader = None

    def shown(self, answer: Future[Inspected]) -> Future[Inspected]:
        """The same, which now is ended with the inquiry."""
        with self._lock:
            self.engines = answer
            if self._has_gone:
                answer.cancel()
        return answer


class Inspector:
    """Answers inquiries, some at once.

    Args:
        inspect: hands a picture to the loop.
        limits: of the pictures, as they are now.
    """

    def __init__(self, inspect: Inspect, *, limits: Callable[[], Limits]) -> None:
        self.limits = limits
        self._inspect = inspect
        self._waiting: Mailbox[Inquiry] = Mailbox(ALL_LIMIT, Full.NEWEST)
        self._changed = self._waiting.changed
        self._at_hand: list[Inquiry] = []
        self._lookers = tuple(_Looker(self, number) for number in range(AT_ONCE))

    def start(self) -> None:
        """Begin; once."""
        for looker in self._lookers:
            looker.start()

    def stop(self) -> None:
        """End after the pictures at hand, of which none is read on; idempotent."""
        with self._changed:
            self._waiting.close()
            for inquiry in self._waiting.clear():
                inquiry.answer.cancel()
        for looker in self._lookers:
            looker.stop()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False if it did not come in time."""
        deadline_s = time.monotonic() + timeout_s
        ended = [each.join(max(0.0, deadline_s - time.monotonic())) for each in self._lookers]
        return all(ended)

    def ask(self, data: bytes, model: str, confidence: float, person: str = "") -> Inquiry:
        """Have a picture looked at.

        Args:
            data: the file's bytes.
            model: the name of one in use.
            confidence: score from which something counts.
            person: who asks; has one picture looked at after the other.

        Returns:
            The inquiry. Its answer may be an ApplianceError: PictureError where it is the
            picture's fault.

        Raises:
            EngineError: too many wait already, or the station ends.
        """
        inquiry = Inquiry(data, model, confidence, person)
        with self._changed:
            under_way = [*self._waiting, *self._at_hand]
            own = sum(each.person == person for each in under_way)
            if self._waiting.is_closed:
                raise ending()
            if own >= ONE_LIMIT or len(under_way) >= ALL_LIMIT:
                raise crowded()
            self._waiting.put(inquiry)
        return inquiry

    def next(self, timeout_s: float | None) -> Inquiry | None:
        """One whose turn it is; None at the end, or where none came in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting.is_closed or self._due(), timeout_s)
            inquiry = self._due()
            if inquiry is not None:
                self._waiting.remove(inquiry)
                self._at_hand.append(inquiry)
            return inquiry

    def done(self, inquiry: Inquiry) -> None:
        """It has its answer."""
        with self._changed:
            self._at_hand.remove(inquiry)
            self._changed.notify_all()

    def _due(self) -> Inquiry | None:
        """The first whose person has none at hand, and whose model leaves a thread to others."""
        persons = {each.person for each in self._at_hand}
        models = Counter(each.model for each in self._at_hand)
        for inquiry in self._waiting:
            if inquiry.person not in persons and models[inquiry.model] < AT_ONCE - 1:
                return inquiry
        return None

    def look(self, inquiry: Inquiry, reader: ReaderApart) -> Inspection:
        """What is seen in the picture.

        Raises:
            ApplianceError: it cannot be read, or not be looked at.
        """
        began_s = time.monotonic()
        picture = inquiry.read(reader, self.limits())
        floor = min(FLOOR, inquiry.confidence)
        answer = inquiry.shown(self._inspect(inquiry.model, picture, partial(_from, floor)))
        try:
            seen = answer.result(TIME_LIMIT_S)
        except TimeoutError as error:
            answer.cancel()
            raise EngineError(
                f"no answer within {TIME_LIMIT_S:.0f} s: the cameras go first",
                hint="Try again; with cameras this busy it may take several times.",
            ) from error
        shown = replace(seen, prediction=seen.prediction.from_score(inquiry.confidence))
        return Inspection(
            seen=shown,
            size_wh=(picture.shape[1], picture.shape[0]),
            below=len(seen.prediction) - len(shown.prediction),
            total_ms=(time.monotonic() - began_s) * 1000,
            jpeg=_drawn(picture, shown),
        )


class _Looker(Worker):
    """One of the threads, with a process of its own that reads."""

    def __init__(self, inspector: Inspector, number: int) -> None:
        super().__init__(f"inspector-{number}")
        self._inspector = inspector
        self._reader = ReaderApart()

    @override
    def stop(self) -> None:
        super().stop()
        self._reader.end("the station ends")

    @override
    def _run(self) -> None:
        while not self._stop.is_set():
            inquiry = self._inspector.next(IDLE_S)
            if inquiry is None:
                self._reader.rest()
                inquiry = None if self._stop.is_set() else self._inspector.next(None)
            if inquiry is not None:
                self._answer(inquiry)
                self._inspector.done(inquiry)
        self._reader.rest()

    def _answer(self, inquiry: Inquiry) -> None:
        answer = inquiry.answer
        if not answer.set_running_or_notify_cancel():
            return
        try:
            answer.set_result(self._inspector.look(inquiry, self._reader))
        except CancelledError:
            answer.set_exception(EngineError(NOBODY_WAITS))
        except ApplianceError as error:
            answer.set_exception(error)
        except Exception as error:  # noqa: BLE001 - top of the thread: told, not swallowed
            logger.exception("inspection: unexpected error")
            told = f"the picture cannot be inspected: {type(error).__name__}"
            answer.set_exception(PictureError(told, hint="Try another one; the log has more."))


def _from(score: float, model: ServedModel) -> Thresholds:
    """Every class of the model counts from this score."""
    return Thresholds.of(model.labels, confidence=score, classes={})


def _drawn(picture: U8, seen: Inspected) -> bytes:
    """JPEG of the picture with what was seen, scaled down where it is larger than a page shows."""
    height, width = picture.shape[:2]
    scale = min(1.0, SHOWN_SIDE / max(width, height))
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    names = seen.prediction.names(seen.labels)
    painters()[seen.task].paint(picture, seen.prediction.scaled(scale), names)
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return jpeg.tobytes()
