"""The log, and what must never be in it."""

import io
import json
import logging
import sys
import threading
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loguru import logger

from appliance.logs import LogLine, Ring, setup
from appliance.redaction import Redactor, redact_url
from tests.support.fakes import Clock

SECRETS = ("hunter2-camera", "Tok3n with\"quote'and/slash", "hunter2")


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """Leaves logging, warnings and hooks as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    yield
    logging.captureWarnings(capture=False)
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.getLogger("uvicorn.access").setLevel(logging.NOTSET)
    logger.remove()


@pytest.fixture
def ring():
    """The lines that the page shows."""
    return Ring()


@pytest.fixture
def start(ring):
    """Sets the log up, and gives the stream that it writes to."""

    def start(level="info", layout="text", secrets=(), **options) -> io.StringIO:
        stream = io.StringIO()
        setup(level, layout, ring=ring, redactor=Redactor(secrets), stream=stream, **options)
        return stream

    return start


def test_a_line_for_people_has_time_level_message_and_context(start):
    """One line for one event."""
    stream = start()
    logger.bind(camera="door").warning("stalled for {} s", 5)
    (line,) = stream.getvalue().splitlines()
    time_text, level, rest = line.split(maxsplit=2)
    assert time_text.endswith("Z")
    assert (level, rest) == ("WARNING", "stalled for 5 s camera=door")


def test_a_line_for_machines_is_one_json_object(start):
    """Context is flat; what is no number or text becomes text; nothing is overwritten."""
    stream = start(layout="json")
    logger.bind(camera="door", fps=12.5, age=float("nan"), level="mine", box=(1, 2)).info("a\nb")
    (line,) = stream.getvalue().splitlines()
    parsed = json.loads(line, parse_constant=pytest.fail)
    assert parsed.pop("time").endswith("Z")
    assert parsed == {
        "level": "info",
        "message": "a\nb",
        "camera": "door",
        "fps": 12.5,
        "age": "nan",
        "level_": "mine",
        "box": "(1, 2)",
    }


def test_nobody_can_forge_a_line(start):
    """What a person typed cannot end a line or move the cursor."""
    stream = start()
    logger.info("unknown user {}", "x\n2026-01-01T00:00:00Z ERROR forged\x1b[2J")
    logger.bind(user="y\r\nz").info("bad")
    error = ValueError("first\n2026-01-01T00:00:00Z ERROR forged")
    logger.opt(exception=error).error("failed")
    lines = [line for line in stream.getvalue().splitlines() if not line.startswith("    ")]
    assert [line.split()[2] for line in lines] == ["unknown", "bad", "failed"]
    assert "\x1b" not in stream.getvalue()


def test_no_line_for_machines_moves_a_cursor(start):
    """Somebody may read it on a terminal; what it says to a machine stays the same."""
    stream = start(layout="json")
    message = "x\x1b[2J\x9b2J\u202e\u2028\x7f ä"
    logger.info("{}", message)
    (line, after) = stream.getvalue().split("\n")
    assert (line.isprintable(), after) == (True, "")
    assert json.loads(line)["message"] == message


def test_lines_below_the_level_are_left_out(start, ring):
    """On the stream and on the page."""
    stream = start(level="warning")
    logger.info("quiet")
    logging.getLogger("library").info("quiet")
    logger.error("loud")
    assert [line.message for line in ring.lines()] == ["loud"]
    assert "quiet" not in stream.getvalue()


def test_lines_are_counted_by_level_for_longer_than_they_are_kept():
    """The counts are of all lines since the start, also of those that the ring has let go."""
    ring = Ring(capacity=2)
    for level in ("warning", "info", "info", "info", "warning"):
        ring.add(LogLine(0.0, level, "something"))
    assert len(ring.lines()) == 2
    assert ring.counts() == {"info": 3, "warning": 2}


def test_libraries_and_warnings_come_through_the_same_door(start, ring):
    """With the name of the logger as context."""
    start()
    logging.getLogger("some.library").warning("disk %s", "full")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old call", stacklevel=1)
    first, second = ring.lines()
    assert (first.message, first.level, first.context) == (
        "disk full",
        "warning",
        {"logger": "some.library"},
    )
    assert "old call" in second.message


def test_a_library_whose_arguments_do_not_fit_is_logged_all_the_same(start, ring, capsys):
    """The standard library would print the arguments past the redaction (O-24)."""
    start()
    logging.getLogger("library").warning("port %d", "hunter2")
    assert "do not fit" in ring.lines()[0].message
    assert "hunter2" not in "".join(capsys.readouterr())


def test_requests_are_logged_at_debug_only(start, ring):
    """A line for every request would drown all else; uvicorn's own handlers are taken off."""
    access = logging.getLogger("uvicorn.access")
    access.addHandler(logging.StreamHandler())
    start()
    access.info("GET /")
    assert ring.lines() == []
    start(level="debug")
    access.info("GET /")
    assert [line.message for line in ring.lines()] == ["GET /"]
    assert access.handlers == []


