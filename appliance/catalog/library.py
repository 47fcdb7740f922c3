"""The models of this station: those that ship with it, and those that people bring."""

import difflib
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import appliance
from appliance.catalog.card import CARD_FILE, NAME_PATTERN, Card, read_card
from appliance.catalog.files import put_in_place, read_plain, sha256_of
from appliance.catalog.labels import MAX_TEXT_BYTES, Labels, choose_labels, read_label_file
from appliance.catalog.origins import Origin, obtain
from appliance.catalog.strays import Stray, strays
from appliance.errors import ModelError, StoreError

WEIGHTS_FILE: Final = "model.onnx"
LABELS_FILE: Final = "labels.txt"
RECIPE_FILE: Final = "recipe.py"
RECORD_FILE: Final = "pulled.json"

WORK_PREFIX: Final = ".pull-"
REINSTALL_HINT: Final = "install the appliance again; its files are damaged"

Convert = Callable[[Mapping[str, Path], Path], None]
Obtain = Callable[[Origin, Path], Mapping[str, Path]]


def builtin_models_dir() -> Path:
    """The shipped models: inside the installed package, or at the top of a checkout."""
    package_dir = Path(appliance.__file__).parent
    installed = package_dir / "models"
    return installed if installed.is_dir() else package_dir.parent / "models"


class Library:
    """Finds cards and weights by a model's name, and pulls weights that are not there.

    A person's card wins over the shipped one of the same name. Code never comes from the
    user's folder: a recipe is loaded from the shipped one alone.

    Args:
        builtin_dir: shipped cards and recipes; may be read-only.
        user_dir: cards, weights and labels of this station.
        obtain_files: brings an origin's files.
    """

    def __init__(self, builtin_dir: Path, user_dir: Path, *, obtain_files: Obtain = obtain) -> None:
        self._builtin_dir = builtin_dir
        self._user_dir = user_dir
        self._obtain = obtain_files

    def names(self) -> tuple[str, ...]:
        """Every model that has a card, in the order of names."""
        return _names_in(self._builtin_dir, self._user_dir)

    def shipped_names(self) -> tuple[str, ...]:
        """Those that come with the appliance."""
        return _names_in(self._builtin_dir)

    def strays(self) -> tuple[Stray, ...]:
        """What a person has put among the models that is none."""
        return strays(self._user_dir, self.names())

    def card(self, name: str) -> Card:
        """The model's card.

        Raises:
            ModelError: no such model, or its card is wrong.
        """
        return read_card(self._folder(name) / CARD_FILE)

    def is_obtained(self, name: str) -> bool:
        """Whether the model's weights are here.

        Raises:
            ModelError: no such model.
        """
        return self._find(name, WEIGHTS_FILE) is not None

    def weights(self, name: str) -> Path:
        """The model's ONNX file.

        Raises:
            ModelError: no such model, or its weights are not here, or its card is wrong.
        """
        found = self._find(name, WEIGHTS_FILE)
        if found is None:
            pull, put = f"run: appliance models pull {name}", f"put it into {self._user_dir / name}"
            raise ModelError(
                f"{name}: {WEIGHTS_FILE} is not here", hint=pull if self.card(name).origin else put
            )
        return found

    def labels(self, name: str, *, embedded: tuple[str, ...] = ()) -> Labels:
        """The names in use for the model's classes.

        Args:
            name: the model.
            embedded: names found in its file's metadata.

        Raises:
            ModelError: no such model, or its card or label file is wrong.
        """
        file = self._user_dir / name / LABELS_FILE
        card = self.card(name)
        operator = read_label_file(file) if file.exists() else ()
        return choose_labels(operator=operator, card=card.table.labels, embedded=embedded)

    def pull(self, name: str) -> Path:
        """Bring the model's weights into the user's folder, unless they are there already.

        Returns:
            The ONNX file; it is replaced in one step, so it is always whole.

        Raises:
            ModelError: no such model, no origin, or the files cannot be had or converted.
            StoreError: the user's folder cannot be written.
        """
        card = self.card(name)
        if card.origin is None:
            return self.weights(name)
        recipe = self._recipe(name)
        made_from = _made_from(card, recipe)
        folder = self._user_dir / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _alone(folder):
                if not _is_current(folder, made_from):
                    self._bring(card.origin, recipe, made_from, folder)
        except OSError as error:
            raise StoreError(
                f"{error.filename or folder}: {error.strerror}",
                hint="check the state folder's owner and its free space",
            ) from error
        return folder / WEIGHTS_FILE

    def _folder(self, name: str) -> Path:
        known = self.names()
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else "choose one of them"
            raise ModelError(f"model {name!r}: expected one of {', '.join(known)}", hint=hint)
        own = self._user_dir / name
        return own if (own / CARD_FILE).is_file() else self._builtin_dir / name

    def _find(self, name: str, file_name: str) -> Path | None:
        folders = (self._user_dir / name, self._folder(name), self._builtin_dir / name)
        return next((f / file_name for f in folders if (f / file_name).is_file()), None)

    def _recipe(self, name: str) -> Path | None:
        """The shipped recipe, which belongs to the shipped card and to no other."""
        path = self._builtin_dir / name / RECIPE_FILE
        return path if self._folder(name) == path.parent and path.is_file() else None

    def _bring(self, origin: Origin, recipe: Path | None, made_from: str, folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix=WORK_PREFIX, dir=folder) as work:
            files = self._obtain(origin, Path(work) / "files")
            if recipe is not None:
                converted = Path(work) / WEIGHTS_FILE
                load_recipe(recipe)(files, converted)
                files = {WEIGHTS_FILE: converted}
            if WEIGHTS_FILE not in files:
                raise ModelError(
                    f"{folder.name}: origin: expected a file named {WEIGHTS_FILE}, "
                    f"got {sorted(files)}",
                    hint="name it so in the model's card",
                )
            digests = {name: sha256_of(path) for name, path in files.items()}
            record = Path(work) / RECORD_FILE
            record.write_text(json.dumps({"made_from": made_from, "sha256": digests}))
            # The record comes last: a pull that was cut short is not taken for a finished one.
            for name, path in [*files.items(), (RECORD_FILE, record)]:
                put_in_place(path, folder / name)


