"""Engines on disk: one folder for each complete key, written whole or not at all.

    <cache>/engines/<model>/<key>/engine.onnx   what runs
                                  engine.json   the sidecar: key, contract, proof

The key is everything that could change the engine: weights, card, labels, this code, the
backend's version, precision and the processor. Two builds of one thing may differ in bytes, so
the inputs are hashed, never the result.

An engine that is whole and still cannot be loaded is set aside under `<key>.refused`, once: its
successor that fails too stays, and the failure with it. No start begins a second rebuild.
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from appliance.errors import EngineError, StoreError
from appliance.optimizer.verification import Verification
from appliance.values import ModelContract, TensorSpec

SIDECAR = "engine.json"
SCHEMA = 2
BUILDING = ".building-"
REFUSED = ".refused"


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything an engine depends on.

    Attributes:
        model: the model's name.
        weights_sha256: of the foreign ONNX with its side files.
        card_sha256: of the card as it was read, labels included.
        code_sha256: of the optimizer itself.
        backend: as "onnxruntime".
        backend_version: of its library.
        precision: as "fp32".
        machine: the processor's architecture.
    """

    model: str
    weights_sha256: str
    card_sha256: str
    code_sha256: str
    backend: str
    backend_version: str
    precision: str
    machine: str = platform.machine()

    def digest(self) -> str:
        """A short name for the folder."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class EngineFile:
    """A built engine.

    Attributes:
        path: the file that the backend loads.
        key: what it was made from.
        contract: its inputs and outputs.
        verification: how it compares with the original.
    """

    path: Path
    key: EngineKey
    contract: ModelContract
    verification: Verification


@dataclass(frozen=True, slots=True)
class Stored:
    """A folder in the cache, whatever its state.

    Attributes:
        model: whose engine it is.
        folder: where it lies.
        size_bytes: of everything in it.
        made_s: wall clock of its last change.
        about: as "onnxruntime 1.31.1 fp32, proven", or what is wrong with it.
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
        folder = self._place(key)
        try:
            sidecar = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
            own_sha256 = sidecar.pop("sidecar_sha256")
            engine = folder / sidecar["engine"]
            intact = (
                sidecar["schema"] == SCHEMA
                and own_sha256 == _document_sha256(sidecar)
                and sidecar["key"] == asdict(key)
                and sidecar["engine_sha256"] == file_sha256(engine)
            )
            return _from_sidecar(engine, key, sidecar) if intact else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # half a folder is no engine: it is built again

    @contextmanager
    def writing(self, key: EngineKey) -> Iterator[Path]:
        """A temporary folder that `commit` makes the engine's; gone if it does not.

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
        place = self._place(engine.key)
        try:
            (folder / SIDECAR).write_text(_to_sidecar(engine), encoding="utf-8")
            for path in (*folder.iterdir(), folder):
                _sync(path)
            shutil.rmtree(place, ignore_errors=True)
            folder.rename(place)
            _sync(place.parent)
        except OSError as error:
            raise _unwritable(error) from error
        found = self.find(engine.key)
        if found is None:
            raise EngineError(f"{engine.key.model}: the engine just written cannot be read back")
        return found

    def set_aside(self, engine: EngineFile) -> bool:
        """Put an engine that cannot be loaded out of the way, so that it is built again.

        Returns:
            False where that was done for the same key before: then nothing is changed.

        Raises:
            StoreError: the cache cannot be written.
        """
        place = self._place(engine.key)
        aside = place.with_name(place.name + REFUSED)
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
        """Remove every engine but those of `keep`, and what was set aside.

        Raises:
            StoreError: the cache cannot be written.
        """
        places = {self._place(key) for key in keep}
        gone = [each for each in self.stored() if each.folder not in places]
        try:
            for each in gone:
                shutil.rmtree(each.folder)
        except OSError as error:
            raise _unwritable(error) from error
        return gone

    def _place(self, key: EngineKey) -> Path:
        return self._folder / key.model / key.digest()


def file_sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_sha256() -> str:
    """Of the optimizer's own source: another rule is another engine."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


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
    if folder.name.endswith(REFUSED):
        return "could not be loaded, set aside"
    try:
        sidecar = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
        key, verdict = sidecar["key"], sidecar["verification"]["verdict"]
        return f"{key['backend']} {key['backend_version']} {key['precision']}, {verdict}"
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged, will be built again"


def _to_sidecar(engine: EngineFile) -> str:
    document = {
        "schema": SCHEMA,
        "engine": engine.path.name,
        "engine_sha256": file_sha256(engine.path),
        "key": asdict(engine.key),
        "contract": asdict(engine.contract),
        "verification": engine.verification.as_dict(),
    }
    sealed = {**document, "sidecar_sha256": _document_sha256(document)}
    return json.dumps(sealed, indent=2) + "\n"


def _document_sha256(document: Mapping[str, Any]) -> str:
    """Of what a sidecar says, however it is written: a flipped bit in it must not pass."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _from_sidecar(engine: Path, key: EngineKey, sidecar: Mapping[str, Any]) -> EngineFile:
    contract = sidecar["contract"]
    return EngineFile(
        engine,
        key,
        ModelContract(
            contract["task"],
            _spec(contract["input"]),
            tuple(_spec(output) for output in contract["outputs"]),
        ),
        Verification(**sidecar["verification"]),
    )


def _spec(document: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(document["name"], tuple(document["shape"]), document["dtype"])
