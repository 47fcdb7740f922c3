"""The database: what is confirmed stays, what is damaged is set aside, what is in the way ends."""

import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert, text

from appliance.errors import StoreError
from appliance.stores import database as module
from appliance.stores.database import Database
from appliance.stores.file import KEPT_ASIDE, open_file
from appliance.stores.form import APPLICATION_ID, FORM, NAME, form_of
from appliance.stores.migrations import HERE, migrate
from appliance.stores.schema import metadata, sessions
from tests.support.fakes import wait_until
from tests.support.process import with_own_mounts

PATIENCE_S = 20


@contextmanager
def opened(folder, now_s=time.time):
    """A database that is open, and ended with the block."""
    database = Database(Path(folder), wall_s=now_s)
    database.start()
    try:
        yield database
    finally:
        database.stop()
        assert database.join(PATIENCE_S)


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """What is in the way is tried again at once, so that the tests wait less."""
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    monkeypatch.setattr("appliance.stores.file.BUSY_S", 0.05)


def row(key):
    names = ("key", "id", "user", "role", "address", "agent", "stamp")
    return {**dict.fromkeys(names, str(key)), "seen_at_s": 0.0, "age_s": 0.0, "idle_s": 0.0}


def put(database, key):
    """Write a row, without waiting."""
    return database.submit(lambda connection: connection.execute(insert(sessions), row(key)))


def keys(database):
    return database.read(
        lambda connection: {
            int(key) for key in connection.execute(text("SELECT key FROM sessions")).scalars()
        }
    )


def filled(folder, count=200):
    """A closed database with rows 0 to count."""
    with opened(folder) as database:
        for key in range(count):
            put(database, key)
    return folder / NAME


def aside(folder):
    return sorted(path.name for path in folder.glob(f"{NAME}.damaged-*Z"))


def test_what_is_confirmed_is_there_for_the_next_run(tmp_path):
    """A write that is done can be read at once, and after a restart."""
    with opened(tmp_path) as database:
        put(database, 1).result(PATIENCE_S)
        assert keys(database) == {1}
    with opened(tmp_path) as database:
        assert keys(database) == {1}
        assert database.reading().troubles == ()


def test_the_file_is_written_so_that_a_power_cut_takes_nothing(tmp_path):
    """A log that is written ahead, synced at each commit, and keys that are held to."""
    pragmas = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    with opened(tmp_path) as database:
        for name, value in pragmas.items():
            assert (
                database.read(lambda c, n=name: c.exec_driver_sql(f"PRAGMA {n}").scalar()) == value
            )


def test_a_wrong_write_ends_alone(tmp_path):
    """Its error reaches whoever waits for it; all that came with it is written, in its order."""
    with opened(tmp_path) as database:
        gate = threading.Event()
        database.submit(lambda _: gate.wait(PATIENCE_S))
        good = [put(database, key) for key in (1, 2)]
        twice = put(database, 2)
        wrong = database.submit(lambda _: 1 / 0)
        good.append(put(database, 3))
        gate.set()
        assert [one.result(PATIENCE_S) for one in good] == [None] * 3
        assert "UNIQUE" in str(twice.exception(PATIENCE_S))
        assert isinstance(wrong.exception(PATIENCE_S), ZeroDivisionError)
        assert keys(database) == {1, 2, 3}
        assert (database.reading().failed, database.reading().waiting) == (2, 0)


def test_past_its_capacity_the_newest_is_dropped_and_counted(tmp_path, monkeypatch):
    """What came first is kept; whoever waits for what was dropped is told at once."""
    monkeypatch.setattr(module, "CAPACITY", 3)
    with opened(tmp_path) as database:
        gate, begun = threading.Event(), threading.Event()
        database.submit(lambda _: (begun.set(), gate.wait(PATIENCE_S)))
        assert begun.wait(PATIENCE_S)
        kept = [put(database, key) for key in (1, 2)]
        with pytest.raises(StoreError, match="takes no more") as caught:
            put(database, 3).result(0)
        assert "APPLIANCE_PATHS__STATE" in caught.value.hint
        gate.set()
        for one in kept:
            one.result(PATIENCE_S)
        assert keys(database) == {1, 2}
        assert database.reading().dropped == 1


