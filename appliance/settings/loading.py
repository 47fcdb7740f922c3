"""From the environment to settings, or to the list of all that is wrong with it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from appliance.redaction import redact_url
from appliance.settings.environment import EnvironmentSource
from appliance.settings.fields import as_text
from appliance.settings.model import Settings
from appliance.settings.problems import Problem, SettingsProblems, from_validation
from appliance.settings.secret_files import SECRETS_DIR
from appliance.settings.variables import (
    Variable,
    camera_variables,
    station_variables,
    variables_of,
)

DEFAULT = "default"
HIDDEN = "••••"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and where they came from.

    Attributes:
        settings: the tree.
        origins: for every variable, "environment", "file PATH", "in NAME" for credentials
            that stood in that URL, or "default".
    """

    settings: Settings
    origins: Mapping[str, str]


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
    problems = list(source.problems)
    settings = None
    try:
        settings = Settings(**source())
    except ValidationError as error:
        problems += from_validation(error)
    if settings is not None:
        problems += _contradictions(settings)
    if settings is None or problems:
        # Raised here, not above: the cause would carry the values.
        raise SettingsProblems(problems)
    return Loaded(settings, _origins(settings, source.origins))


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


def _contradictions(settings: Settings) -> Iterator[Problem]:
    """What is wrong with two variables together."""
    auth = settings.auth
    by_name = {variable.name: variable for variable in station_variables()}
    if auth.proxy_header and not settings.web.trusted_proxies:
        yield Problem.of(
            by_name["APPLIANCE_AUTH__PROXY_HEADER"],
            "is set, but no proxy is trusted: anybody could claim to be anybody",
            expected="APPLIANCE_WEB__TRUSTED_PROXIES with the proxy's address as well",
        )
    if auth.proxy_role_header and not auth.proxy_header:
        yield Problem.of(
            by_name["APPLIANCE_AUTH__PROXY_ROLE_HEADER"],
            "is set, but not the header with the person's name",
            expected="APPLIANCE_AUTH__PROXY_HEADER as well",
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
