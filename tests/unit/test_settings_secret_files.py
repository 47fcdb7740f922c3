"""Secrets that come from files."""

import os
from pathlib import Path

import pytest

from appliance.settings import SettingsProblems, load
from appliance.settings.variables import camera_variables, station_variables

HASH = "argon2id.v=19.m=65536~t=3~p=4.c2FsdHNhbHRzYWx0.aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
TEXTS = {
    "password": "p@ss w#rd",
    "metrics_token": "0123456789abcdef",
    "users": f"alice:admin:{HASH}",
    "key": "0123456789abcdef" * 2,
    "tokens": f"prom:metrics:2027-01-31:{'0f' * 32}",
}
SECRETS = [item for item in (*station_variables(), *camera_variables("door")) if item.is_secret]
URL = {"APPLIANCE_CAMERAS__DOOR__URL": "rtsp://h/1"}


def test_there_are_secrets():
    """The tests below are about these."""
    assert {item.path[-1] for item in SECRETS} == set(TEXTS)


@pytest.mark.parametrize("variable", SECRETS, ids=lambda item: item.name)
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_may_come_from_a_file_that_a_variable_names(variable, ending, tmp_path):
    """The line end of the file is not part of it."""
    file = tmp_path / "secret"
    file.write_text(TEXTS[variable.path[-1]] + ending, newline="")
    by_file = load(URL | {f"{variable.name}_FILE": str(file)}, secrets_dir=tmp_path)
    by_value = load(URL | {variable.name: TEXTS[variable.path[-1]]}, secrets_dir=tmp_path)
    assert by_file.settings == by_value.settings
    assert by_file.origins[variable.name] == f"file {file}"


@pytest.mark.parametrize("variable", SECRETS, ids=lambda item: item.name)
def test_a_secret_may_lie_in_a_well_known_folder(variable, tmp_path):
    """First systemd's credentials, then the container's secrets."""
    credentials, secrets = tmp_path / "credentials", tmp_path / "secrets"
    credentials.mkdir()
    secrets.mkdir()
    environ = URL | {"CREDENTIALS_DIRECTORY": str(credentials)}
    text = TEXTS[variable.path[-1]]
    (secrets / variable.secret_file_name).write_text(text + "\n")
    first = load(environ, secrets_dir=secrets)
    assert first.origins[variable.name] == f"file {secrets / variable.secret_file_name}"
    assert first.settings == load(URL | {variable.name: text}).settings
    (credentials / variable.secret_file_name).write_text(text)
    second = load(environ, secrets_dir=secrets)
    assert second.origins[variable.name] == f"file {credentials / variable.secret_file_name}"
    third = load(environ | {variable.name: text}, secrets_dir=secrets)
    assert third.origins[variable.name] == "environment"


@pytest.mark.parametrize("variable", SECRETS, ids=lambda item: item.name)
def test_a_secret_may_bear_its_variables_whole_name(variable, tmp_path):
    """Which is what systemd calls the files of a folder that it hands over as credentials."""
    text = TEXTS[variable.path[-1]]
    (tmp_path / variable.name.lower()).write_text(text)
    loaded = load(URL | {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert loaded.settings == load(URL | {variable.name: text}).settings


def test_a_file_alone_makes_no_camera(tmp_path):
    """The secret of a camera that was taken away may still lie there."""
    (tmp_path / "cameras__door__password").write_text("x")
    assert load({}, secrets_dir=tmp_path).settings.cameras == {}


def test_blanks_of_a_password_are_kept(tmp_path):
    """A password may begin and end with them."""
    loaded = load(URL | {"APPLIANCE_CAMERAS__DOOR__PASSWORD": " a \n"}, secrets_dir=tmp_path)
    password = loaded.settings.cameras["door"].password
    assert password is not None
    assert password.get_secret_value() == " a "


@pytest.mark.parametrize("variable", SECRETS, ids=lambda item: item.name)
def test_a_value_and_a_file_at_once_are_a_problem(variable, tmp_path):
    """Which one was meant nobody knows."""
    environ = URL | {variable.name: TEXTS[variable.path[-1]], f"{variable.name}_FILE": "/x"}
    with pytest.raises(SettingsProblems, match="_FILE as well"):
        load(environ, secrets_dir=tmp_path)


def make_missing(path: Path) -> None:
    """Leaves the place empty."""


def make_folder(path: Path) -> None:
    path.mkdir()


def make_empty(path: Path) -> None:
    path.write_text(" \n")


def make_large(path: Path) -> None:
    path.write_bytes(b"x" * 70_000)


def make_binary(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "explanation"),
    [
        (make_missing, "does not exist"),
        (make_folder, "is not a file"),
        (make_empty, "is empty"),
        (make_large, "larger than 64 KiB"),
        (make_binary, "not text in UTF-8"),
        (make_pipe, "is not a file"),
    ],
)
def test_a_file_of_no_use_is_a_problem_of_its_variable(make, explanation, tmp_path):
    """The path is not repeated: it may be the secret itself, put there by mistake (O-24)."""
    path = tmp_path / "hunter2"
    make(path)
    with pytest.raises(SettingsProblems) as caught:
        load({"APPLIANCE_AUTH__METRICS_TOKEN_FILE": str(path)}, secrets_dir=tmp_path)
    (problem,) = caught.value.problems
    assert problem.variable == "APPLIANCE_AUTH__METRICS_TOKEN_FILE"
    assert explanation in problem.problem
    assert problem.example == (
        "APPLIANCE_AUTH__METRICS_TOKEN_FILE=/run/secrets/auth__metrics_token"
    )
    assert "hunter2" not in f"{caught.value} {problem}"


def test_a_well_known_file_of_no_use_is_a_problem(tmp_path):
    """It was put there to be used."""
    (tmp_path / "auth__users").mkdir()
    with pytest.raises(SettingsProblems, match="a file auth__users among the secrets"):
        load({}, secrets_dir=tmp_path)
