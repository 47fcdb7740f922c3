"""Every environment variable there is, read off the tree of settings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from appliance.settings.camera import Camera
from appliance.settings.fields import default_of, form_of, is_secret, note_of
from appliance.settings.model import Settings

PREFIX = Settings.model_config.get("env_prefix") or ""
DELIMITER = Settings.model_config.get("env_nested_delimiter") or ""
FILE_SUFFIX = "_FILE"
CAMERAS = "cameras"

_ANY_KEY = "<key>"
_KEY = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable.

    Attributes:
        path: the way to its value in the tree, such as `("web", "port")`.
        group: what its section is about, in one line.
        meaning: one sentence.
        form: how its text must look.
        example: a value.
        default: what holds when it is unset; empty where nothing does.
        is_required: whether it must be set.
        is_secret: whether it may come from a file, and is never shown.
    """

    path: tuple[str, ...]
    group: str
    meaning: str
    form: str
    example: str
    default: str
    is_required: bool
    is_secret: bool

    @property
    def name(self) -> str:
        """The variable's name, `APPLIANCE_WEB__PORT`."""
        return PREFIX + DELIMITER.join(self.path).upper()

    @property
    def secret_file_name(self) -> str:
        """The name of its file in a folder of secrets, `auth__users`."""
        return DELIMITER.join(self.path)

    @property
    def example_line(self) -> str:
        """The variable with an example of its value, as one line of an environment file."""
        return f"{self.name}={self.example}"

    def for_camera(self, key: str) -> "Variable":
        """The variable of one camera, from that of any camera."""
        return replace(self, path=(self.path[0], key, *self.path[2:]))

    def value(self, settings: Settings) -> object:
        """What the settings hold for it."""
        value: object = settings
        for part in self.path:
            value = value[part] if isinstance(value, Mapping) else getattr(value, part)
        return value


def station_variables() -> tuple[Variable, ...]:
    """All variables but the cameras', in the order of the tree."""
    return tuple(
        variable
        for name, field in _fields(Settings)
        if name != CAMERAS
        for variable in _variables_of(name, field)
    )


def camera_variables(key: str = _ANY_KEY) -> tuple[Variable, ...]:
    """The variables of one camera, or of any."""
    return tuple(
        _variable((CAMERAS, key, name), field, _heading(Camera)) for name, field in _fields(Camera)
    )


def variables_of(settings: Settings) -> tuple[Variable, ...]:
    """All variables, with those of each camera that the settings have."""
    cameras = (variable for key in settings.cameras for variable in camera_variables(key))
    return (*station_variables(), *cameras)


def is_camera_key(key: str) -> bool:
    """Whether this is how a camera's key looks."""
    return _KEY.fullmatch(key) is not None


def find(name: str) -> Variable | None:
    """The variable of this name, in upper case; None where there is none."""
    section, _, rest = name.removeprefix(PREFIX).lower().partition(DELIMITER)
    if section == CAMERAS:
        key = rest.rpartition(DELIMITER)[0]
        candidates = camera_variables(key) if is_camera_key(key) else ()
    else:
        candidates = station_variables()
    return next((variable for variable in candidates if variable.name == name), None)


def _variables_of(name: str, field: FieldInfo) -> tuple[Variable, ...]:
    section = field.annotation
    if isinstance(section, type) and issubclass(section, BaseModel):
        group = _heading(section)
        return tuple(_variable((name, key), item, group) for key, item in _fields(section))
    return (_variable((name,), field, "The model."),)


def _variable(path: tuple[str, ...], field: FieldInfo, group: str) -> Variable:
    return Variable(
        path=path,
        group=group,
        meaning=field.description or "",
        form=form_of(field),
        example=str((field.examples or [""])[0]),
        default=default_of(field),
        is_required=field.is_required() and not note_of(field).default,
        is_secret=is_secret(field.annotation),
    )


def _fields(model: type[BaseModel]) -> tuple[tuple[str, FieldInfo], ...]:
    return tuple(model.model_fields.items())


def _heading(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").partition("\n")[0]
