"""The `appliance` command. Heavy modules load only in the command that needs them."""

import io
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from loguru import logger

from appliance import __version__
from appliance.app.state import claim_state
from appliance.cli_delivery import add_commands, prepared_paths
from appliance.errors import ApplianceError, EngineError, ListenError, ModelError, SettingsError
from appliance.logs import Ring, setup
from appliance.redaction import Redactor
from appliance.settings import (
    Loaded,
    Paths,
    Role,
    SettingsProblems,
    effective,
    environment,
    forget_foreign_variables,
    keep_files_private,
    load,
    load_paths,
    old_name_notices,
    prepare_process,
)
from appliance.settings.secrets import hash_password
from appliance.settings.tokens import TokenScope, check_token_name, new_token
from appliance.terminal import EXIT_FAILED, err, out, print_problems, reported

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,
)
models_app = typer.Typer(no_args_is_help=True, help="The models of this station.")
engines_app = typer.Typer(no_args_is_help=True, help="The engines in the cache.")
user_app = typer.Typer(no_args_is_help=True, help="The people who may sign in.")
token_app = typer.Typer(no_args_is_help=True, help="The tokens with which machines read.")
app.add_typer(models_app, name="models")
app.add_typer(engines_app, name="engines")
app.add_typer(user_app, name="user")
app.add_typer(token_app, name="token")

STAGE_WIDTH = 60  # what is said of a build is shorter, and covers what was said before


def main() -> None:
    """Run the command line."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a terminal's encoding lacks is spelled out; the default would end the command.
        sys.stdout.reconfigure(errors="backslashreplace")
    app()


def _start(environ: Mapping[str, str], *, shares: bool = False) -> tuple[Loaded, Ring]:
    """Settings, folders, log, in this order; nothing heavy is imported before.

    Args:
        environ: of this process.
        shares: what is made is for others too, who may read it as far as the umask lets them.
    """
    forgotten = forget_foreign_variables()
    try:
        loaded = load(environ)
    except SettingsProblems as error:
        from appliance.app.assembly import with_wrong_choices

        raise with_wrong_choices(error) from None
    if not shares:
        keep_files_private()
    prepare_process(loaded.settings.paths)
    claim_state(loaded.settings.paths.state)
    ring = Ring()
    log = loaded.settings.log
    setup(log.level, log.format, ring=ring, redactor=Redactor(loaded.settings.secrets()))
    if named := [name for name in forgotten if name.startswith("GRADIO_")]:
        logger.warning("settings: {} changes nothing; only APPLIANCE_... does", ", ".join(named))
    from appliance.app.assembly import check_choices

    check_choices(loaded.settings)
    return loaded, ring


def _begin() -> Paths:
    """The folders and a log, for commands that no other setting concerns."""
    paths = prepared_paths()
    claim_state(paths.state)
    setup("info", "text", ring=Ring(), redactor=Redactor())
    return paths


@app.command()
@reported
def serve() -> None:
    """Run the station; with wrong settings, a page that says what is wrong."""
    environ = environment()
    try:
        loaded, ring = _start(environ)
    except SettingsProblems as error:
        print_problems(error)
        _serve_problems(error, environ)
    else:
        _serve(loaded, ring, environ)


def _serve(
    loaded: Loaded, ring: Ring, environ: Mapping[str, str], **options: Callable[[], float]
) -> NoReturn:
    from appliance.app.serve import Manager, run

    run(loaded, ring, Manager.of(environ), **options)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a call into a camera's driver that never returns must not hold the process


def _serve_problems(error: SettingsProblems, environ: Mapping[str, str]) -> None:
    """Where the page listens is taken from the settings, as far as they are right."""
    from appliance.app.serve import Manager, run_problem_page

    setup("info", "text", ring=Ring(), redactor=Redactor(error.rest.secrets()))
    try:
        run_problem_page(error.problems, error.rest.web, Manager.of(environ))
    except ListenError as unheard:
        # Another try would bring nobody a station: it is the settings that are wrong.
        raise SettingsError(str(unheard), hint=unheard.hint) from unheard


@app.command()
@reported
def check() -> None:
    """Print the settings in effect, where each came from, and what this machine has."""
    loaded, _ = _start(environment())
    from appliance.app.assembly import hardware, versions
    from appliance.app.clock import clock_doubt, wall_s

    rows = [(row.variable, row.value_text or "–", row.origin) for row in effective(loaded)]
    out.table(("Variable", "Value", "From"), rows)
    out.print("")
    out.table(("Here", ""), [*versions().items(), *hardware().items()])
    out.print("")
    if loaded.unquoted:
        out.print(f"A pair of quotes was taken off the value of {', '.join(loaded.unquoted)}.")
    for notice in old_name_notices(loaded.settings):
        out.print(f"Warning: {notice}.")
    if doubt := clock_doubt(wall_s()):
        out.print(f"Warning: {doubt}.")
    out.print("The settings are right.")


@app.command()
@reported
def build(
    models: Annotated[list[str] | None, typer.Argument(help="Default: those in use.")] = None,
    frames: Annotated[
        Path | None, typer.Option(help="Pictures or a video to verify with.", exists=True)
    ] = None,
    backend: Annotated[
        str, typer.Option(help="Only for this one: tensorrt, rtx, cuda or cpu.")
    ] = "",
    instead: Annotated[
        Path | None,
        typer.Option("--out", help="Folder instead of the cache; its engines can be shipped."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Progress as lines of JSON.")] = False,  # noqa: FBT002 - typer's way to declare a switch
) -> None:
    """Make each model's engine and prove that it sees what the original sees."""
    environ = environment()
    loaded, _ = _start(environ, shares=instead is not None)
    settings = loaded.settings
    if instead is not None:
        paths = settings.paths.model_copy(update={"cache": instead.absolute()})
        settings = settings.model_copy(update={"paths": paths})
    from appliance.app.building import build_models
    from appliance.resources import keep_within_memory

    keep_within_memory()
    # A station that stops ends its build: leave nothing half made behind. Until here nothing was
    # made, and imports of libraries turn what is raised in them into failures of their own.
    signal.signal(signal.SIGTERM, lambda kind, _: sys.exit(128 + kind))
    tell = _tell_json if as_json else _telling(environ)
    try:
        for built in build_models(
            settings, models or (), frames=frames, only=backend, progress=tell
        ):
            if not as_json:
                out.print(built)
    except ApplianceError as error:
        if as_json:
            _print_json({"error": str(error), "hint": error.hint})
        raise
    except Exception as error:  # top of the build: told to whoever waits for it
        unforeseen = _unforeseen(error)
        if as_json:
            _print_json({"error": str(unforeseen), "hint": unforeseen.hint})
        raise unforeseen from error


