"""Variables under names of earlier releases: still read, until version 1.0, with what to write."""

from collections.abc import Iterator

from appliance.settings.fields import as_text
from appliance.settings.model import Settings
from appliance.settings.problems import Problem
from appliance.settings.variables import Variable, camera_variables, station_variables

SECTION = "detection"  # each of its names is one of every camera's now


def notices(settings: Settings) -> Iterator[str]:
    """A sentence for each old name that is set, with the lines that take its place."""
    for old in _set(settings):
        text = as_text(old.value(settings))
        new = " and ".join(f"{each.name}={text}" for each in _new(settings, old))
        if new:
            yield f"{old.name} is an old name, read until version 1.0: write {new} in its place"


def name_in_use(settings: Settings, camera: str, field: str) -> str:
    """The variable in which a field of a camera is said: the old name, while that is set."""
    for old in _set(settings):
        if old.path[-1] == field:
            return old.name
    return next(each.name for each in camera_variables(camera) if each.path[-1] == field)


def contradictions(settings: Settings) -> Iterator[Problem]:
    """Old names that are set beside the new one of a camera: which holds would be a guess."""
    for old in _set(settings):
        for new in _new(settings, old):
            if new.value(settings) not in (None, {}):
                yield Problem.of(
                    old,
                    f"is the old name of {new.name}, which is set as well",
                    expected=f"{new.name} alone, for each camera",
                )


def _set(settings: Settings) -> Iterator[Variable]:
    for variable in station_variables():
        if variable.path[0] == SECTION and variable.value(settings) not in (None, {}):
            yield variable


def _new(settings: Settings, old: Variable) -> Iterator[Variable]:
    for key in settings.cameras:
        yield from (each for each in camera_variables(key) if each.path[-1] == old.path[-1])
