"""Images that stand in for versions of the station, for everything that may happen to an update.

Each is a Debian with a shell script called `appliance`, which does what the real one promises to
those who update it: the same commands, the same exit codes, the same folders.
"""

import shutil
from pathlib import Path

from tests.support.dockerd import BASE_IMAGE, ROOT, Engine

SCRIPT = """#!/bin/sh
state=/var/lib/vision-appliance
mine={form}
found=$(cat $state/form 2>/dev/null || echo $mine)
case "$1" in
  check) [ "$found" -le $mine ] || exit 1; exit {check} ;;
  build) exit {build} ;;
  backup) echo "$found" >"$2" ;;
  restore) cat "$2" >$state/form ;;
  health) [ -e {ready} ] ;;
  serve)
    [ "$found" -le $mine ] || exit 1
    echo $mine >$state/form
    {serve}
    trap 'exit 0' TERM
    while :; do sleep 0.1; done ;;
esac
"""
READY = "/tmp/ready"  # noqa: S108 - in the container, which has no other
WELL = f": >{READY}"


def make_version(
    engine: Engine,
    name: str,
    *,
    serve: str = WELL,
    form: int = 1,
    check: int = 0,
    build: int = 0,
) -> str:
    """Builds one; its id.

    Args:
        engine: that builds it.
        name: of the image, in full.
        serve: what the station does when it starts, as a line of shell.
        form: of the state that it writes; it reads those up to this one.
        check: exit code of `appliance check`.
        build: exit code of `appliance build`.
    """
    context = engine.folder / "versions" / name.replace(":", "-").replace("/", "-")
    context.mkdir(parents=True)
    script = SCRIPT.format(ready=READY, serve=serve, form=form, check=check, build=build)
    (context / "appliance").write_text(script)
    (context / "appliance").chmod(0o755)
    shutil.copy(ROOT / "docker" / "guard.py", context / "guard")
    (context / "Dockerfile").write_text(_dockerfile(name))
    built = ("build", "--quiet", "--network=none", "--tag", name, str(context))
    engine.docker(*built, environ={"DOCKER_BUILDKIT": "1"})
    return engine.inspect(name, "{{.Id}}")


def crashing_client(engine: Engine, folder: Path, at: int) -> Path:
    """A folder with a `docker` that ends everything at the `at`th change, before it is made.

    Changes are what a version on trial goes through: names that move, containers that do.
    """
    folder.mkdir()
    count = folder / "count"
    client = folder / "docker"
    client.write_text(
        f"#!/bin/sh\n"
        f'case "$1 $2" in\n'
        f'  tag* | "compose up" | "compose stop" | "image rm" | "image prune")\n'
        f"    echo >>{count}\n"
        f'    [ "$(wc -l <{count})" -ne {at} ] || kill -KILL 0 ;;\n'
        f"esac\n"
        f'exec {engine.bin / "docker"} "$@"\n'
    )
    client.chmod(0o755)
    return folder


def _dockerfile(name: str) -> str:
    return (
        f"FROM {BASE_IMAGE}\n"
        f'LABEL org.opencontainers.image.title="Vision Appliance" version="{name}"\n'
        "RUN install -d -o 10001 -g 10001 /var/lib/vision-appliance /var/cache/vision-appliance\n"
        "COPY appliance guard /usr/bin/\n"
        "USER 10001:10001\n"
        'CMD ["appliance", "serve"]\n'
    )
