"""Does what the inbox asks for: a new release, or the one before.

    PREPARING   unpack, prove, install and try beside the release that runs
    SWITCHING   stop, keep the state, lead `current` to the new one, start
    WATCHING    until it has been well for long enough
    CONFIRMING  it has; the one before is kept        RETURNING  it has not; the old one runs again

Each step is in the journal before it begins, and may be done twice. So after a power cut at any
moment some whole release starts, and the next run goes on from the journal: it watches the new
release once more, and goes back when that is cut off as well.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from loguru import logger

from appliance.delivery.admission import DISK_HINT, Box, admit
from appliance.delivery.inbox import (
    ROLLBACK,
    empty_aside,
    is_coming,
    open_order,
    orders,
    take_away,
)
from appliance.delivery.install import Install
from appliance.delivery.journal import Entry, Journal, Step
from appliance.delivery.releases import CURRENT, PREVIOUS, UPDATER, Releases
from appliance.delivery.results import UpdateResult, record
from appliance.delivery.service import Service
from appliance.delivery.snapshot import OwnersState
from appliance.delivery.watch import ASK_EVERY_S, Ask, Clock, Patience, watch
from appliance.errors import ApplianceError, DeliveryError

INBOX: Final = "inbox"
UNPACKED: Final = ".unpacked"  # beside the releases: on their disk, and root's alone
OLD_STATE: Final = " with the state that it had then"
MOST_BEGINNINGS: Final = 3
MOST_WATCHES: Final = 2


@dataclass(frozen=True, slots=True)
class Host:
    """Where things lie on a host.

    Attributes:
        releases: what is installed.
        folder: of updates: the inbox, the journal, the results.
        keys: folder of the trusted public keys.
    """

    releases: Releases
    folder: Path
    keys: Path


@dataclass(frozen=True, slots=True)
class Station:
    """The station of a host, seen from outside.

    Attributes:
        service: who runs it.
        ask: how it is.
        state: what it keeps.
    """

    service: Service
    ask: Ask
    state: OwnersState


class Updater:
    """One run over the inbox; nobody else may do one meanwhile.

    Args:
        host: where things lie.
        station: what is updated.
        install: puts an unpacked bundle into a folder.
        patience: how long a new release is watched.
        clock: time, for waiting.
        wall_s: wall clock, for labels.
    """

    def __init__(
        self,
        host: Host,
        station: Station,
        *,
        install: Install,
        patience: Patience,
        clock: Clock,
        wall_s: Callable[[], float],
    ) -> None:
        self._releases, self._folder, self._keys = host.releases, host.folder, host.keys
        self._station = station
        self._install = install
        self._patience = patience
        self._clock = clock
        self._wall_s = wall_s
        self._journal = Journal(host.folder)
        self._inbox = host.folder / INBOX
        self._stuck: set[str] = set()

    def run(self) -> None:
        """Finish what was cut off, then do everything that the inbox asks for.

        Raises:
            ApplianceError, OSError: the station cannot be stopped or started, or the disk fails
                while a release is changed; the next run goes on there.
        """
        self._inbox.mkdir(parents=True, exist_ok=True)
        self._resume()
        while waiting := [each for each in orders(self._inbox) if each.name not in self._stuck]:
            whole = [order for order in waiting if not is_coming(order)]
            if whole:
                self._do(whole[0])
            else:
                self._clock.sleep(ASK_EVERY_S)
        empty_aside(self._inbox)
        if self._stuck:
            raise DeliveryError(
                f"{min(self._stuck)} was answered, and cannot be removed from the inbox",
                hint="Remove it by hand, as root.",
            )

    def _resume(self) -> None:
        entry = self._journal.read()
        if entry is None or entry.step is Step.PREPARING:
            return  # the running release was not touched; the order is in the inbox still
        logger.info("update to {}: goes on at {}", entry.new, entry.step)
        if entry.step is Step.CONFIRMING:
            self._confirm(entry)
        elif entry.step is Step.RETURNING:
            self._return(entry)
        elif entry.tries >= MOST_WATCHES:
            self._return(replace(entry, why="it was cut off each time while it was watched"))
        else:
            self._change(replace(entry, tries=entry.tries + 1))

    def _do(self, order: Path) -> None:
        try:
            new = self._before() if order.name == ROLLBACK else self._prepare(order)
        except ApplianceError as error:
            self._refuse(order, error)
        except OSError as error:
            reason = f"{error.filename or 'the disk'}: {error.strerror or error}"
            self._refuse(order, DeliveryError(reason, hint=DISK_HINT))
        else:
            answer = self._station.ask()
            was_ready = answer is not None and bool(answer["ready"])
            old = self._releases.running()
            self._change(Entry(Step.SWITCHING, order.name, old, new, was_ready=was_ready))

    def _before(self) -> str:
        """The release that ran before the one that runs."""
        before = self._releases.led_to(PREVIOUS)
        if before in {"", self._releases.running()}:
            raise DeliveryError(
                "no release before this one is kept here", hint="Bring a bundle instead."
            )
        return before

    def _prepare(self, order: Path) -> str:
        """The release in a bundle, installed beside the one that runs, and tried."""
        entry = self._journal.read()
        tries = entry.tries + 1 if entry is not None and entry.order == order.name else 1
        if tries > MOST_BEGINNINGS:
            raise DeliveryError(
                f"it was cut off {MOST_BEGINNINGS} times while it was installed",
                hint="Does the box keep its power? Then bring the bundle again.",
            )
        self._journal.write(Entry(Step.PREPARING, order.name, tries=tries))
        self._tidy()
        unpacked = self._releases.root / UNPACKED
        unpacked.mkdir(mode=0o700)
        box = Box.here(self._releases.running(), self._releases.newest())
        with open_order(order) as stream:
            version = admit(stream, box, keys=self._keys, into=unpacked).version
        logger.info("update: {} is sound; release {} is installed", order.name, version)
        self._releases.remove(version)
        self._install(unpacked, self._releases.folder(version))
        shutil.rmtree(unpacked)
        self._releases.complete(version)
        self._station.service.try_out(version)
        return version

    def _change(self, entry: Entry) -> None:
        self._journal.write(entry)
        try:
            if entry.step is Step.SWITCHING:
                entry = self._switch(entry)
            self._station.service.start()
            why = watch(
                self._station.ask, self._patience, self._clock, must_be_ready=entry.was_ready
            )
        except (ApplianceError, OSError) as error:
            why = str(error)
        if why:
            self._return(replace(entry, why=why))
        else:
            self._confirm(entry)

    def _switch(self, entry: Entry) -> Entry:
        """Have the next start be that of the new release."""
        station, releases = self._station, self._releases
        logger.info("update: from release {} to {}", entry.old, entry.new)
        station.service.stop()
        if releases.led_to(CURRENT) == entry.old:  # else it ran already, and may have migrated
            station.state.keep(entry.old)
            releases.lead(UPDATER, entry.old)
            releases.lead(CURRENT, entry.new)
        is_old_state = station.state.bring_back(entry.new)
        switched = replace(entry, step=Step.WATCHING, is_old_state=is_old_state)
        self._journal.write(switched)
        return switched

    def _return(self, entry: Entry) -> None:
        """Have the old release run again; from here there is no other way."""
        self._journal.write(replace(entry, step=Step.RETURNING))
        logger.error("update: release {} failed: {}", entry.new, entry.why)
        self._station.service.stop()
        self._releases.lead(CURRENT, entry.old)
        state = self._returned_state(entry.old)
        self._station.service.start()
        self._end(
            entry.order,
            DeliveryError(
                f"release {entry.new} did not prove itself ({entry.why}); "
                f"release {entry.old} runs again{state}",
                hint="Its log is on the System page and in the journal: tell its maker.",
            ),
        )

    def _returned_state(self, version: str) -> str:
        """What became of the state, as the end of a sentence; no trouble with it ends here."""
        try:
            is_brought = self._station.state.bring_back(version)
        except (ApplianceError, OSError) as error:
            return f", but {error}"
        return OLD_STATE if is_brought else ""

    def _confirm(self, entry: Entry) -> None:
        self._journal.write(replace(entry, step=Step.CONFIRMING))
        self._releases.confirm(entry.old, entry.new)
        self._releases.lead(PREVIOUS, entry.old)
        state = OLD_STATE if entry.is_old_state else ""
        done = f"release {entry.new} runs{state}, in the place of {entry.old}"
        self._end(entry.order, None, done)

    def _refuse(self, order: Path, error: ApplianceError) -> None:
        """Nothing was touched yet."""
        self._end(order.name, error)

    def _end(self, order: str, error: ApplianceError | None, done: str = "") -> None:
        """Tell what became of an order, and clear it away; the journal last."""
        message = str(error) if error is not None else done
        hint = error.hint if error is not None else ""
        level = "INFO" if error is None else "ERROR"
        logger.log(level, "update: {}: {}. {}", order, message, hint)
        result = UpdateResult(
            at=datetime.fromtimestamp(self._wall_s(), UTC).isoformat(timespec="seconds"),
            order=order,
            is_done=error is None,
            version=self._releases.led_to(CURRENT),
            message=message,
            hint=hint,
        )
        record(result, self._folder)
        self._releases.drop(UPDATER)
        self._tidy()
        self._take_away(order)
        self._journal.clear()

    def _take_away(self, order: str) -> None:
        """Have an order ask no more; one that cannot be taken away keeps no other waiting."""
        try:
            take_away(self._inbox / order)
        except OSError as error:
            logger.error("update: {} stays in the inbox: {}", order, error.strerror or error)
            self._stuck.add(order)

    def _tidy(self) -> None:
        """Remove what was half done, what was refused, and releases that nothing leads to."""
        empty_aside(self._inbox)
        shutil.rmtree(self._releases.root / UNPACKED, ignore_errors=True)
        self._releases.clean()
