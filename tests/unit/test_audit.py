"""The audit log: appended, never changed, bounded, and in the log as well."""

import gc
import threading
import time
import tracemalloc

import pytest
from loguru import logger
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError

from appliance.app.storing import signed_in_before
from appliance.redaction import Redactor
from appliance.stores import audit as module
from appliance.stores.audit import AuditLog
from appliance.stores.form import NAME
from appliance.stores.schema import audit
from tests.support.fakes import Wall, wait_until
from tests.unit.test_database import opened

DAY_S = 86400.0


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def database(tmp_path):
    with opened(tmp_path) as database:
        yield database


@pytest.fixture
def log(database, wall):
    return AuditLog(database, redactor=Redactor(["hunter2-secret"]), wall_s=wall)


def written(database):
    database.submit(lambda _: None).result(20)


def kinds(log, **options):
    return [event.what for event in log.newest(1000, **options)]


def test_a_start_knows_from_where_people_signed_in_before(log, database):
    """Right passwords only, the newest last; without the database nothing is known."""
    log.note("sign_in", user="ada", address="192.0.2.1")
    log.note("sign_in_refused", user="ada", address="192.0.2.2")
    log.note("sign_in", user="vera", address="192.0.2.3")
    written(database)
    assert signed_in_before(log) == [("ada", "192.0.2.1"), ("vera", "192.0.2.3")]


def test_without_the_database_a_start_knows_no_address(tmp_path, wall):
    """It goes on all the same."""
    (tmp_path / NAME).mkdir()
    with opened(tmp_path) as database:
        assert signed_in_before(AuditLog(database, redactor=Redactor(), wall_s=wall)) == []


def test_events_are_read_the_newest_first(log, database, wall):
    """With all that is known of each, by pages, and by what and whom."""
    log.note("sign_in", user="ada", address="192.0.2.1", detail="by the proxy")
    wall.now_s += 5
    log.note("sign_in_refused", address="192.0.2.2")
    log.note("sign_out", user="ada")
    written(database)
    first = log.newest(3)[-1]
    assert (first.id, first.at_s) == (1, 1.8e9)
    assert (first.what, first.user, first.address, first.detail) == (
        "sign_in",
        "ada",
        "192.0.2.1",
        "by the proxy",
    )
    assert kinds(log) == ["sign_out", "sign_in_refused", "sign_in"]
    assert kinds(log, user="ada") == ["sign_out", "sign_in"]
    assert kinds(log, what="sign_in_refused") == ["sign_in_refused"]
    assert [event.id for event in log.newest(1, before=3)] == [2]


def test_each_event_is_a_line_of_the_log(log):
    """Whatever becomes of the database; empty texts are left out."""
    lines = []
    sink = logger.add(lambda line: lines.append(line.record), format="{message}")
    try:
        log.note("sign_in", user="ada")
    finally:
        logger.remove(sink)
    assert [(line["message"], line["extra"]) for line in lines] == [
        ("audit: sign_in", {"user": "ada"})
    ]


def test_what_people_type_is_bounded_and_tells_no_secret(log, database):
    """A name of a megabyte takes no megabyte, and a password that was typed there is no text."""
    log.note("sign_in_refused", user="x" * 1_000_000, detail="as hunter2-secret")
    written(database)
    (event,) = log.newest(1)
    assert len(event.user) == module.LONGEST
    assert "hunter2" not in event.detail


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET user = 'eve'",
        "UPDATE audit SET at_s = 0 WHERE id = 1",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE id = 1",
        "REPLACE INTO audit VALUES (1, 0, 'x', 'x', 'x', 'x')",
    ],
)
def test_no_event_is_changed_or_removed(log, database, change):
    """The database itself refuses it, whoever asks."""
    for what in ("sign_in", "export"):
        log.note(what, user="ada")
    written(database)
    before = log.newest(10)
    refused = database.submit(lambda connection: connection.execute(text(change)))
    assert isinstance(refused.exception(20), IntegrityError)
    assert log.newest(10) == before


def test_old_events_go_when_new_ones_come(log, database, wall):
    """Those of more than 400 days before the newest one, and no younger ones."""
    log.note("old")
    wall.now_s += 2 * DAY_S
    log.note("younger")
    wall.now_s += 399 * DAY_S
    for _ in range(module.TIDY_EVERY):
        log.note("new")
    written(database)
    assert kinds(log)[-1] == "younger"
    assert set(kinds(log)) == {"younger", "new"}


def test_a_clock_that_jumps_years_ahead_takes_a_tenth_of_the_events_at_a_time(log, database, wall):
    """They are all too old at once; what is known does not go in a hurry."""
    event = {"at_s": wall.now_s, "what": "x", "user": "", "address": "", "detail": ""}
    rows = [event] * (10 * module.TIDY_EVERY - 1)
    database.submit(lambda connection: connection.execute(insert(audit), rows)).result(20)
    wall.now_s += 9 * 365 * DAY_S
    log.note("new")
    written(database)
    assert len(log.newest(2 * len(rows))) == 9 * module.TIDY_EVERY


@pytest.mark.slow
def test_memory_and_disk_stay_bounded_over_many_events(log, database, tmp_path):
    """When a hundred thousand are kept, the oldest go, and the file grows no further."""
    count = module.KEPT
    event = {
        "what": "sign_in_refused",
        "user": "somebody",
        "address": "192.0.2.1",
        "detail": "x" * 50,
    }

    def note_many(number):
        for _ in range(number // 1000):
            for _ in range(1000):
                log.note(**event)
            wait_until(lambda: database.reading().waiting < 2000, timeout_s=60)
        for _ in range(2):  # the writer holds on to its last batch until the next one
            written(database)
        gc.collect()

    def size():
        return sum(path.stat().st_size for path in tmp_path.glob(f"{NAME}*"))

    logger.disable("appliance.stores.audit")
    try:
        rows = [{"at_s": 1.8e9, **event}] * count
        database.submit(lambda connection: connection.execute(insert(audit), rows)).result(60)
        note_many(2000)
        full = size()
        tracemalloc.start()
        note_many(4000)
        before, _ = tracemalloc.get_traced_memory()
        note_many(8000)
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    finally:
        logger.enable("appliance.stores.audit")
    assert database.reading().dropped == 0
    assert len(log.newest(2 * count)) <= count + module.TIDY_EVERY
    assert size() < full * 1.1
    assert after - before < 8000 * 50  # an event that stays takes some hundred bytes


def test_any_thread_may_note(log, database):
    """Nothing is lost, and nobody waits for the disk."""
    threads = [
        threading.Thread(target=lambda: [log.note("export") for _ in range(100)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    written(database)
    assert len(log.newest(1000)) == 800


def test_to_note_takes_no_time_while_the_disk_does(log, database):
    """The writer is stuck in a write: an event is noted all the same, and written after it."""
    gate, begun = threading.Event(), threading.Event()
    database.submit(lambda _: (begun.set(), gate.wait(20)))
    assert begun.wait(20)
    began_s = time.monotonic()
    log.note("sign_in")
    assert time.monotonic() - began_s < 10  # it would be twenty
    gate.set()
    written(database)
    assert kinds(log) == ["sign_in"]