def _unforeseen(error: Exception) -> ApplianceError:
    """What ended a build that nobody foresaw, as a sentence; the log gets all of it."""
    logger.opt(exception=error).error("build: unexpected error")
    if isinstance(error, MemoryError):
        from appliance.app.child import MEMORY_HINT

        return EngineError("the build found no memory", hint=MEMORY_HINT)
    return EngineError(
        f"the build ended unexpectedly: {type(error).__name__}: {str(error).partition(chr(10))[0]}",
        hint="Export the model again; if it stays, the log on the System page tells more.",
    )


def _tell_json(stage: str, progress: float | None) -> None:
    _print_json({"stage": stage, "progress": progress})


def _print_json(document: Mapping[str, object]) -> None:
    print(json.dumps(document), flush=True)  # noqa: T201 - the protocol with the parent process


def _telling(environ: Mapping[str, str]) -> Callable[[str, float | None], None]:
    """Tells whoever waits for the build: a person, and the service manager where it has one."""
    from appliance.pipeline.notify import BuildNotice, notifier

    notice = BuildNotice(notifier(environ.get("NOTIFY_SOCKET", "")))
    last = ""

    def tell(stage: str, progress: float | None) -> None:
        nonlocal last
        share = "" if progress is None else f"{progress:4.0%} "
        if err.is_terminal:
            err.print(f"{share}{stage}".ljust(STAGE_WIDTH), end="\r")
        elif stage != last:  # a line for each percent would fill somebody's log
            err.print(f"{share}{stage}")
        last = stage
        notice(stage, progress)

    return tell


