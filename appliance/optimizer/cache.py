"""Engines on disk: one folder for each complete key, written whole or not at all.

    <cache>/engines/<model>/<key>/engine.onnx|plan   what runs
                                  engine.json        the sidecar: key, contract, proof
                                  report.html|json   the proof for people

Where nothing could be made of a key, `refused.json` stands there instead and says why: no start
tries it again. An engine that is whole and still cannot be loaded is set aside under `<key>.aside`,
once: its successor that fails too stays, and the failure with it. No start begins a second rebuild.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from appliance.errors import EngineError, StoreError
from appliance.optimizer.key import EngineKey
from appliance.optimizer.sidecar import (
    REPORT,
    SIDECAR,
    EngineFile,
    key_of,
    opened,
    read_sidecar,
    sealed,
    write_sidecar,
)

REFUSAL = "refused.json"
BUILDING = ".building-"
ASIDE = ".aside"


@dataclass(frozen=True, slots=True)
class Stored:
    """A folder in the cache, whatever its state.

    Attributes:
        model: whose engine it is.
        folder: where it lies.
        size_bytes: of everything in it.
        made_s: wall clock of its last change.
        about: as "tensorrt 11.4 fp16, proven", or what is wrong with it.
    """

    model: str
    folder: Path
    size_bytes: int
    made_s: float
    about: str


class EngineCache:
    """The folder of engines."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: EngineKey) -> EngineFile | None:
        """The engine for `key`, or None where none is complete and intact."""
        return read_sidecar(self._place(key), key)

    def of_other_weights(self, key: EngineKey) -> Iterator[EngineFile]:
        """Engines that differ from `key` in nothing but the model's file, the newest first."""
        sidecars = self._place(key).parent.glob(f"*/{SIDECAR}")
        for sidecar in sorted(sidecars, key=lambda path: -path.stat().st_mtime):
            other = key_of(sidecar.parent)
            if other is None or self._place(other) != sidecar.parent or other == key:
                continue
            found = self.find(other)
            if found is not None and replace(other, weights_sha256=key.weights_sha256) == key:
                yield found

    def refusal(self, key: EngineKey) -> EngineError | None:
        """Why no engine can be made of `key`, where that was found out before."""
        try:
            document = opened((self._place(key) / REFUSAL).read_text(encoding="utf-8"))
            if document["key"] != asdict(key):
                return None
            return EngineError(document["message"], hint=document["hint"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # half a refusal is none: it is tried again

    def report(self, key: EngineKey) -> Path | None:
        """The report for people that lies with the engine, or with the reason why there is none."""
        path = self._place(key) / REPORT
        return path if path.is_file() else None

    @contextmanager
    def writing(self, key: EngineKey) -> Iterator[Path]:
        """A temporary folder that `commit` or `refuse` makes the key's; gone if neither does.

        What builds that were killed have left is cleared first: nobody else would.

        Raises:
            StoreError: the cache cannot be written.
        """
        parent = self._place(key).parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
            folder, held = _begin(parent)
        except OSError as error:
            raise _unwritable(error) from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)

    def commit(self, folder: Path, engine: EngineFile) -> EngineFile:
        """Make `folder`, from `writing`, the place of the engine in it. Atomic.

        Raises:
            StoreError: the cache cannot be written.
        """
        try:
            write_sidecar(engine)
        except OSError as error:
            raise _unwritable(error) from error
        self._put(folder, engine.key)
        found = self.find(engine.key)
        if found is None:
            raise EngineError(f"{engine.key.model}: the engine just written cannot be read back")
        return found

    def refuse(self, folder: Path, key: EngineKey, error: EngineError) -> None:
        """Make `folder` the place of the reason why there is no engine for `key`. Atomic.

        Raises:
            StoreError: the cache cannot be written.
        """
        document = {"key": asdict(key), "message": str(error), "hint": error.hint}
        try:
            (folder / REFUSAL).write_text(sealed(document), encoding="utf-8")
        except OSError as problem:
            raise _unwritable(problem) from problem
        self._put(folder, key)

    def set_aside(self, engine: EngineFile) -> bool:
        """Put an engine that cannot be loaded out of the way, so that it is built again.

        Returns:
            False where that was done for the same key before: then nothing is changed.

        Raises:
            StoreError: the cache cannot be written.
        """
        place = self._place(engine.key)
        aside = place.with_name(place.name + ASIDE)
        if aside.exists():
            return False
        try:
            place.rename(aside)
            _sync(place.parent)
        except OSError as error:
            raise _unwritable(error) from error
        return True

    def stored(self) -> list[Stored]:
        """Everything in the cache but builds under way, by model, the newest first."""
        folders = [path for path in self._folder.glob("*/*") if path.is_dir()]
        found = [_stored(path) for path in folders if not path.name.startswith(BUILDING)]
        return sorted(found, key=lambda each: (each.model, -each.made_s))

    def prune(self, keep: Collection[EngineKey]) -> list[Stored]:
        """Remove every engine but those of `keep`, refusals, and what was set aside.

        Raises:
            StoreError: the cache cannot be written.
        """
        return _removed([e for e in self.stored() if not self._is_engine_of(e, keep)])

    def keep_within(self, quota_bytes: int, keep: Collection[EngineKey]) -> list[Stored]:
        """Remove what is not of `keep`, the oldest first, until the rest fits into the quota.

        Raises:
            StoreError: the cache cannot be written.
        """
        stored = self.stored()
        excess = sum(each.size_bytes for each in stored) - quota_bytes
        gone: list[Stored] = []
        for each in sorted(stored, key=lambda each: each.made_s):
            if excess > 0 and not self._is_engine_of(each, keep):
                excess -= each.size_bytes
                gone.append(each)
        return _removed(gone)

    def forget(self, made_before_s: float, keep: Collection[EngineKey]) -> list[Stored]:
        """Remove what is not of `keep` and was made before that wall clock.

        Raises:
            StoreError: the cache cannot be written.
        """
        old = [each for each in self.stored() if each.made_s < made_before_s]
        return _removed([each for each in old if not self._is_engine_of(each, keep)])

    def _is_engine_of(self, stored: Stored, keys: Collection[EngineKey]) -> bool:
        places = {self._place(key) for key in keys}
        return stored.folder in places and not (stored.folder / REFUSAL).exists()

    def _put(self, folder: Path, key: EngineKey) -> None:
        place = self._place(key)
        try:
            for path in (*folder.iterdir(), folder):
                _sync(path)
            shutil.rmtree(place, ignore_errors=True)
            folder.rename(place)
            _sync(place.parent)
        except OSError as error:
            raise _unwritable(error) from error

    def _place(self, key: EngineKey) -> Path:
        return self._folder / key.model / key.digest()


def _removed(gone: list[Stored]) -> list[Stored]:
    try:
        for each in gone:
            shutil.rmtree(each.folder)
    except OSError as error:
        raise _unwritable(error) from error
    return gone


def _unwritable(error: OSError) -> StoreError:
    return StoreError(
        f"engine cache: {error}", hint="Check APPLIANCE_PATHS__CACHE: room, and rights."
    )


def _begin(parent: Path) -> tuple[Path, int]:
    """A new folder and its lock, a descriptor: whoever can take the lock finds a dead build."""
    with _opened(parent) as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        _clear_abandoned(parent)
        folder = Path(tempfile.mkdtemp(prefix=BUILDING, dir=parent))
        held = os.open(folder, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
        return folder, held


def _clear_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{BUILDING}*"):
        # Locked: a build under way. Gone: it has just finished.
        with suppress(BlockingIOError, FileNotFoundError), _opened(folder) as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


def _sync(path: Path) -> None:
    with _opened(path) as handle:
        os.fsync(handle)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def _stored(folder: Path) -> Stored:
    return Stored(
        model=folder.parent.name,
        folder=folder,
        size_bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        made_s=folder.stat().st_mtime,
        about=_about(folder),
    )


def _about(folder: Path) -> str:
    if folder.name.endswith(ASIDE):
        return "could not be loaded, set aside"
    if (folder / REFUSAL).exists():
        return "no engine: " + _told(folder / REFUSAL, "message")
    try:
        document = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
        key, proof = document["key"], document["verification"]
        return f"{key['backend']} {key['backend_version']} {proof['precision']}, {proof['verdict']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged, will be built again"


def _told(path: Path, name: str) -> str:
    try:
        return str(opened(path.read_text(encoding="utf-8"))[name])
    except (OSError, ValueError, KeyError):
        return "the reason is damaged, will be tried again"
