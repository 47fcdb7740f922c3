"""Backups: all of the state, proven before it is used, and never half in place."""

import io
import json
import os
import shutil
import sqlite3
import sys
import threading
from contextlib import closing

import pytest

from appliance.app.state import MARK_FILE, claim_state
from appliance.catalog.files import sync
from appliance.delivery import swap
from appliance.delivery.backup import back_up, bring_in
from appliance.delivery.manifest import File
from appliance.delivery.swap import undo_alone
from appliance.errors import DeliveryError, StoreError
from appliance.stores.database import Database
from appliance.stores.form import FORM, NAME, UnfitError, form_in, form_of
from appliance.stores.lock import alone_in
from tests.support.bundles import archive_of, members_of
from tests.support.updates import (
    CUT,
    break_disk,
    cut_power,
    in_child,
    rows_in,
    write_database,
)

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
    (state / ".unpacked-half").write_text("half")
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


OLD, NEW = ("newer", True, 105), ("weights", False, 5)


@pytest.fixture
def backup(state, tmp_path):
    """A backup of the state as it was first."""
    return saved(state, tmp_path)


@pytest.fixture
def newer(state, backup):  # noqa: ARG001 - it is made before
    """The state once more has happened, since that backup."""
    for name in (MODEL, "left-over"):
        (state / name).write_text("newer")
    write_database(state, FORM, rows=100)
    return state


def told(box):
    """Which of the two states it is; the picture is part of both."""
    assert (box / PICTURE).read_text() == "picture"
    return (box / MODEL).read_text(), (box / "left-over").exists(), rows_in(box)


def restored(backup, box, fault, at):
    """The exit code of a restore with a fault at a change of the disk; a sync is one as well."""

    def synced(path):
        sys.audit("os.truncate", str(path))
        sync(path)

    def work():
        swap.sync, swap.os.sync = synced, lambda: None
        fault(box, at)
        bring(backup, box)

    return in_child(work)


def test_a_power_cut_at_any_moment_leaves_the_old_state_or_the_new_one(newer, backup, tmp_path):
    """Never a mixture: the next start goes back to the old one, until the new one is whole."""
    cuts, found = 0, []
    while True:
        box = tmp_path / f"box-{cuts}"
        shutil.copytree(newer, box)
        if restored(backup, box, cut_power, cuts) == 0:
            break
        claim_state(box)
        found.append(told(box))
        assert found[-1] in {OLD, NEW}
        cuts += 1
    assert found == sorted(found, key=lambda each: each == NEW)
    assert set(found) == {OLD, NEW}
    assert cuts > 15


@pytest.mark.parametrize("lasts", [1, 10_000], ids=["once", "from then on"])
def test_a_restore_that_fails_at_any_step_leaves_the_old_state(newer, backup, tmp_path, lasts):
    """Whatever the disk refuses, syncs included: what was there is there at the next start."""
    failures = 0
    for at in range(1000):
        box = tmp_path / f"box-{at}"
        shutil.copytree(newer, box)
        code = restored(backup, box, break_disk, range(at, at + lasts))
        claim_state(box)
        assert told(box) == (NEW if code == 0 else OLD)
        assert not [*box.glob(".coming-*"), *box.glob(".entering-*")]
        failures += code != 0
        if at > failures + 3:  # the last step is done; what comes after it may fail
            break
    assert failures > 20


def test_going_back_may_be_cut_off_at_any_moment_as_well(newer, backup, tmp_path):
    """It goes on at the start after that."""
    pairs = 0
    for first in (14, 19, 24):  # somewhere in the exchange
        for second in range(0, 20, 3):
            box = tmp_path / f"box-{first}-{second}"
            shutil.copytree(newer, box)
            assert restored(backup, box, cut_power, first) == CUT
            cut = in_child(lambda box=box, at=second: (cut_power(box, at), undo_alone(box)))
            claim_state(box)
            assert told(box) == OLD
            pairs += cut == CUT
    assert pairs > 6