def test_what_waits_at_the_end_is_written(tmp_path):
    """To stop is to finish; afterwards nothing is taken."""
    with opened(tmp_path) as database:
        last = [put(database, key) for key in range(2000)][-1]
        database.stop()
        late = put(database, 9999)
    assert last.result(0) is None
    assert isinstance(late.exception(0), StoreError)
    with opened(tmp_path) as database:
        assert keys(database) == set(range(2000))


CONFIRMING = """
import sys, time
from pathlib import Path
from appliance.stores.database import Database
from tests.unit.test_database import put
database = Database(Path(sys.argv[1]), wall_s=time.time)
database.start()
for key in range(int(sys.argv[2]), 10**9, 3):
    waited = [put(database, key + more) for more in range(3)]
    for one in waited:
        one.result()
    print(key, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.long)])
def test_nothing_that_was_confirmed_is_lost_when_the_process_is_killed(tmp_path, kills):
    """Killed while it writes, again and again: each confirmed row is there, and no half."""
    chance, confirmed, begin = np.random.default_rng(7), set(), 0
    for _ in range(kills):
        command = [sys.executable, "-c", CONFIRMING, str(tmp_path), str(begin)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            lines = [child.stdout.readline()]
            time.sleep(chance.uniform(0, 0.3))
            child.send_signal(signal.SIGKILL)
            lines += child.stdout.readlines()
        confirmed |= {
            int(line) + more for line in lines if line.endswith("\n") for more in range(3)
        }
        with opened(tmp_path) as database:
            assert database.reading().troubles == ()
            found = keys(database)
        assert confirmed <= found
        begin = max(found) // 3 * 3 + 3
    assert len(confirmed) > 6 * kills
    assert aside(tmp_path) == []


DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "cut in a page": lambda content: content[:5000],
    "a few bytes": lambda content: content[:10],
    "zeroed": lambda content: bytes(len(content)),
    "zeroed head": lambda content: bytes(100) + content[100:],
    "zeroed middle": lambda content: content[:8192] + bytes(16384) + content[24576:],
    "noise": lambda content: np.random.default_rng(1).bytes(len(content)),
    "a text": lambda _: b"no database, but somebody's notes\n" * 400,
    "head of another program": lambda content: content[:68] + b"\x0f\x05\x51\x12" + content[72:],
    "form that nobody wrote": lambda content: content[:60] + b"\x00\x00\x00\x09" + content[64:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path, damage):
    """It is kept as it was, its name is told, and the station writes on."""
    path = filled(tmp_path)
    content = damage(path.read_bytes())
    path.write_bytes(content)
    with opened(tmp_path, lambda: 1.8e9) as database:
        (trouble,) = database.reading().troubles
        put(database, 5000).result(PATIENCE_S)
        assert keys(database) == {5000}
    (name,) = aside(tmp_path)
    assert name == "appliance.db.damaged-20270115T080000000000Z"
    assert name in trouble
    assert (tmp_path / name).read_bytes() == content
    with opened(tmp_path) as database:
        assert (database.reading().troubles, keys(database)) == ((), {5000})


def test_another_programs_database_is_set_aside_whole(tmp_path):
    """With what lies beside it: whoever put it there gets it back."""
    with closing(sqlite3.connect(tmp_path / NAME)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE theirs (value)")
        other.execute("INSERT INTO theirs VALUES (7)")
        other.commit()
        for end in ("", "-wal"):
            shutil.copy(tmp_path / f"{NAME}{end}", tmp_path / f"copy{end}")
    for end in ("", "-wal"):
        (tmp_path / f"copy{end}").replace(tmp_path / f"{NAME}{end}")
    with opened(tmp_path) as database:
        assert "of another program" in database.reading().troubles[0]
        assert keys(database) == set()
    (name,) = aside(tmp_path)
    with closing(sqlite3.connect(tmp_path / name)) as other:
        assert other.execute("SELECT value FROM theirs").fetchall() == [(7,)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("sound"), 60)


# The head and the first page more often than their size would have it: they rule the rest.
PLACES = st.one_of(st.integers(0, 99), st.integers(0, 4095), st.integers(0, 2**20))


@settings(max_examples=300)
@given(flips=st.lists(st.tuples(PLACES, st.integers(0, 7)), min_size=1, max_size=4))
def test_no_flipped_bit_stops_the_station(sound, tmp_path_factory, flips):
    """Wherever it is: the file is used or set aside, and what is written then is there."""
    folder = tmp_path_factory.mktemp("flipped")
    content = bytearray(sound.read_bytes())
    for place, bit in flips:
        content[place % len(content)] ^= 1 << bit
    (folder / NAME).write_bytes(content)
    assert form_of(folder) in {0, FORM}
    with opened(folder) as database:
        put(database, 9_999_999).result(PATIENCE_S)
        rows = database.read(lambda c: c.execute(text("SELECT * FROM sessions")).all())
        assert any(row.key == "9999999" for row in rows)
    shutil.rmtree(folder)


def test_a_file_that_is_damaged_while_it_is_used_is_set_aside_then(tmp_path):
    """What waits goes into the new one."""
    path = filled(tmp_path, 2000)
    with opened(tmp_path) as database:
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
        put(database, 5000).result(PATIENCE_S)
        assert keys(database) == {5000}
        assert "is damaged" in database.reading().troubles[0]


def test_damaged_files_do_not_fill_the_disk(tmp_path):
    """Only the newest ones stay."""
    times = range(10)
    for now_s in times:
        (tmp_path / NAME).write_bytes(b"x" * 5000)
        (tmp_path / f"{NAME}-wal").write_bytes(b"y")
        open_file(tmp_path, 1.8e9 + now_s)[0].dispose()
    names = aside(tmp_path)
    assert len(names) == KEPT_ASIDE
    assert names[-1] == "appliance.db.damaged-20270115T080009000000Z"
    assert len(list(tmp_path.glob("*-wal"))) <= KEPT_ASIDE


@pytest.mark.parametrize("held", ["BEGIN EXCLUSIVE", "BEGIN IMMEDIATE"])
@pytest.mark.parametrize("is_running", [False, True])
def test_a_lock_of_another_program_is_waited_out(tmp_path, held, is_running):
    """The station goes on and says so; nothing is set aside, and nothing is lost."""
    path = filled(tmp_path, 3)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        if not is_running:
            other.execute(held)
        with opened(tmp_path) as database:
            if is_running:
                other.execute(held)
            waiting = put(database, 5)
            wait_until(lambda: any("another program" in t for t in database.reading().troubles))
            assert not waiting.done()
            other.execute("ROLLBACK")
            waiting.result(PATIENCE_S)
            wait_until(lambda: database.reading().troubles == ())
            assert keys(database) == {0, 1, 2, 5}
    assert aside(tmp_path) == []


def test_a_database_that_is_away_says_so_to_readers(tmp_path):
    """As an error with a hint, not as an empty answer."""
    (tmp_path / NAME).mkdir()
    with opened(tmp_path) as database:
        with pytest.raises(StoreError, match="cannot be had now") as caught:
            keys(database)
        assert "APPLIANCE_PATHS__STATE" in caught.value.hint
        (tmp_path / NAME).rmdir()
        put(database, 1).result(PATIENCE_S)  # and comes back by itself
        assert keys(database) == {1}


FILLING = """
import subprocess, sys
from contextlib import suppress
from pathlib import Path
from appliance.stores import database as module
from tests.support.fakes import wait_until
from tests.unit.test_database import keys, opened, put
module.RETRY_S = 0.05
folder, hindrance = Path(sys.argv[1]), sys.argv[2]
ballast = folder / "ballast"

