"""What the commands print, and how they fail."""

import functools
import sys
from collections.abc import Callable
from typing import NoReturn, ParamSpec

import typer
from rich.console import Console

from appliance.errors import ApplianceError, SettingsError
from appliance.settings import SettingsProblems

EXIT_FAILED = 1
EXIT_SETTINGS = 78  # EX_CONFIG: service managers do not try again

PIPED_WIDTH = 400  # a table that is read by a program is never wrapped

out = Console(
    highlight=False,
    soft_wrap=True,
    markup=False,
    width=None if sys.stdout.isatty() else PIPED_WIDTH,
)
err = Console(highlight=False, soft_wrap=True, markup=False, stderr=True)

P = ParamSpec("P")


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """A person's mistake ends in a sentence and a hint, never in a traceback."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except ApplianceError as error:
            _fail(error)

    return run


def _fail(error: ApplianceError) -> NoReturn:
    if isinstance(error, SettingsProblems):
        print_problems(error)
    else:
        err.print(f"error: {error}")
        if error.hint:
            err.print(f"  {error.hint}")
    raise typer.Exit(EXIT_SETTINGS if isinstance(error, SettingsError) else EXIT_FAILED)


def print_problems(error: SettingsProblems) -> None:
    """Each problem with what is expected instead."""
    for problem in error.problems:
        err.print(f"error: {problem.variable} {problem.problem}")
        err.print(f"  expected: {problem.expected}")
        if problem.example:
            err.print(f"  example:  {problem.example}")
