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
    find,
    is_camera_key,
    station_variables,
)

_CAMERA = re.compile(rf"{PREFIX}CAMERAS?_+(?P<rest>.+)")
# Kubernetes tells every pod of the services around it, by variables named after each service.
_SERVICE_LINK = re.compile(
    rf"{PREFIX}((?P<rest>\w+?)_)??"
    r"(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?|(?P<plain>PORT))"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+:\d+")
# The prefix, begun after something that is no part of a name.
_OBSCURED = re.compile(rf"(?is)(?P<before>.*?[^a-z0-9_]){PREFIX}", re.ASCII)
_BEFORE = {"": "a blank", "\ufeff": "a byte order mark", "export": "the word export"}


def unknown(name: str, value: str) -> Problem:
    """The problem of a variable with our prefix that is no setting.

    A misspelt variable must never be ignored: the station would run with a default that
    nobody chose.

    Args:
        name: of the variable.
        value: looked at for what tells who set it; nothing of it is repeated.
    """
    shown = _shown(name)
    folded = name.upper()
    if (service := _service(folded, value)) is not None:
        return Problem(
            shown,
            f"is no setting; Kubernetes adds it for a service named {service}",
            "enableServiceLinks: false in the pod, or another name for the service",
        )
    parts = _camera_parts(folded.removesuffix(FILE_SUFFIX))
    if parts is not None:
        return _unknown_of_camera(shown, *parts)
    endings = {item.name.removeprefix(PREFIX): item for item in station_variables()}
    meant = _nearest(folded.removeprefix(PREFIX), endings)
    return _problem(shown, meant, expected="one of the documented variables")


def obscured(name: str) -> Problem | None:
    """The problem of a variable whose name has our prefix, but not at its beginning; else None.

    Editors put a mark before the first line of a file, and some readers of such files take blanks
    and the shell's `export` for a part of the name. Nobody would see why the default holds.
    """
    bare = "".join(filter(str.isascii, name))
    if (match := _OBSCURED.match(name)) is not None:
        bare, before = name[match.end("before") :], match["before"].strip()
        what = _BEFORE.get(before.lower()) or f'"{_shown(before)}"'
        problem = f"is no setting: {what} stands in front of its name"
    elif bare[: len(PREFIX)].upper() == PREFIX:
        problem = "is no setting: a character that is not ASCII stands in its name"
    else:
        return None
    known = find(bare.upper())
    return Problem(
        _shown(name),
        problem,
        f"a name that begins with {PREFIX}",
        known.example_line if known is not None else "",
    )


def _service(folded: str, value: str) -> str | None:
    """The service of Kubernetes that a variable speaks of; None where it speaks of none."""
    match = _SERVICE_LINK.fullmatch(folded)
    if match is None:
        return None
    if match["plain"] and not _SERVICE_ADDRESS.fullmatch(value.strip()):
        return None  # a person's own, as likely as not
    rest = (match["rest"] or "").lower().replace("_", "-")
    return PREFIX.lower().replace("_", "-") + rest if rest else PREFIX.lower().rstrip("_")


def _shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)[1:-1]


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