def _names_in(*folders: Path) -> tuple[str, ...]:
    cards = [card for folder in folders for card in folder.glob(f"*/{CARD_FILE}")]
    names = {card.parent.name for card in cards}
    return tuple(sorted(name for name in names if NAME_PATTERN.fullmatch(name)))


def load_recipe(path: Path) -> Convert:
    """The `convert` function of a shipped recipe.

    Raises:
        ModelError: the file has none.
    """
    spec = importlib.util.spec_from_file_location("recipe", path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path}: not a Python file", hint=REINSTALL_HINT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    convert: Convert | None = getattr(module, "convert", None)
    if convert is None:
        raise ModelError(f"{path}: expected a function convert, got none", hint=REINSTALL_HINT)
    return convert


def _made_from(card: Card, recipe: Path | None) -> str:
    """Changes whenever pulling again could give another file."""
    code = recipe.read_bytes() if recipe is not None else b""
    return hashlib.sha256(repr((card.origin, card.input.size_wh)).encode() + code).hexdigest()


def _is_current(folder: Path, made_from: str) -> bool:
    """Whether a finished pull of the same origin and recipe lies here unharmed."""
    try:
        record = json.loads(read_plain(folder / RECORD_FILE, limit_bytes=MAX_TEXT_BYTES))
        return record["made_from"] == made_from and all(
            sha256_of(folder / name) == digest for name, digest in record["sha256"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False  # never pulled, or a damaged record: pull


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder against other pulls, and clear what an interrupted one left."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, folder.name)
        for stale in folder.glob(f"{WORK_PREFIX}*"):
            shutil.rmtree(stale)
        yield
    finally:
        os.close(descriptor)  # and with it goes the lock


def _lock(descriptor: int, name: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ModelError(
            f"{name}: another pull is under way", hint="wait until it has finished"
        ) from error