@models_app.command("list")
@reported
def list_models() -> None:
    """Every model that has a card; 1 where a card is wrong."""
    paths = _begin()
    from appliance.app.assembly import library_in

    library = library_in(paths)
    rows: list[tuple[str, ...]] = []
    wrong: list[str] = []
    for name in library.names():
        try:
            card = library.card(name)
            bring = f"appliance models pull {name}" if card.origin else "model.onnx is not here"
            here = "here" if library.is_obtained(name) else bring
            rows.append((name, card.task, card.title, card.license, here))
        except ModelError as error:
            rows.append((name, "–", "its card is wrong", "–", "–"))
            wrong += str(error), f"  {error.hint}"
    out.table(("Name", "Task", "Title", "License", "Weights"), rows)
    out.print(*wrong, *(stray.sentence() for stray in library.strays()))
    if wrong:
        raise typer.Exit(EXIT_FAILED)


@models_app.command()
@reported
def pull(names: Annotated[list[str], typer.Argument(help="Models to bring.")]) -> None:
    """Bring models' weights from where their cards say, and check them."""
    paths = _begin()
    from appliance.app.assembly import library_in

    library = library_in(paths)
    for name in names:
        out.print(str(library.pull(name)))


@models_app.command()
@reported
def inspect(model: Annotated[str, typer.Argument(help="A model's name, or an ONNX file.")]) -> None:
    """Print what a model's file says of itself."""
    from appliance.app.assembly import inspection_lines, library_in

    path = Path(model)
    weights = path if path.suffix == ".onnx" else library_in(_begin()).weights(model)
    out.print(*inspection_lines(weights))


@engines_app.command("list")
@reported
def list_engines() -> None:
    """Every engine in the cache, in use or not."""
    paths = _begin()
    from appliance.app.assembly import cache_in

    rows = [
        (each.model, each.folder.name, f"{each.size_bytes / 1e6:.1f}", each.about)
        for each in cache_in(paths).stored()
    ]
    out.table(("Model", "Engine", "MB", "What"), rows)


@engines_app.command()
@reported
def prune() -> None:
    """Remove every engine that no model in use would load."""
    loaded, _ = _start(environment())
    from appliance.app.assembly import engines_in_use, shelf_of

    gone = shelf_of(loaded.settings).cache.prune(engines_in_use(loaded.settings))
    for each in gone:
        out.print(f"removed {each.model}/{each.folder.name}: {each.about}")
    out.print(f"{sum(each.size_bytes for each in gone) / 1e6:.1f} MB are free again.")


@user_app.command("hash")
@reported
def hash_user(
    name: Annotated[str, typer.Argument(help="What the person types to sign in.")],
    role: Annotated[Role, typer.Argument(help="What they may do.")] = Role.VIEWER,
) -> None:
    """Ask for a password and print the line for APPLIANCE_AUTH__USERS."""
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not password:
        raise ApplianceError("the password is empty", hint="Type one, or pipe it in.")
    out.print(f"{name}:{role}:{hash_password(password)}")


@token_app.command("new")
@reported
def make_token(
    name: Annotated[str, typer.Argument(help="Of the machine that will read.")],
    scopes: Annotated[list[TokenScope], typer.Option("--scope", help="What it may read.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="For how long.")] = 365,
) -> None:
    """Make a token: print it once, and the line for APPLIANCE_AUTH__TOKENS."""
    try:
        check_token_name(name)
    except ValueError as error:
        raise ApplianceError(f"the token {error}", hint="Choose a shorter, plainer one.") from error
    expires = datetime.now(UTC).date() + timedelta(days=days)
    text, token = new_token(name, scopes, expires)
    err.print("The token, for the machine; it cannot be shown again:")
    out.print(text)
    err.print("Its line in APPLIANCE_AUTH__TOKENS, for this station:")
    out.print(token.line())


@app.command()
@reported
def health() -> None:
    """Ask the running station how it is; 0 when it is ready."""
    paths = load_paths(environment())
    from appliance.web.health import ask_health

    answer = ask_health(paths.state)
    out.print(". ".join([str(answer["health"]), *answer["reasons"], *answer["notices"]]))
    if not answer["ready"]:
        raise typer.Exit(EXIT_FAILED)


@app.command()
@reported
def demo() -> None:
    """Run a station on a street clip, with a password made up for this time."""
    prepared_paths()
    environ = environment()
    from appliance.app.demo import prepare_demo

    stage = prepare_demo(environ, out.print, _telling(environ))
    from appliance.pipeline.start_up import stopwatch

    age_s = stopwatch()
    loaded, ring = _start(stage.environ)
    out.print(*stage.welcome.splitlines(), "")
    _serve(loaded, ring, environ, age_s=age_s)


@app.command()
def version() -> None:
    """Print the version."""
    out.print(__version__)


add_commands(app)
