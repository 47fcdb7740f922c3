"""Which settings are secret follows from their types alone, and so does who hides them."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, SecretStr

from appliance.redaction import MARK, Redactor
from appliance.settings import User, effective, load
from appliance.settings.fields import Section, is_secret, secrets_in, setting
from appliance.settings.tokens import Tokens
from appliance.settings.users import Users
from appliance.settings.variables import camera_variables, station_variables
from tests.support.planted import planted, seen_in

ALL_VARIABLES = (*station_variables(), *camera_variables("door"))
SECRETS = planted("door", "yard")
SOUNDS_SECRET = re.compile(r"pass|secret|token|(^|_)keys?$|hash|credential|users")


class Broker(Section):
    """A section as somebody may add one: nothing but types says what is secret."""

    address: str = setting("", "Where it is.", example="192.0.2.1")
    password: SecretStr | None = setting(None, "What it asks for.", example="a password")
    keys: Mapping[str, SecretStr] = setting({}, "Of each topic.", example="a=b")


class Outer(Section):
    """A section within a section."""

    broker: Broker = Broker()
    others: tuple[Broker, ...] = ()


HOLD_SECRETS = {
    "alone": SecretStr,
    "or nothing": SecretStr | None,
    "checked": Annotated[SecretStr, AfterValidator(str)] | None,
    "several": tuple[SecretStr, ...],
    "by name": Mapping[str, SecretStr],
    "within a value": User,
    "users": Users,
    "tokens": Tokens,
    "within a section": Broker,
    "deeper": Outer,
}


@pytest.mark.parametrize("annotation", HOLD_SECRETS.values(), ids=HOLD_SECRETS)
def test_what_holds_a_secret_is_one(annotation):
    """However deep it lies in the type."""
    assert is_secret(annotation)


@pytest.mark.parametrize(
    "annotation", [str, int | None, Literal["SecretStr"], tuple[str, ...], Mapping[str, float]]
)
def test_what_holds_none_is_shown(annotation):
    """Else nobody could see what is set."""
    assert not is_secret(annotation)


def test_every_secret_of_a_value_is_found():
    """In sections within sections, lists and maps; and nothing else is."""
    inner = Broker(address="shown", password=SecretStr("one"), keys={"a": SecretStr("two")})
    outer = Outer(broker=inner, others=(Broker(), Broker(password=SecretStr("three"))))
    assert list(secrets_in(outer)) == ["one", "two", "three"]


def test_what_sounds_like_a_secret_is_one():
    """A field that is called so and is plain text would be shown to everybody."""
    sounding = {each.name for each in ALL_VARIABLES if SOUNDS_SECRET.search(each.path[-1])}
    assert sounding == {each.name for each in ALL_VARIABLES if each.is_secret}


def test_a_secret_in_any_variable_is_hidden_and_redacted():
    """Every variable that is a secret, by its type: not shown, and known to the redactor."""
    environ = {each.name: each.text for each in SECRETS}
    for key in ("DOOR", "YARD"):
        environ[f"APPLIANCE_CAMERAS__{key}__URL"] = "rtsp://192.0.2.1/1"
    loaded = load(environ)
    assert {each.name for each in SECRETS} == {
        row.variable for row in effective(loaded) if row.value_text == "••••"
    }
    assert seen_in(f"{loaded!r} {loaded.settings!s} {effective(loaded)}", SECRETS) == []
    redactor = Redactor(loaded.settings.secrets())
    for secret in loaded.settings.secrets():
        assert redactor.redact(f"so {secret} it is") == f"so {MARK} it is"
        assert seen_in(secret, SECRETS)
    assert len(loaded.settings.secrets()) == len(SECRETS) == 6
