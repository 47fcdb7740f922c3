"""Bundles, updates and backups, put together for the command line."""

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from appliance.app.clock import wall_s
from appliance.app.state import claim_state
from appliance.catalog.card import CARD_FILE
from appliance.catalog.library import WEIGHTS_FILE, Library, builtin_models_dir
from appliance.delivery.backup import back_up, bring_in
from appliance.delivery.bundle import make_bundle
from appliance.delivery.install import install
from appliance.delivery.manifest import BackupManifest, BundleManifest
from appliance.delivery.releases import Releases
from appliance.delivery.service import Systemd
from appliance.delivery.snapshot import OwnersState, become_owner
from appliance.delivery.updater import Host, Station, Updater
from appliance.delivery.watch import Clock, Patience
from appliance.delivery.wheels import fetch_wheels, release_of
from appliance.errors import DeliveryError, StoreError
from appliance.settings import Paths
from appliance.stores.lock import alone_in
from appliance.web.health import ask_health

STREAM: Final = Path("-")  # the standard input or output


def bundle(
    out: Path,
    key: Path,
    requirements: Path,
    wheels: Path | None,
    models: Mapping[str, Path],
    *,
    may_downgrade: bool,
) -> BundleManifest:
    """Make a bundle of given wheels, or of a checkout's lock.

    Raises:
        DeliveryError: something of it is missing or wrong.
    """
    with tempfile.TemporaryDirectory(prefix="wheels-") as work:
        if wheels is None:
            wheels = Path(work)
            fetch_wheels(requirements, requirements.absolute().parent.parent, wheels)
        release = release_of(requirements, wheels)
        return make_bundle(out, release, models, key=key, may_downgrade=may_downgrade)


def model_files(paths: Paths, names: Sequence[str]) -> dict[str, Path]:
    """What a bundle carries of models, by "NAME/FILE": weights, and cards that do not ship.

    Raises:
        ModelError: a model is not here, or its weights are not.
    """
    own = paths.state / "models"
    library = Library(builtin_models_dir(), own)
    files = {}
    for name in names:
        library.card(name)  # a wrong one travels nowhere
        files[f"{name}/{WEIGHTS_FILE}"] = library.weights(name)
        if (own / name / CARD_FILE).is_file():
            files[f"{name}/{CARD_FILE}"] = own / name / CARD_FILE
    return files


def run_updates(host: Host, state: Path, patience: Patience) -> None:
    """Finish what was cut off, and do what the inbox asks for.

    Raises:
        ApplianceError: another run is at it; or an update can go neither on nor back now.
    """
    updater = Updater(
        host,
        Station(Systemd(), partial(_ask, state), OwnersState(state)),
        install=install,
        patience=patience,
        clock=Clock(time.monotonic, time.sleep),
        wall_s=wall_s,
    )
    with _only_run(host.releases):
        try:
            updater.run()
        except OSError as error:
            raise DeliveryError(
                f"{error.filename or host.folder}: {error.strerror or error}",
                hint="It goes on at the next start.",
            ) from error


def backup(paths: Paths, out: Path) -> BackupManifest:
    """Write the state into a new file, which is left empty when that fails, or to "-".

    Root goes on as the folder's owner, so that nothing in there comes to belong to root.

    Raises:
        DeliveryError: the file is there already, or something cannot be read or written.
    """
    try:
        with _writing(out) as stream:
            become_owner(paths.state)
            return back_up(paths.state, stream, work=paths.temporary, now_s=wall_s())
    except OSError as error:
        raise DeliveryError(
            f"{error.filename or out}: {error.strerror or error}", hint="Choose another place."
        ) from error


def restore(paths: Paths, archive: Path) -> BackupManifest:
    """Put the state of a backup in the place of what is there; "-" is what comes in.

    Root goes on as for a backup.

    Raises:
        ApplianceError: a station runs, or the backup cannot be used; then nothing has changed.
    """
    try:
        with sys.stdin.buffer if archive == STREAM else archive.open("rb") as stream:
            become_owner(paths.state)
            with alone_in(paths.state):
                return bring_in(stream, paths.state, judge=claim_state, now_s=wall_s())
    except OSError as error:
        raise DeliveryError(
            f"{error.filename or archive}: {error.strerror or error}", hint="Choose another file."
        ) from error


@contextmanager
def _writing(out: Path) -> Iterator[IO[bytes]]:
    """A new file that is whole on the disk at the end, or empty; or the standard output."""
    if out == STREAM:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    with out.open("xb") as stream:
        try:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        except BaseException:
            stream.truncate(0)
            raise


def _ask(state: Path) -> Mapping[str, Any] | None:
    try:
        return ask_health(state)
    except StoreError:
        return None


@contextmanager
def _only_run(releases: Releases) -> Iterator[None]:
    with (releases.root / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DeliveryError(
                "an update is under way already", hint="Wait until it has ended."
            ) from error
        yield