def test_uncaught_exceptions_are_logged(start, ring):
    """In the main thread, and in any other one."""
    start()
    thread = threading.Thread(target=lambda: 1 / 0, name="worker")
    thread.start()
    thread.join(10)
    error = ValueError("lost")
    sys.excepthook(ValueError, error, None)
    first, second = ring.lines()
    assert first.context == {"thread": "worker"}
    assert "ZeroDivisionError" in first.exception
    assert "ValueError: lost" in second.exception


def test_leaving_is_no_error(start, ring):
    """A thread may end by SystemExit."""
    start()
    thread = threading.Thread(target=sys.exit)
    thread.start()
    thread.join(10)
    assert ring.lines() == []


@pytest.mark.parametrize("layout", ["text", "json"])
def test_no_secret_is_ever_emitted(start, ring, capfd, layout):
    """Planted in messages, context, exceptions, their causes and local variables (O-24)."""
    camera, token, short = SECRETS
    stream = start(level="debug", layout=layout, secrets=SECRETS)

    def open_camera(password: str) -> None:
        local_copy = {"password": password, "url": f"rtsp://u:{password}@127.0.0.1:9/x"}
        try:
            {}[local_copy["password"]]
        except KeyError as error:
            raise RuntimeError(f"cannot open {local_copy['url']}") from error

    def failing_thread() -> None:
        open_camera(token)

    logger.info("opening rtsp://u:unregistered@h/1 with {}", camera)
    logger.bind(url=f"http://h/snap?pwd={short}x&a=1", token=token, all=[token, {camera}]).info("x")
    logger.bind(**{camera: 1}).info("as a name")
    logging.getLogger("library").error("Authorization: Bearer %s", token)
    try:
        open_camera(token)
    except RuntimeError:
        logger.exception("camera failed with {}", token)
        logging.getLogger("library").exception("it failed")
    thread = threading.Thread(target=failing_thread)
    thread.start()
    thread.join(10)
    emitted = stream.getvalue() + repr(ring.lines()) + "".join(capfd.readouterr())
    assert emitted.count("cannot open rtsp://•••@127.0.0.1:9/x") >= 3
    assert "KeyError" in emitted
    escaped = (json.dumps(token)[1:-1], repr(token)[1:-1], "Tok3n")
    for secret in (*SECRETS, *escaped, "unregistered"):
        assert secret not in emitted


def test_a_number_that_is_a_secret_is_hidden(start, ring):
    """A PIN stays a PIN when it is logged as a number (O-24)."""
    start(secrets=["271828"])
    logger.bind(pin=271828, port=8080).info("x")
    assert ring.lines()[0].context == {"pin": "•••", "port": 8080}


def test_a_stream_that_is_gone_stops_nobody(ring):
    """The page says so, once; whoever logs goes on."""
    stream = io.StringIO()
    setup("info", "text", ring=ring, redactor=Redactor(), stream=stream)
    stream.close()
    logger.info("one")
    logger.info("two")
    assert [line.message for line in ring.lines()] == [
        "one",
        "the log's stream takes no lines: ValueError",
        "two",
    ]


def test_the_ring_forgets_the_oldest():
    """It never grows."""
    ring = Ring(capacity=3)
    for number in range(5):
        ring.add(LogLine(0.0, "info", str(number)))
    assert [line.message for line in ring.lines()] == ["2", "3", "4"]


