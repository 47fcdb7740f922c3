"""Says of a variable that is not known what was probably meant."""

import re
from collections.abc import Mapping
from difflib import get_close_matches

from appliance.settings.problems import Problem
from appliance.settings.variables import (
    DELIMITER,
    FILE_SUFFIX,
    PREFIX,
    Variable,
    camera_variables,
    is_camera_key,
    station_variables,
)

_CAMERA = re.compile(rf"{PREFIX}CAMERAS?_+(?P<rest>.+)")
# Kubernetes tells every pod of the services around it, by variables named after each service.
_SERVICE_LINK = re.compile(rf"{PREFIX}(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_\w+)")


def unknown(name: str) -> Problem:
    """The problem of a variable with our prefix that is no setting.

    A misspelt variable must never be ignored: the station would run with a default that
    nobody chose.
    """
    shown = name if name.isprintable() else ascii(name)[1:-1]
    folded = name.upper()
    if _SERVICE_LINK.fullmatch(folded):
        return Problem(
            shown,
            "is no setting; Kubernetes adds it for a service named appliance",
            "enableServiceLinks: false in the pod, or another name for the service",
        )
    parts = _camera_parts(folded.removesuffix(FILE_SUFFIX))
    if parts is not None:
        return _unknown_of_camera(shown, *parts)
    endings = {item.name.removeprefix(PREFIX): item for item in station_variables()}
    meant = _nearest(folded.removeprefix(PREFIX), endings)
    return _problem(shown, meant, expected="one of the documented variables")


def _unknown_of_camera(shown: str, key: str, field: str) -> Problem:
    if not is_camera_key(key):
        return Problem(
            shown,
            "is no setting: the camera's key has a form that keys cannot have",
            "a key of letters, digits and single underscores between them",
            camera_variables("front_door")[0].example_line,
        )
    fields = {item.path[-1].upper(): item for item in camera_variables(key)}
    expected = f"one of {', '.join(fields)} after the camera's key"
    return _problem(shown, _nearest(field, fields), expected=expected)


def _problem(shown: str, meant: Variable | None, *, expected: str) -> Problem:
    if meant is None:
        return Problem(shown, "is no setting of this release", expected)
    problem = f"is no setting; did you mean {meant.name}?"
    if shown.upper() == meant.name + FILE_SUFFIX:
        problem = f"is no setting: {meant.name} is no secret, and only those come from files"
    return Problem(shown, problem, meant.form, meant.example_line)


def _nearest(ending: str, endings: Mapping[str, Variable]) -> Variable | None:
    """The variable whose name, without the part that all have in common, is most alike."""
    ending = ending.removesuffix(FILE_SUFFIX)
    # One underscore instead of two is the most frequent mistake of all.
    for known, variable in endings.items():
        if known.replace("_", "") == ending.replace("_", ""):
            return variable
    close = get_close_matches(ending, endings, n=1)
    return endings[close[0]] if close else None


def _camera_parts(folded: str) -> tuple[str, str] | None:
    """Key and field of a name that speaks of a camera, however it is spelled; else None."""
    match = _CAMERA.fullmatch(folded)
    if match is None:
        return None
    rest = match["rest"]
    for variable in camera_variables():
        field = variable.path[-1].upper()
        if rest.endswith("_" + field):
            return rest.removesuffix("_" + field).rstrip("_").lower(), field
    separator = DELIMITER if DELIMITER in rest else "_"
    key, _, field = rest.rpartition(separator)
    return (key or rest).lower(), field
