"""The commands of updates and backups: bundle, update, backup, restore."""

from pathlib import Path
from typing import Annotated

import typer

from appliance.delivery.releases import Releases
from appliance.delivery.results import FOLDER, last_update
from appliance.errors import DeliveryError
from appliance.logs import Ring, setup
from appliance.redaction import Redactor
from appliance.settings import Paths, environment, keep_files_private, load_paths, prepare_process
from appliance.terminal import err, out, reported

update_app = typer.Typer(no_args_is_help=True, help="Updates of this host.")


def add_commands(app: typer.Typer) -> None:
    """Add them to the command line."""
    app.command()(bundle)
    app.command()(backup)
    app.command()(restore)
    app.add_typer(update_app, name="update")


@reported
def bundle(
    out_file: Annotated[Path, typer.Option("--out", help="The file to be made.")],
    key: Annotated[Path, typer.Option(help="The private Ed25519 key that signs it.")],
    requirements: Annotated[
        Path, typer.Option(help="The lock of what the box needs.", exists=True, dir_okay=False)
    ] = Path("requirements/cpu.txt"),
    wheels: Annotated[
        Path | None,
        typer.Option(help="Folder with all wheels; else they are downloaded.", file_okay=False),
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option("--model", help="A model that travels along.")
    ] = None,
    may_downgrade: Annotated[  # noqa: FBT002 - typer's way to declare a switch
        bool, typer.Option("--may-downgrade", help="It may replace a newer release.")
    ] = False,
) -> None:
    """Make one signed file that updates boxes like this machine, without a network."""
    from appliance.app.delivering import bundle as make
    from appliance.app.delivering import model_files

    files = model_files(load_paths(environment()), models) if models else {}
    made = make(out_file, key, requirements, wheels, files, may_downgrade=may_downgrade)
    size_mb = out_file.stat().st_size / 1e6
    out.print(f"{out_file}: release {made.version} for {made.machine}, {size_mb:.0f} MB")


@update_app.command("run")
@reported
def run_updates(
    root: Annotated[Path, typer.Option(help="Where releases lie.")] = Path("/opt/vision-appliance"),
    folder: Annotated[Path, typer.Option(help="Where the inbox lies.")] = FOLDER,
    keys: Annotated[Path, typer.Option(help="The public keys that are trusted.")] = Path(
        "/etc/vision-appliance/update-keys"
    ),
    steady_s: Annotated[
        float, typer.Option(min=1, help="Seconds that a new release must be well, at a stretch.")
    ] = 120.0,
    grace_s: Annotated[
        float, typer.Option(min=1, help="Seconds it may take to become well, without builds.")
    ] = 120.0,
) -> None:
    """Do what lies in the inbox, and finish what a power cut interrupted; as root."""
    from appliance.app.delivering import run_updates as run
    from appliance.delivery.updater import Host
    from appliance.delivery.watch import Patience

    setup("info", "text", ring=Ring(), redactor=Redactor())
    host = Host(Releases(root), folder, keys)
    run(host, load_paths(environment()).state, Patience(steady_s=steady_s, grace_s=grace_s))


@update_app.command("last")
@reported
def tell_last(
    folder: Annotated[Path, typer.Option(help="Where the inbox lies.")] = FOLDER,
) -> None:
    """Print what became of the last update."""
    result = last_update(folder)
    if result is None:
        raise DeliveryError("no update was ever asked for here", hint=f"Bring one to {folder}.")
    out.print(f"{result.at} {result.order}: {result.message}. {result.hint}".rstrip())


@reported
def backup(
    file: Annotated[Path, typer.Argument(help="The file to be made; - for a pipe.")],
) -> None:
    """Write the state of this station into one file, while it runs."""
    paths = prepared_paths()
    from appliance.app.delivering import backup as make

    made = make(paths, file)
    size_mb = sum(each.size_bytes for each in made.files) / 1e6
    err.print(f"{len(made.files)} files, {size_mb:.1f} MB")


@reported
def restore(
    file: Annotated[Path, typer.Argument(help="A backup; - for a pipe.")],
) -> None:
    """Put the state of a backup in the place of what is there; the station must not run."""
    paths = prepared_paths()
    from appliance.app.delivering import restore as bring

    made = bring(paths, file)
    out.print(
        f"{paths.state}: {len(made.files)} files of {made.made_at}; "
        "what was there lies beside them, in before-restore-…"
    )


def prepared_paths() -> Paths:
    """The folders, ready for use: all that many commands need to know of the settings."""
    paths = load_paths(environment())
    keep_files_private()
    prepare_process(paths)
    return paths
