"""The log: one door for every line, one place where secrets are taken out of it.

Lines of ours (loguru), of libraries (logging), warnings and uncaught exceptions all arrive at
one sink. It makes a `LogLine` with everything redacted, and only that goes on: to the stream
and into the ring that the page shows. Nothing prints the record itself, and tracebacks never
show local variables.

Anybody on the network can make some lines come: libraries tell of every request that is none. Of
such lines one of a kind is told a minute, and how many more there were; and no message, whoever
causes it, takes more than its share of the ring.
"""

import json
import logging
import math
import re
import sys
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TextIO

from loguru import logger
from typing_extensions import override

from appliance.redaction import Redactor, one_line, printable_json

if TYPE_CHECKING:
    from loguru import Message, Record

Scalar = str | int | float | bool | None

SEVERITIES: Mapping[str, int] = {
    "trace": 5,
    "debug": 10,
    "info": 20,
    "success": 25,
    "warning": 30,
    "error": 40,
    "critical": 50,
}


# Libraries that speak with whoever comes, and tell of what they were sent.
OUTSIDE = ("uvicorn", "websockets", "python_multipart", "gradio", "connections")
REPEAT_S = 60.0
SHARE = 10  # a tenth of the ring, for lines that say the same


@dataclass(frozen=True, slots=True)
class LogLine:
    """One event, redacted.

    Attributes:
        time_s: wall clock, seconds since 1970.
        level: in lower case, such as "warning".
        message: what happened.
        context: what it happened to, such as `camera`; nested values are texts.
        exception: the traceback, with its causes; empty where there was none.
    """

    time_s: float
    level: str
    message: str
    context: Mapping[str, Scalar] = field(default_factory=dict)
    exception: str = ""

    @property
    def time_text(self) -> str:
        """The time in UTC, as `2026-01-31T12:00:00.123Z`."""
        at = datetime.fromtimestamp(self.time_s, UTC)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def as_text(self) -> str:
        """For people: one line, and below it the traceback, indented.

        Control characters are escaped: nobody can forge a line by what they type.
        """
        context = "".join(f" {key}={value}" for key, value in self.context.items())
        line = f"{self.time_text} {self.level.upper():<8} {one_line(self.message + context)}"
        below = [f"    {one_line(part)}" for part in self.exception.split("\n") if part]
        return "\n".join((line, *below))

    def as_json(self) -> str:
        """For machines: one object; a context that is named like a part of it gets a `_`."""
        line: dict[str, Scalar] = {
            "time": self.time_text,
            "level": self.level,
            "message": self.message,
        }
        if self.exception:
            line["exception"] = self.exception
        for key, value in self.context.items():
            line[f"{key}_" if key in line else key] = value
        return printable_json(line)


_AS_TEXT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ +\S")


def is_logged(text: str, *, below_one: bool = False) -> bool:
    """Whether a line is one that a log like this has written, in either layout.

    Args:
        text: without the end of the line; one that moves a cursor was written by no log.
        below_one: whether the line before it was one; then it may be a part of its traceback.
    """
    if not text.isprintable():
        return False
    if text.startswith("{"):
        try:
            return {"time", "level", "message"} <= set(json.loads(text))
        except ValueError:
            return False
    return bool(_AS_TEXT.match(text)) or (below_one and text.startswith("    "))