def hinder():
    if hindrance == "full":
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)

def relieve():
    if hindrance == "full":
        ballast.unlink()
    else:
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)

def is_told(database):
    return any(sys.argv[3] in trouble for trouble in database.reading().troubles)

hinder()
with opened(folder) as database:  # hindered from the start
    first = put(database, 1)
    wait_until(lambda: is_told(database))
    relieve()
    first.result(20)
    wait_until(lambda: not database.reading().troubles)
    if hindrance == "full":  # and while it runs; what is open for writing cannot be remounted
        hinder()
    many = [put(database, key) for key in range(2, 5000)]
    if hindrance == "full":
        wait_until(lambda: is_told(database))
        assert not many[-1].done()
        relieve()
    for one in many:
        one.result(20)
    wait_until(lambda: not database.reading().troubles)
    assert keys(database) == set(range(1, 5000))
    assert database.reading().dropped == 0
with opened(folder) as database:
    assert keys(database) == set(range(1, 5000))
assert not list(folder.glob("*.damaged*"))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hindrance", "told"), [("full", "the disk is full"), ("read-only", "cannot be written")]
)
def test_a_full_or_read_only_disk_is_waited_out(tmp_path, hindrance, told):
    """The station goes on, says so, and writes what waits when there is room again."""
    folder = tmp_path / "state"
    folder.mkdir()
    prefix = with_own_mounts(f"mount -t tmpfs -o size=4m tmpfs {folder}")
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespace may be made here")
    command = [*prefix, sys.executable, "-c", FILLING, str(folder), hindrance, told]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr


