"""Settings of the live view on the host's own screen."""

import re
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from appliance.settings.fields import Note, Section, setting

_KEY = re.compile(r"[A-Za-z0-9_-]{32,}")


def _check_key(key: SecretStr) -> SecretStr:
    """A key that stands in a page without escapes, and cannot be guessed.

    Raises:
        ValueError: it is too short, or has other letters.
    """
    if not _KEY.fullmatch(key.get_secret_value()):
        raise ValueError("is shorter than 32 characters, or holds others than letters, digits, - _")
    return key


class Kiosk(Section):
    """The live view on the host's own screen."""

    port: int = setting(
        0,
        "Port on the loopback where a browser on the host itself shows Live, full screen, without "
        "a login; 0 shows nothing. APPLIANCE_KIOSK__KEY must be set as well.",
        example="8081",
        ge=0,
        le=65535,
    )
    key: Annotated[SecretStr, AfterValidator(_check_key)] | None = setting(
        None,
        "Key that this browser must bring, so that no other program of the host sees the pictures; "
        "`openssl rand -hex 32` makes one.",
        example="32 random characters or more",
        note=Note(form="at least 32 characters: letters, digits, - and _"),
    )
