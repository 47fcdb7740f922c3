"""Updates: what the inbox may ask for, and that one whole release runs, whatever happens."""

import json
import os
import sqlite3
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from appliance.catalog.files import remove_tree
from appliance.delivery.journal import Entry, Journal, Step
from appliance.delivery.snapshot import OwnersState
from appliance.errors import DeliveryError
from appliance.stores.form import NAME, form_of
from appliance.web.tabs.system.page import render_fixed
from appliance.web.templates import Pages
from tests.support.bundles import Keys
from tests.support.updates import Box, DirectState, rows_in, write_database, write_release
from tests.support.web import tab_context

PAGES = Pages(base="", station_name="", version="0.0")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """The keys of the maker."""
    return Keys.make(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory, keys):
    """Releases by version: good ones, and those that something is wrong with."""
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "0.2.0": write_release(folder, keys, "0.2.0", ready=True, form=1),
        "0.3.0": write_release(folder, keys, "0.3.0", ready=True, form=2),
        "0.4.0": write_release(folder, keys, "0.4.0", ready=False, form=2),
        "0.5.0": write_release(folder, keys, "0.5.0", ready=False, form=1, silent=True),
    }


@pytest.fixture
def box(tmp_path, keys, monkeypatch):
    """A box on which release 0.1.0 runs; it need not wait for the disk of the tests."""
    monkeypatch.setattr("appliance.delivery.releases.os.sync", lambda: None)
    return Box(tmp_path / "box", keys)


@pytest.fixture
def open_path():
    """A folder that other users reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def links(box):
    """Where each link leads."""
    names = ("current", "previous", "updater")
    return tuple(box.releases.led_to(name) for name in names)


def installed(box):
    """The releases on the disk."""
    return sorted(path.name for path in (box.folder / "opt" / "releases").iterdir())


def test_a_bundle_in_the_inbox_becomes_the_release_that_runs(box, bundles):
    """The one before is kept, the inbox is empty, and the result says so."""
    box.bring(bundles["0.2.0"])
    box.update()
    assert links(box) == ("0.2.0", "0.1.0", "")
    assert installed(box) == ["0.1.0", "0.2.0"]
    assert [*box.inbox.iterdir()] == []
    last = box.last()
    assert (last.is_done, last.version) == (True, "0.2.0")
    assert last.message == "release 0.2.0 runs, in the place of 0.1.0"


def test_only_the_release_before_is_kept(box, bundles):
    """Older ones make room."""
    for version in ("0.2.0", "0.3.0"):
        box.bring(bundles[version])
        box.update()
    assert links(box) == ("0.3.0", "0.2.0", "")
    assert installed(box) == ["0.2.0", "0.3.0"]


@pytest.mark.parametrize(
    ("version", "why"), [("0.4.0", "the model is gone"), ("0.5.0", "it does not answer")]
)
def test_a_release_that_does_not_prove_itself_is_undone(box, bundles, version, why):
    """One that never gets ready, and one that never answers: the old one runs, with its state."""
    box.bring(bundles[version])
    box.update()
    assert links(box) == ("0.1.0", "", "")
    assert installed(box) == ["0.1.0"]
    assert box.service.ask()["ready"]
    assert (form_of(box.state), rows_in(box.state)) == (1, 3)
    last = box.last()
    assert (last.is_done, last.version) == (False, "0.1.0")
    assert why in last.message
    assert "release 0.1.0 runs again" in last.message


def test_state_that_the_old_release_can_read_is_left_as_it_is(box, bundles):
    """What was written meanwhile is worth more than the copy."""
    box.bring(bundles["0.5.0"])
    box.update()
    assert "with the state that it had then" not in box.last().message


def test_a_release_need_not_be_better_than_the_old_one(box, bundles):
    """A station that was not ready before, as without a model, may take an update."""
    box.service.stop()
    box.bring(bundles["0.4.0"])
    box.update()
    assert box.running == "0.4.0"


def test_what_does_not_take_the_settings_is_never_switched_to(box, bundles):
    """The station is not even stopped."""
    box.service.is_settled = False
    box.bring(bundles["0.2.0"])
    started = (box.folder / "runs.json").stat().st_mtime_ns
    box.update()
    assert (box.folder / "runs.json").stat().st_mtime_ns == started
    assert installed(box) == ["0.1.0"]
    assert "does not take this box's settings" in box.last().message


def test_a_file_named_rollback_brings_the_release_before(box, bundles):
    """With the state that it had, where the newer one has a form that it cannot read."""
    box.bring(bundles["0.3.0"])
    box.update()
    assert (form_of(box.state), rows_in(box.state)) == (2, 103)
    (box.inbox / "rollback").touch()
    box.update()
    assert links(box) == ("0.1.0", "0.3.0", "")
    assert (form_of(box.state), rows_in(box.state)) == (1, 3)
    assert box.last().is_done
    assert "release 0.1.0 runs with the state that it had then" in box.last().message


def test_a_second_rollback_goes_forward_again(box, bundles):
    """To the state that the newer release makes of the one that is there now."""
    box.bring(bundles["0.3.0"])
    box.update()
    for version in ("0.1.0", "0.3.0"):
        (box.inbox / "rollback").touch()
        box.update()
        assert box.running == version
        assert box.service.ask()["ready"]


def test_there_may_be_nothing_to_go_back_to(box):
    """Then that is said, and the order leaves the inbox."""
    (box.inbox / "rollback").touch()
    box.update()
    assert box.last().message == "no release before this one is kept here"
    assert [*box.inbox.iterdir()] == []


def test_going_back_opens_no_way_to_a_release_in_between(box, bundles):
    """The newest that ever ran here is what counts, not the one that runs; it may come again."""
    box.bring(bundles["0.3.0"])
    box.update()
    (box.inbox / "rollback").touch()
    box.update()
    assert box.running == "0.1.0"
    box.bring(bundles["0.2.0"])
    box.update()
    assert box.running == "0.1.0"
    assert box.last().message == ("release 0.2.0 is older than 0.3.0, the newest that has run here")
    box.bring(bundles["0.3.0"])
    box.update()
    assert box.running == "0.3.0"


def test_a_release_that_did_not_prove_itself_is_not_the_newest(box, bundles):
    """One that is older than it, and mends it, is taken."""
    for version in ("0.4.0", "0.2.0"):
        box.bring(bundles[version])
        box.update()
    assert box.running == "0.2.0"


@pytest.mark.parametrize("text", ["", "dancing", "\0" * 20, None])
def test_where_the_newest_is_not_known_what_is_installed_counts(box, bundles, text):
    """As after a disk's fault, or where older releases kept no note of it."""
    box.bring(bundles["0.3.0"])
    box.update()
    noted = box.folder / "opt" / "newest"
    assert noted.read_text() == "0.3.0\n"
    (box.inbox / "rollback").touch()
    box.update()
    noted.unlink() if text is None else noted.write_text(text)
    box.bring(bundles["0.2.0"])
    box.update()
    assert box.running == "0.1.0"
    assert "is older than 0.3.0" in box.last().message