class Ring:
    """The last lines, for the page. Any thread may add and read.

    Args:
        capacity: how many are kept. The oldest goes first; but where lines that say the same, apart
            from their context, have more than their share, the oldest of these.
    """

    def __init__(self, capacity: int = 500) -> None:
        self._lines: deque[LogLine] = deque()
        self._capacity = capacity
        self._same: Counter[str] = Counter()  # kept lines, by their message
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, line: LogLine) -> None:
        """Keep a line."""
        with self._lock:
            self._lines.append(line)
            self._same[line.message] += 1
            if len(self._lines) > self._capacity:
                self._forget_one()
            self._counts[line.level] += 1

    def _forget_one(self) -> None:
        ((message, count),) = self._same.most_common(1)
        has_too_many = count > self._capacity / SHARE
        gone = next(one for one in self._lines if one.message == message or not has_too_many)
        self._lines.remove(gone)
        self._same[gone.message] -= 1
        self._same += Counter()  # forgets those that are gone

    def counts(self) -> Mapping[str, int]:
        """How many lines of each level were ever added; a level without any is missing."""
        with self._lock:
            return dict(self._counts)

    def lines(self, level: str = "", text: str = "") -> list[LogLine]:
        """The kept lines, the oldest first.

        Args:
            level: the least severity, such as "warning"; an unknown one takes all.
            text: what they must contain anywhere, in upper or lower case.
        """
        with self._lock:
            kept = list(self._lines)
        least, wanted = SEVERITIES.get(level, 0), text.casefold()
        return [
            line
            for line in kept
            if SEVERITIES.get(line.level, 0) >= least and wanted in line.as_json().casefold()
        ]


def setup(
    level: Literal["debug", "info", "warning", "error"],
    layout: Literal["text", "json"],
    *,
    ring: Ring,
    redactor: Redactor,
    stream: TextIO | None = None,
    clock_s: Callable[[], float] = time.monotonic,
) -> None:
    """Make every line of this process go through one sink; a second call replaces the first.

    Start uvicorn with `log_config=None`, or it puts its own handlers back.

    Args:
        level: the least severity that is kept.
        layout: of the lines on the stream.
        ring: gets the lines for the page.
        redactor: takes out the secrets.
        stream: standard error unless given.
        clock_s: monotonic, seconds.
    """
    repeats = _Repeats(clock_s)
    sink = _Sink(ring, redactor, stream or sys.stderr, repeats, as_json=layout == "json")
    logger.configure(
        handlers=[
            {
                "sink": sink,
                "level": level.upper(),
                "format": "{message}",
                "backtrace": False,
                "diagnose": False,
                # loguru reports the failure of a sink by printing the record, secrets and all.
                "catch": False,
            }
        ]
    )
    _take_over_logging(level, repeats)
    sys.excepthook = _on_uncaught
    threading.excepthook = _on_uncaught_in_thread