def test_the_tables_are_those_of_the_migrations(tmp_path):
    """What the code asks for and what the migrations make is one and the same."""
    with create_engine(f"sqlite:///{tmp_path / 'made.db'}").begin() as connection:
        migrate(connection)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def revisions():
    config = Config()
    config.set_main_option("script_location", HERE)
    return [one.revision for one in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def test_the_form_is_the_number_of_the_last_migration():
    """One after the other, so that a newer release can be told from an older one."""
    assert revisions() == [f"{number:04d}" for number in range(1, FORM + 1)]


@pytest.mark.parametrize("revision", revisions())
def test_what_an_older_release_wrote_is_brought_up_to_date(tmp_path, revision):
    """From each form on, with what stands in it."""
    engine = create_engine(f"sqlite:///{tmp_path / NAME}")
    with engine.begin() as connection:
        migrate(connection, revision)
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version = {int(revision)}")
        connection.execute(insert(sessions), row(1))
    engine.dispose()
    with opened(tmp_path) as database:
        assert (database.reading().troubles, keys(database)) == ((), {1})
    assert form_of(tmp_path) == FORM


def test_an_empty_file_is_a_new_one(tmp_path):
    """As it is left where the disk was full at the very first start."""
    (tmp_path / NAME).touch()
    with opened(tmp_path) as database:
        assert database.reading().troubles == ()
        put(database, 1).result(PATIENCE_S)


def test_a_newer_releases_database_stays_as_it_is(tmp_path):
    """It is neither changed nor set aside; the command to start has refused it before."""
    path = filled(tmp_path, 3)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {FORM + 1}")
        newer.execute("UPDATE alembic_version SET version_num = ?", (f"{FORM + 1:04d}",))
        newer.commit()
    before = path.read_bytes()
    assert form_of(tmp_path) == FORM + 1
    with opened(tmp_path) as database:
        assert "of a newer release" in database.reading().troubles[0]
    assert path.read_bytes() == before
    assert aside(tmp_path) == []