def test_lines_that_say_the_same_leave_room_for_the_others():
    """As of a crowd that guesses passwords: they keep what nobody else wants, and no more."""
    ring = Ring(capacity=50)
    ring.add(LogLine(0.0, "error", "offline", {"camera": "door"}))
    for number in range(600):
        ring.add(LogLine(0.0, "warning", "sign-in refused", {"address": f"192.0.2.{number}"}))
        ring.add(LogLine(0.0, "info", "audit: sign_in_refused", {"address": f"192.0.2.{number}"}))
    lines = ring.lines()
    assert lines[0].message == "offline"
    assert len(lines) == 50
    assert lines[-1].context == {"address": "192.0.2.599"}
    for number in range(39):
        ring.add(LogLine(0.0, "info", f"line {number}"))
    assert ring.lines()[0].message == "offline"
    assert [line.message for line in ring.lines()].count("sign-in refused") == 5
    assert ring.counts() == {"error": 1, "warning": 600, "info": 639}


def test_what_strangers_send_is_told_once_a_minute_and_counted(start, ring):
    """However many requests are none: a line for each kind, and then how many more there were."""
    clock = Clock()
    stream = start(clock_s=lambda: clock() / 1e9)
    uvicorn, forms = logging.getLogger("uvicorn.error"), logging.getLogger("python_multipart.x")
    page, crowd = logging.getLogger("gradio"), logging.getLogger("connections")
    logger.info("the camera is offline")
    for minute in range(3):
        for number in range(200):
            uvicorn.warning("Invalid HTTP request received.")
            forms.warning(f"Expected {minute}, got {number}")  # as that library writes it
            page.warning("page: a call ended with KeyError: %s", number)
            crowd.warning("no connection can be taken: %s", "Too many open files")
        clock.advance(60)
    logger.info("something else")
    told = [line.message for line in ring.lines()]
    assert told[0] == "the camera is offline"
    assert told.count("Invalid HTTP request received.") == 3
    assert told.count("199 more within a minute: Invalid HTTP request received.") == 3
    assert told.count("199 more within a minute: Expected 2, got 0") == 1
    assert told[-1] == "something else"
    assert told.count("199 more within a minute: page: a call ended with KeyError: 0") == 3
    assert len(told) == 26
    assert len(stream.getvalue().splitlines()) == 26


def test_what_other_libraries_say_is_told_each_time(start, ring):
    """Nobody outside makes them say it."""
    start()
    for _ in range(3):
        logging.getLogger("alembic").warning("slow")
    assert [line.message for line in ring.lines()] == ["slow"] * 3


def test_the_ring_finds_by_severity_and_text():
    """In messages and in context, in upper or lower case."""
    ring = Ring()
    ring.add(LogLine(0.0, "info", "started"))
    ring.add(LogLine(0.0, "error", "offline", {"camera": "Door"}))
    assert [line.level for line in ring.lines(level="warning")] == ["error"]
    assert [line.level for line in ring.lines(text="door")] == ["error"]
    assert [line.level for line in ring.lines(level="info", text="START")] == ["info"]
    assert len(ring.lines()) == 2


def test_the_ring_is_read_while_it_is_written():
    """Any thread may do either."""
    ring = Ring(capacity=50)

    def write() -> None:
        for number in range(300):
            ring.add(LogLine(0.0, "info", str(number)))

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert len(ring.lines()) <= 50
    assert len(ring.lines()) == 50


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://u:p@h/1", "rtsp://•••@h/1"),
        ("rtsp://u:p/a?s#s@w@h/1", "rtsp://•••@h/1"),
        ("cannot open http://u@h: refused", "cannot open http://•••@h: refused"),
        ("http://h/snap?user=a&pwd=b&x=1", "http://h/snap?user=a&pwd=•••&x=1"),
        ("http://h/?access_token=abc", "http://h/?access_token=•••"),
        ("rtsp://h/1", "rtsp://h/1"),
        ("mail a@b", "mail a@b"),
    ],
)
def test_a_url_is_shown_without_credentials(url, shown):
    """User and password alike; the host stays (O-24)."""
    assert redact_url(url) == shown


def test_short_secrets_are_left_alone():
    """Hiding every 1 would make the log unreadable."""
    assert Redactor(["1", "abc", ""]).redact("1 abc") == "1 abc"


@settings(max_examples=50)
@given(
    secret=st.text(st.characters(exclude_categories=("Cs",)), min_size=4, max_size=12),
    before=st.text(max_size=8),
    after=st.text(max_size=8),
)
def test_a_registered_secret_never_remains(secret, before, after):
    """Whatever stands around it, and however it is escaped."""
    redactor = Redactor([secret])
    for spelling in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]):
        redacted = redactor.redact(f"{before}{spelling}{after}")
        assert spelling not in redacted.replace("•••", "") or spelling in before + after
