"""From the environment to settings, or to the list of all that is wrong with it."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from appliance.redaction import redact_url
from appliance.settings import old_names
from appliance.settings.environment import EnvironmentSource
from appliance.settings.fields import as_text
from appliance.settings.model import Paths, Settings
from appliance.settings.problems import Problem, SettingsProblems, from_validation, variable_at
from appliance.settings.secret_files import SECRETS_DIR
from appliance.settings.variables import (
    FILE_SUFFIX,
    PREFIX,
    Variable,
    camera_variables,
    station_variables,
    variables_of,
)

DEFAULT = "default"
HIDDEN = "••••"
_ABOUT_PATHS = f"{PREFIX}PATH"  # however the rest of the name is spelled


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and where they came from.

    Attributes:
        settings: the tree.
        origins: for every variable, "environment", "file PATH", "in NAME" for credentials
            that stood in that URL, or "default".
        unquoted: the variables of which a pair of quotes was taken off.
    """

    settings: Settings
    origins: Mapping[str, str]
    unquoted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One variable as it holds, fit to be shown.

    Attributes:
        variable: its name.
        value_text: in the form of the variable; secrets are hidden.
        origin: as in `Loaded.origins`.
        is_default: whether nobody set it.
    """

    variable: str
    value_text: str
    origin: str
    is_default: bool


def load(environ: Mapping[str, str], *, secrets_dir: Path = SECRETS_DIR) -> Loaded:
    """Read the settings.

    Secrets that no variable gives are looked for as files, named like the variable in lower
    case without its prefix (`auth__users`, `cameras__door__password`): in the folder that
    $CREDENTIALS_DIRECTORY names, then in `secrets_dir`.

    Raises:
        SettingsProblems: with every problem there is.
    """
    source = EnvironmentSource(Settings, environ, secrets_dir=secrets_dir)
    settings, wrong_values = _validated(source())
    problems = [*source.problems, *wrong_values]
    wrong = {item.variable.removesuffix(FILE_SUFFIX) for item in problems}
    problems += _contradictions(settings, wrong)
    problems += old_names.contradictions(settings)
    if problems:
        raise SettingsProblems(problems, settings)
    return Loaded(settings, _origins(settings, source.origins), tuple(source.unquoted))


def load_paths(environ: Mapping[str, str], *, secrets_dir: Path = SECRETS_DIR) -> Paths:
    """Read the folders alone: no other setting that is wrong stands in the way.

    Raises:
        SettingsProblems: with every problem of a variable that names a folder, or means to.
    """
    try:
        return load(environ, secrets_dir=secrets_dir).settings.paths
    except SettingsProblems as error:
        problems = [item for item in error.problems if _ABOUT_PATHS in item.variable.upper()]
        if problems:
            raise SettingsProblems(problems, error.rest) from None
        return error.rest.paths


def _validated(tree: Mapping[str, Any]) -> tuple[Settings, list[Problem]]:
    """The settings of a tree of texts; what is wrong in it is told, and gets its default.

    One look does not find everything: of a camera whose URL is wrong the others are not judged.
    """
    mended, problems = deepcopy(dict(tree)), list[Problem]()
    while True:
        settings, details = _judged(mended)
        if settings is not None:
            return settings, problems
        problems += from_validation(details)
        for detail in details:
            _mend(mended, detail["loc"])


def _judged(tree: Mapping[str, Any]) -> tuple[Settings | None, list[ErrorDetails]]:
    """The error itself goes no further: it carries the values."""
    try:
        return Settings(**tree), []
    except ValidationError as error:
        return None, error.errors(include_url=False, include_input=False)


def _mend(tree: dict[str, Any], location: tuple[int | str, ...]) -> None:
    """Put what is right in the place of what is wrong: nothing, or a path where one must be."""
    variable = variable_at(location)
    *sections, name = variable.path
    section: dict[str, Any] = tree
    for part in sections:
        section = section.setdefault(part, {})
    section.pop(name, None)
    if variable.is_required or variable.path[0] == "paths":
        section[name] = "/"


def effective(loaded: Loaded) -> list[Row]:
    """Every variable with the value that holds and its origin, for the check and the page."""
    return [
        Row(
            variable=variable.name,
            value_text=_shown(variable, loaded.settings),
            origin=loaded.origins[variable.name],
            is_default=loaded.origins[variable.name] == DEFAULT,
        )
        for variable in variables_of(loaded.settings)
    ]


def _contradictions(settings: Settings, wrong: AbstractSet[str]) -> Iterator[Problem]:
    """What is wrong with two variables together, unless one of them is wrong by itself."""
    auth = settings.auth
    by_name = {variable.name: variable for variable in station_variables()}
    trusts_proxies = settings.web.trusted_proxies or "APPLIANCE_WEB__TRUSTED_PROXIES" in wrong
    if auth.proxy_header and not trusts_proxies:
        yield Problem.of(
            by_name["APPLIANCE_AUTH__PROXY_HEADER"],
            "is set, but no proxy is trusted: anybody could claim to be anybody",
            expected="APPLIANCE_WEB__TRUSTED_PROXIES with the proxy's address as well",
        )
    names_people = auth.proxy_header or "APPLIANCE_AUTH__PROXY_HEADER" in wrong
    if auth.proxy_role_header and not names_people:
        yield Problem.of(
            by_name["APPLIANCE_AUTH__PROXY_ROLE_HEADER"],
            "is set, but not the header with the person's name",
            expected="APPLIANCE_AUTH__PROXY_HEADER as well",
        )
    has_key = settings.kiosk.key is not None or "APPLIANCE_KIOSK__KEY" in wrong
    if settings.kiosk.port and not has_key:
        yield Problem(
            "APPLIANCE_KIOSK__PORT",
            "is set, but no key: every program of this host could see the pictures",
            expected="APPLIANCE_KIOSK__KEY as well, from a file; docs/kiosk.md tells how",
            example="APPLIANCE_KIOSK__KEY_FILE=/run/secrets/kiosk__key",
        )


def _origins(settings: Settings, found: Mapping[str, str]) -> dict[str, str]:
    origins = {item.name: found.get(item.name, DEFAULT) for item in variables_of(settings)}
    for key in settings.cameras:
        url, *others = camera_variables(key)
        for variable in others:
            is_credential = variable.path[-1] in {"username", "password"}
            if is_credential and origins[variable.name] == DEFAULT and variable.value(settings):
                origins[variable.name] = f"in {url.name}"
    return origins


def _shown(variable: Variable, settings: Settings) -> str:
    value = variable.value(settings)
    if variable.is_secret:
        return HIDDEN if value else ""
    return redact_url(as_text(value))
