"""Backups: all of the state, proven before it is used, and never half in place."""

import io
import json
import os
import shutil
import sqlite3
import threading

import pytest

from appliance.app.state import MARK_FILE, claim_state
from appliance.delivery.backup import back_up, bring_in
from appliance.delivery.swap import finish_alone
from appliance.errors import DeliveryError, StoreError
from appliance.stores.database import Database
from appliance.stores.form import FORM, NAME
from appliance.stores.lock import alone_in
from tests.support.bundles import archive_of, members_of
from tests.support.updates import CUT, cut_power, rows_in, write_database

MODEL = "models/gate/model.onnx"
PICTURE = "models/gate/verify/Hall 3 – Tor.jpg"


@pytest.fixture
def state(tmp_path):
    """A state folder in use."""
    folder = tmp_path / "state"
    for name, text in ((MODEL, "weights"), (PICTURE, "picture")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    claim_state(folder)
    write_database(folder, FORM, rows=5)
    return folder


def saved(state, tmp_path, name="backup"):
    """A backup of it, as a file."""
    path = tmp_path / name
    with path.open("xb") as out:
        back_up(state, out, work=tmp_path, now_s=1.8e9)
    return path


def bring(path, state, now_s=1.9e9):
    """Bring it in."""
    with path.open("rb") as archive:
        return bring_in(archive, state, judge=claim_state, now_s=now_s)


def files_of(folder):
    """Contents by path, but the database, whose bytes may differ."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith((NAME, "lock"))
    }


def test_a_backup_brings_back_all_that_was(state, tmp_path):
    """The database, the mark, models and pictures; into a folder that has none of it."""
    backup, other = saved(state, tmp_path), tmp_path / "other"
    other.mkdir()
    bring(backup, other)
    assert files_of(other) == files_of(state)
    assert rows_in(other) == 5


def test_what_was_there_is_put_aside(state, tmp_path):
    """As a whole, and only the newest of such folders stays."""
    backup = saved(state, tmp_path)
    (state / MODEL).write_text("newer")
    (state / "left-over").write_text("more")
    bring(backup, state)
    (aside,) = state.glob("before-restore-*")
    assert (state / MODEL).read_text() == "weights"
    assert not (state / "left-over").exists()
    assert ((aside / MODEL).read_text(), (aside / "left-over").read_text()) == ("newer", "more")
    bring(backup, state, now_s=2.0e9)
    (again,) = state.glob("before-restore-*")
    assert again != aside


def test_what_was_put_aside_is_in_no_backup(state, tmp_path):
    """Nor is anything that belongs to a run, or is half done."""
    bring(saved(state, tmp_path), state)
    (state / ".coming-half").write_text("half")
    (state / f"{NAME}.damaged-2026").write_text("damaged")
    with alone_in(state):
        names = [*members_of(saved(state, tmp_path, "second"))]
    assert names == ["manifest.json", NAME, MARK_FILE, MODEL, PICTURE]


def test_a_backup_is_made_while_the_station_writes(state, tmp_path):
    """It holds what was committed at one moment, not what lies in the file beside."""
    (state / NAME).unlink()
    database = Database(state, wall_s=lambda: 1.8e9)
    database.start()
    stop = threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            n += 1
            row = ("INSERT INTO audit VALUES (NULL, ?, 'x', '', '', '')", (n,))
            database.submit(lambda c, row=row: c.exec_driver_sql(*row)).result(10)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        backup = saved(state, tmp_path)
    finally:
        stop.set()
        writer.join()
        database.stop()
        database.join(5)
    other = tmp_path / "other"
    other.mkdir()
    bring(backup, other)
    raw = sqlite3.connect(other / NAME)
    assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    kept = [at_s for (at_s,) in raw.execute("SELECT at_s FROM audit ORDER BY id")]
    raw.close()
    assert kept == [*range(1, len(kept) + 1)]


def test_a_file_that_changes_meanwhile_is_told(state, tmp_path, monkeypatch):
    """Rather than kept as a file whose hash is wrong."""
    from appliance.delivery import backup

    def write_and_change(out, members):
        backup_write(out, members)
        (state / MODEL).write_text("changed")

    backup_write = backup.write_archive
    monkeypatch.setattr(backup, "write_archive", write_and_change)
    with pytest.raises(DeliveryError, match=r"model\.onnx has changed meanwhile"):
        back_up(state, io.BytesIO(), work=tmp_path, now_s=1.8e9)


@pytest.mark.parametrize(("step", "is_in"), [("_described", False), ("write_archive", True)])
def test_a_file_that_goes_meanwhile_is_no_trouble(state, tmp_path, monkeypatch, step, is_in):
    """As a picture whose time has come, before it is read or once it is written."""
    from appliance.delivery import backup

    real = getattr(backup, step)

    def removing(*words):
        if is_in:
            real(*words)
        (state / PICTURE).unlink(missing_ok=True)
        return None if is_in else real(*words)

    monkeypatch.setattr(backup, step, removing)
    other = tmp_path / "other"
    other.mkdir()
    bring(saved(state, tmp_path), other)
    assert (other / PICTURE).exists() == is_in
    assert (other / MODEL).exists()


@pytest.mark.parametrize("at", range(5))
def test_a_changed_byte_anywhere_is_found_before_anything_is_touched(state, tmp_path, at):
    """The state stays what it is, with nothing beside."""
    content = members_of(saved(state, tmp_path))
    name = [*content][at]
    changed = bytearray(content[name])
    changed[len(changed) // 2] ^= 1
    content[name] = bytes(changed)
    broken = tmp_path / "broken"
    broken.write_bytes(archive_of(*content.items()).getvalue())
    before = files_of(state)
    with pytest.raises(DeliveryError):
        bring(broken, state)
    assert files_of(state) == before
    assert not [*state.glob(".*")]


@pytest.mark.parametrize("share", [0, 0.2, 0.6])
def test_a_backup_that_is_cut_short_is_refused(state, tmp_path, share):
    """And told as such."""
    content = saved(state, tmp_path).read_bytes()
    short = tmp_path / "short"
    short.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DeliveryError, match="cut short"):
        bring(short, state)


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "a/../../escaped", "a//b", ""])
def test_no_name_leads_out_of_the_folder(state, tmp_path, name):
    """A backup need not be ours."""
    content = members_of(saved(state, tmp_path))
    manifest = json.loads(content["manifest.json"])
    manifest["files"][0]["name"] = name
    evil = tmp_path / "evil"
    evil.write_bytes(archive_of(("manifest.json", json.dumps(manifest).encode())).getvalue())
    with pytest.raises(DeliveryError, match=r"files\.0\.name: .*plain path inside a folder"):
        bring(evil, state)


@pytest.mark.parametrize("what", ["mark", "database"])
def test_a_backup_of_a_newer_release_is_refused_with_a_hint(state, tmp_path, what):
    """Whichever of the two forms is newer; the state stays."""
    other = tmp_path / "newer"
    other.mkdir()
    claim_state(other)
    write_database(other, FORM + (what == "database"), rows=1)
    if what == "mark":
        (other / MARK_FILE).write_text("99\n")
    backup = saved(other, tmp_path)
    with pytest.raises(StoreError, match="of a newer one") as caught:
        bring(backup, state)
    assert "Run the newer release" in caught.value.hint
    assert rows_in(state) == 5


def test_a_state_that_a_station_uses_is_left_alone(state):
    """Its lock decides."""
    with alone_in(state), pytest.raises(StoreError, match="another station runs"), alone_in(state):
        pass


def test_a_power_cut_at_any_moment_leaves_the_old_state_or_the_new_one(state, tmp_path):
    """Never a mixture: the next start finishes what was begun, or nothing was."""
    backup = saved(state, tmp_path)
    for name in (MODEL, "left-over"):
        (state / name).write_text("newer")
    write_database(state, FORM, rows=100)
    cuts, found = 0, set()
    while True:
        box = tmp_path / f"box-{cuts}"
        shutil.copytree(state, box)
        if not _is_cut(backup, box, cuts):
            break
        claim_state(box)
        told = ((box / MODEL).read_text(), (box / "left-over").exists(), rows_in(box))
        assert told in {("newer", True, 105), ("weights", False, 5)}
        assert (box / PICTURE).read_text() == "picture"
        found.add(told)
        cuts += 1
    assert len(found) == 2
    assert cuts > 15


def _is_cut(backup, box, after):
    child = os.fork()
    if child == 0:
        cut_power(box, after)
        code = 1
        try:
            bring(backup, box)
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, CUT}
    return code == CUT


def test_nothing_is_finished_where_nothing_was_begun(state):
    """And a station that runs is not disturbed by those who only ask."""
    with alone_in(state):
        before = sorted(state.rglob("*"))
        finish_alone(state)
        assert sorted(state.rglob("*")) == before