def test_root_may_take_the_way_back_away(box, bundles):
    """As the documents say: by removing the link to the release before."""
    box.bring(bundles["0.2.0"])
    box.update()
    (box.folder / "opt" / "previous").unlink()
    (box.inbox / "rollback").touch()
    box.update()
    assert box.running == "0.2.0"
    assert box.last().message == "no release before this one is kept here"


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "empty", "text"])
def test_whatever_lies_in_the_inbox_is_answered_and_leaves(box, kind, tmp_path):
    """No link is followed, nothing is waited for, and what others own stays."""
    order, precious = box.inbox / "evil.bundle", tmp_path / "precious"
    precious.write_text("mine")
    if kind == "link":
        order.symlink_to(precious)
    elif kind == "folder":
        order.mkdir()
        (order / "evil.bundle").symlink_to(precious)
    elif kind == "pipe":
        os.mkfifo(order)
    else:
        order.write_text("" if kind == "empty" else "not a bundle" * 1000)
    box.update()
    assert [*box.inbox.iterdir()] == []
    assert precious.read_text() == "mine"
    assert (box.last().is_done, box.last().order) == (False, "evil.bundle")
    assert links(box)[0] == "0.1.0"


def nested(folder, depth=3000):
    """A folder with so many in it, one in the other; deeper than a path can say."""
    folder.mkdir()
    top = here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("deeper", dir_fd=here)
        inner = os.open("deeper", os.O_RDONLY, dir_fd=here)
        if here != top:
            os.close(here)
        here = inner
    os.close(here)
    os.close(top)


@pytest.mark.parametrize("name", ["a.bundle", "rollback"])
def test_a_folder_however_deep_keeps_no_other_order_waiting(box, bundles, name):
    """It is out of the way in one step, and is gone in the end."""
    nested(box.inbox / name)
    box.bring(bundles["0.2.0"])
    box.update()
    assert box.running == "0.2.0"
    assert [*box.inbox.iterdir()] == []


