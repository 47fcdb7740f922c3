"""What the commands print, and how they fail.

Much of it comes from files, cards, backups and bundles of others, whose letters could move the
cursor, give the window another title or forge a line. So all of it goes through a `Screen`.
"""

import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn, ParamSpec

import typer
from rich.console import Console
from rich.table import Table

from appliance.errors import ApplianceError, SettingsError
from appliance.redaction import one_line
from appliance.settings import SettingsProblems

EXIT_FAILED = 1
EXIT_SETTINGS = 78  # EX_CONFIG: service managers do not try again

PIPED_WIDTH = 400  # a table that is read by a program is never wrapped


class Screen:
    """Prints texts as lines and tables, each letter escaped that is more than a letter.

    Args:
        stderr: instead of standard output.
        width: letters in a line; the terminal's own unless given.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        self._console = Console(
            highlight=False, soft_wrap=True, markup=False, emoji=False, stderr=stderr, width=width
        )

    @property
    def is_terminal(self) -> bool:
        """Whether a person sees it at once."""
        return self._console.is_terminal

    def print(self, *lines: str, end: str = "\n") -> None:
        """Each text as one line."""
        for line in lines:
            self._console.print(one_line(line), end=end)

    def table(self, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Each row as one line, below the titles of the columns."""
        table = Table(*titles, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*map(one_line, row))
        self._console.print(table)


out = Screen(width=None if sys.stdout.isatty() else PIPED_WIDTH)
err = Screen(stderr=True)

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
