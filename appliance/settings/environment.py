"""Our source of settings: the environment, and files of secrets."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import platformdirs
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from typing_extensions import override

from appliance.settings import secret_files
from appliance.settings.problems import Problem
from appliance.settings.suggestions import obscured, unknown
from appliance.settings.variables import (
    CAMERAS,
    FILE_SUFFIX,
    PREFIX,
    Variable,
    camera_variables,
    find,
    station_variables,
)

APP_NAME = "vision-appliance"
_QUOTES = ("'", '"')


class EnvironmentSource(PydanticBaseSettingsSource):
    """The tree of texts that the environment holds; the model turns texts into values.

    Stands in for the stock source of pydantic-settings, which ignores variables with our
    prefix that it doesn't know (so a misspelt one silently leaves the default), dies on empty
    ones, and takes lists as JSON only. Ours knows every variable, reports all problems
    together, treats blank as unset, and finds secrets in files.

    Attributes:
        problems: what is wrong with names and files; values are the model's to judge.
        origins: for each variable that is set, where its value came from.
        unquoted: the variables, by name, of which a pair of quotes was taken off.
    """

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        environ: Mapping[str, str],
        *,
        secrets_dir: Path = secret_files.SECRETS_DIR,
    ) -> None:
        super().__init__(settings_cls)
        self.problems: list[Problem] = []
        self.origins: dict[str, str] = {}
        self.unquoted: list[str] = []
        self._tree: dict[str, Any] = {}
        credentials = environ.get("CREDENTIALS_DIRECTORY", "")
        self._folders = (*([Path(credentials)] if credentials else []), secrets_dir)
        self._read(self._given(environ))
        self._add_paths(environ)

    @override
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._tree.get(field_name), field_name, True

    @override
    def __call__(self) -> dict[str, Any]:
        return self._tree

    def _given(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Text by variable name in upper case, without the blank ones."""
        spellings: dict[str, list[str]] = defaultdict(list)
        for name in sorted(environ):
            if name[: len(PREFIX)].upper() != PREFIX:
                if (meant := obscured(name)) is not None:
                    self.problems.append(meant)
            elif not _is_known(name):
                self.problems.append(unknown(name, environ[name]))
            elif environ[name].strip() and _unquoted(environ[name]).strip():
                spellings[name.upper()].append(name)
        for folded, names in spellings.items():
            if len(names) > 1:
                problem = "is set more than once, in upper and in lower case"
                self.problems.append(Problem(folded, problem, "one spelling, in upper case"))
        return {folded: environ[names[0]] for folded, names in spellings.items()}

    def _read(self, given: Mapping[str, str]) -> None:
        for variable in _variables(given):
            if variable.is_secret:
                self._read_secret(variable, given)
            elif variable.name in given:
                text = self._bare(variable.name, given[variable.name])
                self._put(variable, text.strip(), "environment")

    def _read_secret(self, variable: Variable, given: Mapping[str, str]) -> None:
        pointer = variable.name + FILE_SUFFIX
        if variable.name in given and pointer in given:
            problem = f"is set, and {pointer} as well"
            self.problems.append(Problem.of(variable, problem, expected="one of the two"))
        elif variable.name in given:
            text = self._bare(variable.name, given[variable.name])
            self._put(variable, text, "environment")
        elif pointer in given:
            path = self._bare(pointer, given[pointer]).strip()
            self._read_pointed(variable, pointer, path)
        else:
            self._read_well_known(variable)

    def _read_pointed(self, variable: Variable, pointer: str, path: str) -> None:
        try:
            text = self._bare(variable.name, secret_files.read(Path(path)))
            problem = "" if text.strip() else "names a file that is empty"
        except FileNotFoundError:
            text, problem = "", "names a file that does not exist"
        except secret_files.UnreadableError as error:
            text, problem = "", f"names a file that {error}"
        if problem:
            expected = "path of a text file that is mounted and readable for the station"
            example = f"{pointer}={secret_files.SECRETS_DIR / variable.secret_file_name}"
            self.problems.append(Problem(pointer, problem, expected, example))
        else:
            self._put(variable, text, f"file {path}")

    def _read_well_known(self, variable: Variable) -> None:
        # The second is what systemd makes of a folder: LoadCredential=appliance:FOLDER.
        names = (variable.secret_file_name, variable.name.lower())
        try:
            found = secret_files.first_of(names, self._folders)
        except secret_files.UnreadableError as error:
            problem = f"has a file {variable.secret_file_name} among the secrets that {error}"
            expected = "a text file that the station may read"
            self.problems.append(Problem.of(variable, problem, expected=expected))
            return
        if found is not None:
            text = self._bare(variable.name, found.text)
            if text.strip():
                self._put(variable, text, f"file {found.path}")

    def _bare(self, name: str, text: str) -> str:
        """The text without its quotes; that some were taken off is noted."""
        bare = _unquoted(text)
        if bare != text.rstrip("\r\n"):
            self.unquoted.append(name)
        return bare

    def _put(self, variable: Variable, text: str, origin: str) -> None:
        self.origins[variable.name] = origin
        branch = self._tree
        for part in variable.path[:-1]:
            branch = branch.setdefault(part, {})
        branch[variable.path[-1]] = text

    def _add_paths(self, environ: Mapping[str, str]) -> None:
        """The folders that are not set: systemd's where it made some, else the user's."""
        paths = self._tree.setdefault("paths", {})
        for field, user_path in (
            ("state", platformdirs.user_state_path),
            ("cache", platformdirs.user_cache_path),
        ):
            if field not in paths:
                # systemd joins several folders by colons; the first is the main one.
                made = environ.get(f"{field.upper()}_DIRECTORY", "").partition(":")[0]
                paths[field] = made or self._user_folder(field, user_path)
        # Below the root even where the cache's is no absolute path: that is told once.
        paths.setdefault("temporary", str(Path("/", paths["cache"], "tmp")))

    def _user_folder(self, field: str, user_path: Callable[[str], Path]) -> str:
        """The user's own folder, asked for only where no other is named: it takes a home."""
        try:
            return str(user_path(APP_NAME))
        except RuntimeError:  # a user id without a name, and no HOME
            variables = (item for item in station_variables() if item.path == ("paths", field))
            problem = "is not set, and this user has no home folder"
            self.problems.append(Problem.of(next(variables), problem))
            return "/"  # never used: the problem ends the start


def _is_known(name: str) -> bool:
    # Only ASCII is folded: some other letters turn into ASCII ones in upper case.
    folded = name.upper() if name.isascii() else name
    if find(folded) is not None:
        return True
    pointed = find(folded.removesuffix(FILE_SUFFIX))
    return pointed is not None and pointed.is_secret


def _variables(given: Mapping[str, str]) -> Iterator[Variable]:
    """The station's variables, then those of every camera that has one set."""
    yield from station_variables()
    named = (find(name) or find(name.removesuffix(FILE_SUFFIX)) for name in given)
    keys = {item.path[1]: None for item in named if item and item.path[0] == CAMERAS}
    for key in keys:
        yield from camera_variables(key)


def _unquoted(text: str) -> str:
    """The text without line ends after it and one pair of quotes around it.

    Files end with a line end; `docker run --env-file` hands quotes on as they are.
    """
    text = text.rstrip("\r\n")
    bare = text.strip()
    if len(bare) >= 2 and bare[0] == bare[-1] and bare[0] in _QUOTES:
        return bare[1:-1]
    return text
