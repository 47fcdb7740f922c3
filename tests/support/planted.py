"""A marker in every secret variable that there is, found by the settings' own fields."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.settings import SettingsProblems, load
from appliance.settings.variables import Variable, camera_variables, station_variables
from tests.support.secrecy import spellings

USER = "mallory"
# Each kind of secret has a form of its own; in all of them 64 hex digits can stand.
_FORMS = (
    "{marker}",
    USER + ":admin:argon2id.v=19.m=8~t=1~p=1.{marker}." + "A" * 43,
    "machine:metrics+pictures+ready:2999-12-31:{marker}",
)


@dataclass(frozen=True, slots=True)
class Planted:
    """A secret variable with a value that is valid for it.

    Attributes:
        name: of the variable.
        text: its value.
        marker: what of it must be seen nowhere.
    """

    name: str
    text: str
    marker: str


def planted(*cameras: str) -> list[Planted]:
    """One for each secret variable of a station with these cameras."""
    found = [*station_variables(), *(each for key in cameras for each in camera_variables(key))]
    return [_planted(variable) for variable in found if variable.is_secret]


def _planted(variable: Variable) -> Planted:
    marker = hashlib.sha256(variable.name.encode()).hexdigest()
    others = {}
    if variable.path[0] == "cameras":
        others = {f"APPLIANCE_CAMERAS__{variable.path[1].upper()}__URL": "clip.mp4"}
    for form in _FORMS:
        text = form.format(marker=marker)
        try:
            load({variable.name: text, **others}, secrets_dir=Path("/nowhere"))
        except SettingsProblems:
            continue
        return Planted(variable.name, text, marker)
    raise AssertionError(f"{variable.name}: add a form to this file that is valid for it")


def seen_in(text: str, secrets: Sequence[Planted]) -> list[str]:
    """The variables whose marker stands in a text, in whatever spelling."""
    return [each.name for each in secrets if any(form in text for form in spellings(each.marker))]