class _Repeats:
    """Counts lines that come again within a minute of one that was told. Any thread may ask."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._told: dict[tuple[str, str], tuple[float, str]] = {}
        self._more: Counter[tuple[str, str]] = Counter()
        self._over: list[tuple[str, str, int]] = []
        self._lock = threading.Lock()

    def is_new(self, kind: tuple[str, str], message: str) -> bool:
        """Whether a line is to be told; else it is counted."""
        now_s = self._clock_s()
        with self._lock:
            self._end_old(now_s)
            if kind in self._told:
                self._more[kind] += 1
                return False
            self._told[kind] = (now_s, message)
            return True

    def over(self) -> list[tuple[str, str, int]]:
        """Logger, message and count of what is not to be held back any longer; each once."""
        with self._lock:
            self._end_old(self._clock_s())
            over, self._over = self._over, []
        return over

    def _end_old(self, now_s: float) -> None:
        for kind in [kind for kind, (at_s, _) in self._told.items() if now_s - at_s >= REPEAT_S]:
            _, message = self._told.pop(kind)
            if count := self._more.pop(kind, 0):
                self._over.append((kind[0], message, count))


class _Sink:
    """Where all lines arrive; loguru calls it under its lock, one at a time."""

    def __init__(
        self,
        ring: Ring,
        redactor: Redactor,
        stream: TextIO,
        repeats: _Repeats,
        *,
        as_json: bool,
    ) -> None:
        self._ring = ring
        self._redactor = redactor
        self._stream = stream
        self._repeats = repeats
        self._as_json = as_json
        self._is_stream_lost = False

    def __call__(self, message: "Message") -> None:
        line = self._line_of(message.record)
        for name, text, count in self._repeats.over():
            told = f"{count} more within a minute: {self._redactor.redact(text)}"
            self._put(LogLine(line.time_s, "warning", told, {"logger": name}))
        self._put(line)

    def _put(self, line: LogLine) -> None:
        self._ring.add(line)
        try:
            self._stream.write((line.as_json() if self._as_json else line.as_text()) + "\n")
            self._stream.flush()
            self._is_stream_lost = False
        except (OSError, ValueError) as error:
            # The stream is gone (a closed pipe) and cannot be told so; the ring can, once.
            if not self._is_stream_lost:
                reason = f"the log's stream takes no lines: {type(error).__name__}"
                self._ring.add(LogLine(line.time_s, "error", reason))
            self._is_stream_lost = True

    def _line_of(self, record: "Record") -> LogLine:
        redact = self._redactor.redact
        context = {redact(key): self._scalar(value) for key, value in record["extra"].items()}
        return LogLine(
            time_s=record["time"].timestamp(),
            level=record["level"].name.lower(),
            message=redact(record["message"]),
            context=context,
            exception=redact(_traceback(record)),
        )

    def _scalar(self, value: object) -> Scalar:
        """The value itself if JSON has its kind and there is nothing to hide; else its text."""
        text = str(value)
        redacted = self._redactor.redact(text)
        if redacted == text and isinstance(value, int | float | None) and _is_json(value):
            return value
        return redacted


class _Intercept(logging.Handler):
    """Hands the lines of the standard library's logging on to loguru."""

    def __init__(self, repeats: _Repeats) -> None:
        super().__init__()
        self._repeats = repeats

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            # Not left to logging: it would print the arguments to standard error, unredacted.
            message = f"{record.msg} (its arguments do not fit)"
        is_outside = record.name.partition(".")[0] in OUTSIDE
        if is_outside and not self._repeats.is_new((record.name, _kind_of(record)), message):
            return
        level = logging.getLevelName(_standard_level(record.levelno))
        logger.bind(logger=record.name).opt(exception=record.exc_info).log(level, message)


def _kind_of(record: logging.LogRecord) -> str:
    """What a line says apart from its values; where it comes from, if they are written into it."""
    return str(record.msg) if record.args else f"{record.pathname}:{record.lineno}"


def _take_over_logging(level: str, repeats: _Repeats) -> None:
    """One handler at the root, none below it.

    Libraries' debug lines are left out even at our level debug: they would fill the ring.
    """
    logging.captureWarnings(capture=True)
    logging.basicConfig(
        handlers=[_Intercept(repeats)], level=max(SEVERITIES[level], logging.INFO), force=True
    )
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "py.warnings"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    # A line for every request, or for every step of a library's work, drowns all else.
    access = logging.INFO if level == "debug" else logging.WARNING
    for name in ("uvicorn.access", "httpx", "onnx_ir", "alembic"):
        logging.getLogger(name).setLevel(access)


def _standard_level(number: int) -> int:
    """The nearest of the five standard levels that is not above; debug is the lowest."""
    return min(max(number // 10 * 10, logging.DEBUG), logging.CRITICAL)


def _on_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logger.opt(exception=(kind, error, trace)).critical("uncaught exception")


def _on_uncaught_in_thread(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is None or isinstance(failure.exc_value, SystemExit):
        return
    name = failure.thread.name if failure.thread else "unknown"
    trace = (failure.exc_type, failure.exc_value, failure.exc_traceback)
    logger.bind(thread=name).opt(exception=trace).critical("uncaught exception in a thread")


def _is_json(number: float | None) -> bool:
    return number is None or math.isfinite(number)


def _traceback(record: "Record") -> str:
    exception = record["exception"]
    if exception is None or exception.value is None:
        return ""
    return "".join(
        traceback.format_exception(exception.type, exception.value, exception.traceback)
    ).rstrip()