def test_a_folder_of_anything_is_removed_and_nothing_that_it_leads_to(tmp_path):
    """Links, pipes, sockets, names that are no text; folders of the same names at every level."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "kept").touch()
    here = tmp_path / "folder"
    for _ in range(4):
        here.mkdir()
        os.mkfifo(here / "pipe")
        (here / "link").symlink_to(precious)
        (here / os.fsdecode(b"\xdc\n")).touch()
        (here / "beside" / "same").mkdir(parents=True)
        (here / "beside" / "same" / "file").touch()
        here = here / "same"
    remove_tree(tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious"]
    assert (precious / "kept").exists()
    (tmp_path / "folder").symlink_to(precious)
    with pytest.raises(OSError, match="Not a directory"):
        remove_tree(tmp_path / "folder")


NAMES = [
    b"\xdcpdate.bundle",
    b"a\nb.bundle",
    b"\x1b[2J.bundle",
    "\u202egnp.bundle".encode(),
    b"<b>&amp;{{1}}{}%s'\".bundle",
    b"-rf.bundle",
    b" .bundle",
    b"x" * 248 + b".bundle",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_no_name_in_the_inbox_breaks_the_page(box, name, kind):
    """It is answered by its name, as far as that can be said, and leaves."""
    order = box.inbox / os.fsdecode(name)
    order.mkdir() if kind == "folder" else order.touch()
    box.update()
    assert [*box.inbox.iterdir()] == []
    last = box.last()
    assert not last.is_done
    assert last.order.isprintable()
    assert last.message.isprintable()
    page = render_fixed(tab_context(PAGES, last_update=last), is_admin=False)
    page.encode()
    assert "Last update" in page
    assert "<b>" not in page


def test_an_order_that_cannot_be_taken_away_keeps_no_other_waiting(box, bundles, monkeypatch):
    """All others are done, and the run ends with an error that names it."""

    def stays(path):
        if path.name == "a.bundle":
            raise OSError(16, "Device or resource busy")
        path.unlink()

    monkeypatch.setattr("appliance.delivery.updater.take_away", stays)
    (box.inbox / "a.bundle").touch()
    box.bring(bundles["0.2.0"])
    with pytest.raises(DeliveryError, match=r"a\.bundle was answered, and cannot be removed"):
        box.update()
    assert box.running == "0.2.0"
    assert [path.name for path in box.inbox.iterdir()] == ["a.bundle"]


def test_what_asks_for_nothing_stays(box):
    """As a file that a program has not renamed to its name yet."""
    for name in ("0.2.0.bundle.filepart", ".0.2.0.bundle.xYz", "notes.txt"):
        (box.inbox / name).write_text("")
    box.update()
    assert len([*box.inbox.iterdir()]) == 3
    assert box.last() is None


def test_a_bundle_that_is_still_written_is_waited_for(box, bundles):
    """As long as somebody has it open; then it is taken as a whole."""
    content, seen = bundles["0.2.0"].read_bytes(), []
    half = (box.inbox / "0.2.0.bundle").open("wb")
    half.write(content[:1000])
    half.flush()

    def finish():
        seen.append(box.running)
        half.write(content[1000:])
        half.close()

    copying = threading.Timer(0.5, finish)
    copying.start()
    box.update()
    copying.join()
    assert seen == ["0.1.0"]
    assert box.running == "0.2.0"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"step": "dancing", "order": "x"}', "\0" * 99])
def test_a_damaged_journal_keeps_nobody_from_updating(box, bundles, text):
    """The release that runs is taken as it is."""
    (box.folder / "updates" / "journal.json").write_text(text)
    box.bring(bundles["0.2.0"])
    box.update()
    assert box.running == "0.2.0"


def test_a_bundle_that_never_ends_well_is_given_up(box, bundles):
    """Cut off three times while it is installed, it may be what cuts the power."""
    box.bring(bundles["0.2.0"])
    Journal(box.folder / "updates").write(Entry(Step.PREPARING, "0.2.0.bundle", tries=3))
    box.update()
    assert "cut off 3 times" in box.last().message
    assert box.running == "0.1.0"


def test_a_release_that_was_cut_off_twice_while_it_was_watched_is_undone(box, bundles):
    """Once may be chance."""
    box.bring(bundles["0.2.0"])
    box.add_release("0.2.0", ready=True, form=1)
    box.releases.lead("updater", "0.1.0")
    box.releases.lead("current", "0.2.0")
    entry = Entry(Step.WATCHING, "0.2.0.bundle", "0.1.0", "0.2.0", tries=2)
    Journal(box.folder / "updates").write(entry)
    box.update()
    assert box.running == "0.1.0"
    assert "cut off each time" in box.last().message


def test_a_disk_that_fills_up_meanwhile_undoes_what_was_installed(box, bundles, monkeypatch):
    """The message says what to do, and the next bundle finds all in order."""

    def full(*_):
        raise OSError(28, "No space left on device", "wheel")

    box.bring(bundles["0.2.0"])
    with monkeypatch.context() as patch:
        patch.setattr("tests.support.updates.shutil.copy", full)
        box.update()
    assert "No space left" in box.last().message
    assert "Make room" in box.last().hint
    assert installed(box) == ["0.1.0"]
    box.bring(bundles["0.2.0"])
    box.update()
    assert box.running == "0.2.0"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize(("version", "ends_with"), [("0.3.0", "0.3.0"), ("0.4.0", "0.1.0")])
def test_a_power_cut_at_any_moment_leaves_one_working_release(
    tmp_path, keys, bundles, monkeypatch, *, version, ends_with, step
):
    """Before every change of the disk, or every fourth: what starts then is whole, and it ends."""
    monkeypatch.setattr("appliance.delivery.releases.os.sync", lambda: None)
    cuts = 0
    while True:
        box = Box(tmp_path / f"box-{cuts}", keys)
        box.bring(bundles[version])
        if not box.update_until_cut(cuts):
            break
        assert box.running in {"0.1.0", version}
        # A new release may be too broken to mend itself: the old one does, while there is doubt.
        assert box.running == "0.1.0" or links(box)[2] == "0.1.0" or ends_with == version
        box.service.start()  # the host boots: what `current` leads to is started
        box.update()
        assert links(box) == (ends_with, "" if ends_with == "0.1.0" else "0.1.0", "")
        assert box.service.ask()["ready"]
        assert box.last().is_done == (ends_with == version)
        assert [*box.inbox.iterdir()] == []
        assert not (box.folder / "updates" / "journal.json").exists()
        cuts += step
    assert cuts > 40


@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", [20, pytest.param(3, marks=pytest.mark.long)])
def test_a_second_power_cut_while_the_first_is_mended_is_no_worse(
    tmp_path, keys, bundles, monkeypatch, step
):
    """Each of some moments, and then each of some others."""
    monkeypatch.setattr("appliance.delivery.releases.os.sync", lambda: None)
    for first in range(0, 100, step):
        for second in range(0, 60, step):
            box = Box(tmp_path / f"box-{first}-{second}", keys)
            box.bring(bundles["0.4.0"])
            box.update_until_cut(first)
            box.service.start()
            box.update_until_cut(second)
            box.service.start()
            box.update()
            assert box.running == "0.1.0"
            assert box.service.ask()["ready"]


def test_results_are_lines_of_json_for_everybody(box):
    """The newest last; the station, which is another user, may read them."""
    for _ in range(2):
        (box.inbox / "rollback").touch()
        box.update()
    path = box.folder / "updates" / "results.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["order"] for line in lines] == ["rollback", "rollback"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_state_that_cannot_be_brought_back_keeps_no_station_from_starting(
    box, bundles, monkeypatch
):
    """The old release runs, and what is missing is told."""

    def broken(*_):
        raise OSError(5, "Input/output error")

    box.bring(bundles["0.4.0"])
    with monkeypatch.context() as patch:
        patch.setattr(DirectState, "bring_back", _failing_at_the_second(broken))
        box.update()
    assert box.running == "0.1.0"
    assert (box.folder / "runs.json").exists()
    assert "Input/output error" in box.last().message


def _failing_at_the_second(broken):
    calls = []

    def bring_back(*words):
        calls.append(words)
        return broken() if len(calls) > 1 else False

    return bring_back


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to act as another user")
def test_the_state_is_kept_and_brought_back_as_its_owner(open_path):
    """So nothing in it comes to belong to root, and root follows nobody's links."""
    state, secret = open_path / "state", open_path / "secret"
    state.mkdir(mode=0o755)
    secret.write_text("root's")
    secret.chmod(0o600)
    write_database(state, 1, rows=3)
    for path in (state, state / NAME):
        os.chown(path, 12345, 12345)
    OwnersState(state).keep("0.1.0")
    write_database(state, 2, rows=5)
    assert OwnersState(state).bring_back("0.1.0")
    assert rows_in(state) == 3
    assert {path.stat().st_uid for path in state.rglob("*")} == {12345}
    (state / "form").symlink_to(secret)
    with pytest.raises(DeliveryError, match="symbolic links"):
        OwnersState(state).keep("0.2.0")
    (state / "form").unlink()
    (state / "form").write_bytes(b"1" * 101)
    with pytest.raises(DeliveryError, match="has more than 100 bytes"):
        OwnersState(state).keep("0.2.0")


def test_root_waits_for_a_state_that_cannot_be_copied_no_longer_than_it_says(tmp_path):
    """As while another program holds its database; the update ends with a sentence."""
    write_database(tmp_path, 1, rows=3)
    with closing(sqlite3.connect(tmp_path / NAME)) as held:
        held.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DeliveryError, match="cannot be copied in time"):
            OwnersState(tmp_path, limit_s=0.5).keep("0.1.0")
    OwnersState(tmp_path).keep("0.1.0")
    assert not OwnersState(tmp_path).bring_back("0.1.0")