def test_a_restore_that_failed_is_undone_before_a_backup_is_made(newer, backup, tmp_path):
    """Else it would be a backup of half a state."""
    assert restored(backup, newer, cut_power, 20) == CUT
    assert not (newer / MODEL).exists()
    other = tmp_path / "other"
    other.mkdir()
    bring(saved(newer, tmp_path, "second"), other)
    assert told(other) == OLD


def test_nothing_is_undone_where_nothing_was_begun(state):
    """And a station that runs is not disturbed by those who only ask."""
    with alone_in(state):
        before = sorted(state.rglob("*"))
        undo_alone(state)
        assert sorted(state.rglob("*")) == before


@pytest.mark.parametrize(
    "name",
    [
        ".releases/1.0/form",
        ".releases",
        ".coming-x/form",
        ".entering-x/form",
        ".unpacked-x/form",
        ".hidden",
        "models/gate/.pull-x/model.onnx",
        "models/.x",
        "lock",
        "lock/x",
        "health.sock",
        "lost+found/x",
        "before-restore-2026/form",
        f"{NAME}-wal",
        f"{NAME}/x",
        "form/x",
        "models",
    ],
)
def test_names_that_no_backup_has_are_refused_before_anything_is_touched(state, tmp_path, name):
    """They would take the place of what belongs to the folder, or to a run."""
    (state / ".releases/1.0").mkdir(parents=True)
    (state / ".releases/1.0/form").write_text("1")
    content = {each: data for each, data in members_of(saved(state, tmp_path)).items() if each}
    hostile = {**{k: content[k] for k in (NAME, MARK_FILE) if not name.startswith(k)}, name: b"1"}
    manifest = json.loads(content["manifest.json"])
    manifest["files"] = [File.of(*each).model_dump() for each in hostile.items()]
    evil = tmp_path / "evil"
    document = ("manifest.json", json.dumps(manifest).encode())
    evil.write_bytes(archive_of(document, *hostile.items()).getvalue())
    before = files_of(state)
    with pytest.raises(DeliveryError, match="no backup of a station has such a file"):
        bring(evil, state)
    assert files_of(state) == before
    assert [path.name for path in state.glob(".*")] == [".releases"]
    claim_state(state)


def test_a_database_that_could_keep_the_station_busy_for_ever_is_none_of_ours(state):
    """A view may compute without an end; nobody asks one."""
    with closing(sqlite3.connect(state / NAME)) as raw, raw:
        raw.execute("DROP TABLE alembic_version")
        raw.execute(
            "CREATE VIEW alembic_version(version_num) AS WITH RECURSIVE "
            "n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
        )
    assert form_of(state) == 0
    with closing(sqlite3.connect(state / NAME)) as raw, pytest.raises(UnfitError):
        form_in(raw)


def test_what_belongs_to_the_folder_stays_in_it(state, tmp_path):
    """What root keeps on a disk of its own, and what releases before had; a backup has neither."""
    for name in ("lost+found", ".releases"):
        (state / name).mkdir()
        (state / name / "x").write_text("stays")
    (state / "locker").write_text("goes")
    backup = saved(state, tmp_path)
    assert [each for each in members_of(backup) if each.endswith("/x")] == []
    bring(backup, state)
    assert [(state / name / "x").read_text() for name in ("lost+found", ".releases")] == [
        "stays",
        "stays",
    ]
    (aside,) = state.glob("before-restore-*")
    assert sorted(path.name for path in aside.iterdir()) == [NAME, "form", "locker", "models"]


def test_a_file_whose_name_is_no_text_is_named(state, tmp_path):
    """A picture from an old stick: no backup that lacks it is made without a word."""
    (state / os.fsdecode(b"models/gate/verify/\xdcber.jpg")).touch()
    with pytest.raises(
        DeliveryError, match=r"verify/\\udcdcber\.jpg.*no backup can hold"
    ) as caught:
        saved(state, tmp_path)
    assert "Rename it" in caught.value.hint
