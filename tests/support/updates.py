"""A host on disk whose releases are as small as can be, and the service that would run them.

A release is a folder with a `behavior.json`: whether it gets ready, and which form of the database
it knows. Everything else is the real thing: bundles, links, journal, snapshots.
"""

import errno
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from appliance.delivery.releases import COMPLETE, CURRENT, Releases
from appliance.delivery.results import last_update
from appliance.delivery.snapshot import bring_back, keep_state
from appliance.delivery.updater import Host, Station, Updater
from appliance.delivery.watch import Clock, Patience
from appliance.errors import DeliveryError
from appliance.stores.form import APPLICATION_ID, NAME, form_of
from tests.support.bundles import Keys, write_bundle

BEHAVIOR = "behavior.json"
CUT = 77  # how a process ends whose power was cut
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.symlink", "os.mkdir", "os.truncate"}


def write_database(folder: Path, form: int, rows: int = 0) -> None:
    """A database of ours in this form, with `rows` of something."""
    with closing(sqlite3.connect(folder / NAME)) as raw, raw:
        raw.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num TEXT)")
        raw.execute("CREATE TABLE IF NOT EXISTS things (n INTEGER)")
        raw.execute("DELETE FROM alembic_version")
        raw.execute("INSERT INTO alembic_version VALUES (?)", (f"{form:04d}",))
        raw.executemany("INSERT INTO things VALUES (?)", [(n,) for n in range(rows)])
        raw.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        raw.execute(f"PRAGMA user_version = {form}")


def rows_in(folder: Path) -> int:
    """How many things are in the database."""
    with closing(sqlite3.connect(folder / NAME)) as raw:
        return raw.execute("SELECT count(*) FROM things").fetchone()[0]


@dataclass(slots=True)
class FakeService:
    """Runs whatever `current` leads to; what runs is kept in a file, so a cut does not forget it.

    Attributes:
        box: whose service it is.
        is_settled: whether it takes the settings of the box.
    """

    box: "Box"
    is_settled: bool = True

    def stop(self) -> None:
        """Nothing runs."""
        self._runs.unlink(missing_ok=True)

    def start(self) -> None:
        """The release runs, and brings the state to its form, unless that is newer."""
        folder = self.box.releases.root / CURRENT
        behavior = json.loads((folder / BEHAVIOR).read_text())
        form = form_of(self.box.state)
        if form > behavior["form"]:
            behavior = {"ready": False, "form": form, "silent": True}
        elif form < behavior["form"]:
            write_database(self.box.state, behavior["form"], rows=100)
        self._runs.write_text(json.dumps(behavior))

    def try_out(self, version: str) -> None:
        """The release looks at the settings."""
        if not self.is_settled:
            raise DeliveryError(f"release {version} does not take this box's settings")

    def ask(self):
        """How the station is."""
        if not self._runs.exists():
            return None
        behavior = json.loads(self._runs.read_text())
        if behavior.get("silent"):
            return None
        health = "ready" if behavior["ready"] else "failed"
        return {"ready": behavior["ready"], "health": health, "reasons": ["the model is gone"]}

    @property
    def _runs(self) -> Path:
        return self.box.folder / "runs.json"


class DirectState:
    """The state, without a process of its owner."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, version: str) -> None:
        """As the real one."""
        keep_state(self._folder, version)

    def bring_back(self, version: str) -> bool:
        """As the real one."""
        return bring_back(self._folder, version)


@dataclass(slots=True)
class Box:
    """A host in a folder, which release 0.1.0 runs on.

    Attributes:
        folder: all of it.
        keys: of the maker whom it trusts.
    """

    folder: Path
    keys: Keys
    service: FakeService = field(init=False)

    def __post_init__(self) -> None:
        for folder in (self.state, self.inbox):
            folder.mkdir(parents=True)
        self.add_release("0.1.0", ready=True, form=1)
        self.releases.lead(CURRENT, "0.1.0")
        write_database(self.state, 1, rows=3)
        self.service = FakeService(self)
        self.service.start()

    @property
    def releases(self) -> Releases:
        """What is installed."""
        return Releases(self.folder / "opt")

    @property
    def inbox(self) -> Path:
        """Where orders lie."""
        return self.folder / "updates" / "inbox"

    @property
    def state(self) -> Path:
        """The station's state folder."""
        return self.folder / "state"

    @property
    def running(self) -> str:
        """The version that `current` leads to."""
        return self.releases.running()

    def add_release(self, version: str, **behavior) -> None:
        """A release that is installed."""
        folder = self.releases.folder(version)
        folder.mkdir(parents=True)
        (folder / BEHAVIOR).write_text(json.dumps(behavior))
        (folder / COMPLETE).touch()

    def last(self):
        """The newest result."""
        return last_update(self.folder / "updates")

    def bring(self, bundle: Path) -> None:
        """Put a bundle into the inbox."""
        shutil.copyfile(bundle, self.inbox / bundle.name)

    def update(self) -> None:
        """One run of the updater; time passes as fast as it is asked for."""
        now_s = 0.0

        def sleep(seconds: float) -> None:
            nonlocal now_s
            now_s += seconds

        Updater(
            Host(self.releases, self.folder / "updates", self.keys.trusted),
            Station(self.service, self.service.ask, DirectState(self.state)),
            install=_install,
            patience=Patience(steady_s=10, grace_s=20, build_s=100),
            clock=Clock(lambda: now_s, sleep),
            wall_s=lambda: 1.8e9,
        ).run()

    def update_until_cut(self, after: int) -> bool:
        """The same in a process of its own, ended before its change number `after` of the disk.

        Returns:
            Whether it came so far.
        """

        def update() -> None:
            cut_power(self.folder, after)
            self.update()

        code = in_child(update)
        assert code in {0, CUT}
        return code == CUT


def write_release(folder: Path, keys: Keys, version: str, **behavior) -> Path:
    """A bundle of a release that behaves so."""
    told = folder / f"{version}.json"
    told.write_text(json.dumps(behavior))
    return write_bundle(folder, keys, version, models={f"release/{BEHAVIOR}": told})


def _install(unpacked: Path, folder: Path) -> None:
    folder.mkdir()
    shutil.copy(unpacked / "models" / "release" / BEHAVIOR, folder)


def cut_power(folder: Path, after: int) -> None:
    """Have this process vanish before it changes the disk for the nth time."""

    def cut(change: int) -> None:
        if change == after:
            os._exit(CUT)

    _at_each_change(folder, cut)


def break_disk(folder: Path, at: range) -> None:
    """Have the changes of the disk with these numbers fail, in this process and for good."""

    def fail(change: int) -> None:
        if change in at:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(folder))

    _at_each_change(folder, fail)


def _at_each_change(folder: Path, act: Callable[[int], None]) -> None:
    """Do something before each change below a folder; they are counted from 0."""
    numbers = count()

    def hook(event: str, args: tuple) -> None:
        writes = os.O_WRONLY | os.O_RDWR
        is_write = event == "open" and isinstance(args[2], int) and args[2] & writes
        is_here = any(str(each).startswith(str(folder)) for each in args[:2])
        if (is_write or event in CHANGES) and is_here:
            act(next(numbers))

    sys.addaudithook(hook)


def in_child(work: Callable[[], None]) -> int:
    """The exit code of a process that does this and ends: 0, CUT, or 1 for an error."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
