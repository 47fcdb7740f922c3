"""The settings' documentation, made from the settings themselves."""

from itertools import groupby
from pathlib import Path

from appliance.errors import StoreError
from appliance.settings import old_names
from appliance.settings.secret_files import SECRETS_DIR
from appliance.settings.variables import FILE_SUFFIX, Variable, camera_variables, station_variables

README = "README.md"
ENV_EXAMPLE = ".env.example"
BEGIN = "<!-- settings:begin -->"
END = "<!-- settings:end -->"

_ABOUT_SECRETS = (
    f"A variable marked 🔒 is a secret. It may come from a file instead: the one that the variable "
    f"with `{FILE_SUFFIX}` at its end names, or, when neither is set, one named like the variable "
    f"in lower case, with or without `APPLIANCE_` (`auth__users`, `cameras__door__password`), in "
    f"`$CREDENTIALS_DIRECTORY` (systemd), then in `{SECRETS_DIR}` (containers)."
)
_ABOUT_QUOTES = (
    "One pair of quotes around a value is taken off, and the log says so at the start. A value "
    "that itself begins and ends with a quote, as a password may, needs a second pair around it."
)
_HEAD = f"""\
# Settings of the station, one a line: NAME=value, without quotes.
# Take away the # in front of a line to set it. Empty means unset.
# Secrets may come from files: NAME{FILE_SUFFIX}=/path/of/file.
"""


def table() -> str:
    """All variables as a Markdown table, with paragraphs on secrets and on quotes."""
    lines = ["| Variable | Form | Default | Meaning |", "| --- | --- | --- | --- |"]
    lines += [_row(variable) for variable in _variables("<KEY>")]
    return "\n".join((*lines, "", _ABOUT_SECRETS, "", _ABOUT_QUOTES, ""))


def env_example() -> str:
    """All variables but old names as a commented environment file, as Compose takes it."""
    variables = (each for each in _variables("door") if each.path[0] != old_names.SECTION)
    groups = [
        f"\n# {group}\n{''.join(map(_entry, entries))}"
        for group, entries in groupby(variables, key=lambda item: item.group)
    ]
    return _HEAD + "".join(groups)


def write(root: Path) -> None:
    """Bring README and example up to date.

    Args:
        root: the folder of the repository.

    Raises:
        StoreError: the README has no place for the table.
    """
    for path, text in _documents(root).items():
        path.write_text(text, encoding="utf-8")


def stale(root: Path) -> list[str]:
    """The names of the documents that `write` would change.

    Raises:
        StoreError: the README has no place for the table.
    """
    return [
        path.name
        for path, text in _documents(root).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def _documents(root: Path) -> dict[Path, str]:
    readme = root / README
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise StoreError(
            f"{README}: expected {BEGIN} and {END}", hint="put them where the table belongs"
        )
    text = f"{before}{BEGIN}\n{table()}{END}{after}"
    return {readme: text, root / ENV_EXAMPLE: env_example()}


def _variables(key: str) -> tuple[Variable, ...]:
    return (*camera_variables(key), *station_variables())


def _row(variable: Variable) -> str:
    name = f"`{variable.name}`" + (" 🔒" if variable.is_secret else "")
    default = "required" if variable.is_required else variable.default
    cells = (name, variable.form, default, variable.meaning)
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _entry(variable: Variable) -> str:
    default = f" Default: {variable.default}." if variable.default else ""
    return f"# {variable.meaning}{default}\n#{variable.example_line}\n"
