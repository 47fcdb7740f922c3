"""What is wrong with the settings: all of it at once, and never a value.

Strangers may see these texts, on the page that stands in for the station until its settings
are right. So they name variables, forms and examples, and nothing that somebody typed.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic_core import ErrorDetails

from appliance.errors import SettingsError
from appliance.settings.model import Settings
from appliance.settings.variables import Variable, camera_variables, station_variables

_SENTENCES = {
    "missing": "is required",
    "int_parsing": "is not a whole number",
    "int_parsing_size": "is out of range",
    "int_from_float": "is not a whole number",
    "float_parsing": "is not a number",
    "finite_number": "is not a finite number",
    "bool_parsing": "is neither on nor off",
    "literal_error": "is none of the choices",
    "greater_than": "is out of range",
    "greater_than_equal": "is out of range",
    "less_than_equal": "is out of range",
    "string_unicode": "is not text in UTF-8",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with one variable.

    Attributes:
        variable: its name.
        problem: what is wrong, as the rest of a sentence that begins with the name.
        expected: the form it must have, or what to do.
        example: a line as it could be; may be empty.
    """

    variable: str
    problem: str
    expected: str
    example: str = ""

    @classmethod
    def of(cls, variable: Variable, problem: str, *, expected: str = "") -> "Problem":
        """A problem of a known variable, with its form and its example."""
        return cls(variable.name, problem, expected or variable.form, variable.example_line)


class SettingsProblems(SettingsError):  # noqa: N818 - it is all of them
    """The settings cannot be used.

    Attributes:
        problems: every problem; those of names and files first, then those of values.
        rest: the settings as far as they are right, with the default for what is wrong; only for
            what does not depend on it.
    """

    def __init__(self, problems: Iterable[Problem], rest: Settings) -> None:
        self.problems = tuple(problems)
        self.rest = rest
        listed = "; ".join(f"{item.variable} {item.problem}" for item in self.problems)
        super().__init__(
            f"settings: {listed}",
            hint="correct the variables where the station is defined, and start it again",
        )


def from_validation(details: Iterable[ErrorDetails]) -> list[Problem]:
    """The problems that validation found, in terms of variables."""
    return [Problem.of(variable_at(detail["loc"]), _sentence(detail)) for detail in details]


def variable_at(location: tuple[int | str, ...]) -> Variable:
    """The variable at a place in the tree, or the first one below it."""
    variables = station_variables()
    if location[0] == "cameras":
        variables = camera_variables(str(location[1]))
    at = [item for item in variables if location[: len(item.path)] == item.path]
    below = [item for item in variables if item.path[: len(location)] == location]
    return (at or below)[0]


def _sentence(detail: ErrorDetails) -> str:
    reason = detail.get("ctx", {}).get("error")
    if detail["type"] == "value_error" and isinstance(reason, ValueError):
        return str(reason)  # ours: the forms' own words, which repeat no text
    return _SENTENCES.get(detail["type"], "cannot be read")
