"""From the environment to settings."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from appliance.settings import Loaded, Problem, Role, SettingsProblems, effective, load, load_paths
from appliance.settings.variables import camera_variables, station_variables

HASH = "argon2id.v=19.m=65536~t=3~p=4.c2FsdHNhbHRzYWx0.aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
ORIGINAL_HASH = (
    "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
)
ALL_VARIABLES = (*station_variables(), *camera_variables("door"))
PROXIES = {"APPLIANCE_WEB__TRUSTED_PROXIES": "10.0.0.5"}
SIGN_ON = {"APPLIANCE_AUTH__PROXY_HEADER": "X-Remote-User"}
KIOSK_KEY = "0123456789abcdef" * 2
COMPANIONS = {
    "APPLIANCE_AUTH__PROXY_HEADER": PROXIES,
    "APPLIANCE_AUTH__PROXY_ROLE_HEADER": PROXIES | SIGN_ON,
    "APPLIANCE_KIOSK__PORT": {"APPLIANCE_KIOSK__KEY": KIOSK_KEY},
}
"""What must be set as well, where a variable means nothing alone."""
URL = {"APPLIANCE_CAMERAS__DOOR__URL": "clip.mp4"}


@pytest.fixture
def read(tmp_path):
    """Loads settings as on a box without a folder of secrets."""

    def read(**variables: str) -> Loaded:
        environ = {f"APPLIANCE_{name}": value for name, value in variables.items()}
        return load(environ, secrets_dir=tmp_path / "no-secrets")

    return read


@pytest.fixture
def problems_of(read):
    """The problems of an environment that must have some, by variable."""

    def problems_of(**variables: str) -> dict[str, Problem]:
        with pytest.raises(SettingsProblems) as caught:
            read(**variables)
        return {problem.variable: problem for problem in caught.value.problems}

    return problems_of


def test_an_empty_environment_gives_the_defaults(read):
    """Nothing needs to be set, and other programs' variables are none of ours."""
    settings = load({"PATH": "/bin", "APPLIANCES": "x"}, secrets_dir=Path("/nowhere")).settings
    assert settings == read().settings
    assert settings.model == "centernet-mobilenetv3"
    assert (settings.web.host, settings.web.port) == ("127.0.0.1", 8080)
    assert settings.cameras == {}
    assert settings.auth.users == ()


def test_settings_are_frozen(read):
    """Nobody changes a setting of a running station."""
    with pytest.raises(ValidationError):
        read().settings.web.port = 1


@pytest.mark.parametrize("variable", ALL_VARIABLES, ids=lambda item: item.name)
def test_blank_means_unset_for_every_variable(variable):
    """Compose passes VAR="" for what nobody set, and that is the default (O-20)."""
    needed = {} if variable.name in URL else URL
    unset = load(needed, secrets_dir=Path("/nowhere"))
    for blank in ("", " ", "\n", '""', "''", '" "'):
        assert load(needed | {variable.name: blank}, secrets_dir=Path("/nowhere")) == unset


@pytest.mark.parametrize(
    "variable", [item for item in ALL_VARIABLES if not item.is_secret], ids=lambda item: item.name
)
def test_every_example_is_accepted(variable):
    """What messages and documents propose works, and differs from unset."""
    environ = URL | COMPANIONS.get(variable.name, {}) | {variable.name: variable.example}
    loaded = load(environ, secrets_dir=Path("/nowhere"))
    assert loaded.origins[variable.name] == "environment"


def test_the_example_of_a_token_is_refused(problems_of):
    """Nobody runs a station with the token of the documentation."""
    example = next(item for item in ALL_VARIABLES if item.name.endswith("TOKEN")).example
    assert problems_of(AUTH__METRICS_TOKEN=example)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("APPLIANCE_WEB_PORT", "APPLIANCE_WEB__PORT"),
        ("APPLIANCE_PORT", "APPLIANCE_WEB__PORT"),
        ("APPLIANCE_LOG__LEVLE", "APPLIANCE_LOG__LEVEL"),
        ("APPLIANCE_AUTH_USERS_FILE", "APPLIANCE_AUTH__USERS"),
        ("appliance_model_", "APPLIANCE_MODEL"),
        ("APPLIANCE_CAMERAS_DOOR_URL", "APPLIANCE_CAMERAS__DOOR__URL"),
        ("APPLIANCE_CAMERAS__DOOR_URI", None),
        ("APPLIANCE_CAMERA__DOOR__URL", "APPLIANCE_CAMERAS__DOOR__URL"),
        ("APPLIANCE_CAMERAS__DOOR__URI", "APPLIANCE_CAMERAS__DOOR__URL"),
        ("APPLIANCE_CAMERAS__MY_DOOR__READTIMEOUT", "APPLIANCE_CAMERAS__MY_DOOR__READ_TIMEOUT_S"),
        ("APPLIANCE_CAMERAS_DOOR_PASSWORD_FILE", "APPLIANCE_CAMERAS__DOOR__PASSWORD"),
    ],
)
def test_a_misspelt_variable_is_a_problem_that_names_the_nearest_one(written, meant):
    """A misspelt variable with our prefix is never ignored, even when it is blank (O-19)."""
    for value in ("SecretValue", ""):
        with pytest.raises(SettingsProblems) as caught:
            load({written: value}, secrets_dir=Path("/nowhere"))
        (problem,) = caught.value.problems
        assert problem.variable == written
        assert meant is None or f"did you mean {meant}?" in problem.problem
        assert "SecretValue" not in repr(caught.value) + repr(problem)


def test_a_variable_like_no_other_is_a_problem_without_a_suggestion(problems_of):
    """A guess that is far off would mislead (O-19)."""
    assert problems_of(QUUX="1")["APPLIANCE_QUUX"].problem == "is no setting of this release"
    fields = problems_of(CAMERAS__DOOR__QQQ="1")["APPLIANCE_CAMERAS__DOOR__QQQ"].expected
    assert "URL, NAME, USERNAME" in fields


def test_only_ascii_letters_are_folded(problems_of):
    """A dotless i turns into I in upper case, but nobody means it as one (O-19)."""
    assert list(problems_of(LıVE__FPS="1")) == ["APPLIANCE_LıVE__FPS"]


def test_a_file_for_what_is_no_secret_is_explained(problems_of):
    """Only secrets come from files."""
    problem = problems_of(WEB__PORT_FILE="x")["APPLIANCE_WEB__PORT_FILE"]
    assert "only those come from files" in problem.problem


def service_links(service, port):
    """The variables by which Kubernetes tells of a service, as its documentation lists them."""
    name, url = service.upper().replace("-", "_"), f"tcp://10.0.0.11:{port}"
    return {
        f"{name}_SERVICE_HOST": "10.0.0.11",
        f"{name}_SERVICE_PORT": str(port),
        f"{name}_SERVICE_PORT_HTTP_ALT": str(port),
        f"{name}_PORT": url,
        f"{name}_PORT_{port}_TCP": url,
        f"{name}_PORT_{port}_TCP_PROTO": "tcp",
        f"{name}_PORT_{port}_TCP_PORT": str(port),
        f"{name}_PORT_{port}_TCP_ADDR": "10.0.0.11",
    }


@pytest.mark.parametrize(
    "service",
    ["appliance", "appliance-metrics", "appliance-web", "appliance-cameras-door", "appliance-port"],
)
def test_variables_that_kubernetes_adds_are_explained(service):
    """Any service whose name begins like our prefix fills the pod with variables nobody wrote."""
    links = service_links(service, 8080)
    with pytest.raises(SettingsProblems) as caught:
        load(links, secrets_dir=Path("/nowhere"))
    assert [problem.variable for problem in caught.value.problems] == sorted(links)
    for problem in caught.value.problems:
        assert problem.problem == (
            f"is no setting; Kubernetes adds it for a service named {service}"
        )
        assert problem.expected.startswith("enableServiceLinks: false")


@pytest.mark.parametrize("value", ["8080", "", "tcp", "http://10.0.0.11:80", "tcp://10.0.0.11"])
def test_a_misspelt_port_is_no_service_of_kubernetes(problems_of, value):
    """The variable that a person meant is named, not a remedy for something else."""
    assert "APPLIANCE_WEB__PORT" in problems_of(PORT=value)["APPLIANCE_PORT"].problem


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ("\ufeff", "a byte order mark"),
        ("export ", "the word export"),
        ("export\t", "the word export"),
        (" ", "a blank"),
        ("\t\xa0", "a blank"),
        ("\ufeffexport ", '"\\ufeffexport"'),
        ("\u200b", '"\\u200b"'),
        ("- ", '"-"'),
        ('"', '"""'),
        ("\udcff", '"\\udcff"'),
    ],
)
@pytest.mark.parametrize("name", ["APPLIANCE_WEB__PORT", "appliance_web__port"])
def test_what_stands_in_front_of_a_name_is_told(before, told, name):
    """Nobody can see it, and the default would hold without a word."""
    for value in ("8311", ""):
        with pytest.raises(SettingsProblems) as caught:
            load({before + name: value}, secrets_dir=Path("/nowhere"))
        (problem,) = caught.value.problems
        assert problem.problem == f"is no setting: {told} stands in front of its name"
        assert problem.variable.isprintable()
        assert problem.example == "APPLIANCE_WEB__PORT=8080"
        assert "8311" not in repr(caught.value) + repr(problem)


def test_a_character_within_the_prefix_is_told():
    """An invisible one, as a copied text may have it."""
    with pytest.raises(SettingsProblems, match="a character that is not ASCII"):
        load({"APPLI\u200bANCE_WEB__PORT": "1"}, secrets_dir=Path("/nowhere"))


def test_variables_of_others_that_end_like_ours_are_left_alone():
    """Another program's name may hold ours."""
    others = {"MY_APPLIANCE_WEB__PORT": "1", "BASH_FUNC_APPLIANCE_X%%": "1", "xAPPLIANCE_Y": "1"}
    assert load(others, secrets_dir=Path("/nowhere"))


def test_all_problems_are_reported_at_once(problems_of):
    """Each with its variable, the expected form and an example (O-20)."""
    found = problems_of(
        WEB__PORT="http",
        LOG__LEVEL="loud",
        LIVE__FPS="nan",
        WEB__HTTPS="perhaps",
        CAMERAS__DOOR__NAME="Door",
        MODEL_NAME="x",
    )
    assert found["APPLIANCE_WEB__PORT"] == Problem(
        "APPLIANCE_WEB__PORT",
        "is not a whole number",
        "whole number, 1..65535",
        "APPLIANCE_WEB__PORT=8080",
    )
    assert found["APPLIANCE_LOG__LEVEL"].expected == "debug, info, warning or error"
    assert found["APPLIANCE_LIVE__FPS"].problem in {"is not a finite number", "is out of range"}
    assert found["APPLIANCE_WEB__HTTPS"].problem == "is neither on nor off"
    assert found["APPLIANCE_CAMERAS__DOOR__URL"].problem == "is required"
    assert "APPLIANCE_MODEL" in found["APPLIANCE_MODEL_NAME"].problem
    assert len(found) == 6


def test_every_problem_of_a_camera_is_told_whatever_is_wrong_with_its_url(problems_of):
    """A wrong URL hides nothing of the same camera, nor what follows from others."""
    found = problems_of(
        CAMERAS__DOOR__URL="gopher://h/1",
        CAMERAS__DOOR__SIZE="720p",
        CAMERAS__DOOR__FPS="0",
        CAMERAS__YARD__SIZE="wide",
        AUTH__PROXY_HEADER="X-Remote-User",
    )
    assert {name.removeprefix("APPLIANCE_"): told.problem[:18] for name, told in found.items()} == {
        "CAMERAS__DOOR__URL": "has a scheme that ",
        "CAMERAS__DOOR__SIZE": "is not a width and",
        "CAMERAS__DOOR__FPS": "is out of range",
        "CAMERAS__YARD__URL": "is required",
        "CAMERAS__YARD__SIZE": "is not a width and",
        "AUTH__PROXY_HEADER": "is set, but no pro",
    }


def test_what_follows_from_a_wrong_variable_alone_is_no_problem_of_its_own(problems_of):
    """With the proxies' list put right, nothing is wrong with the header."""
    found = problems_of(AUTH__PROXY_HEADER="X-Remote-User", WEB__TRUSTED_PROXIES="*")
    assert list(found) == ["APPLIANCE_WEB__TRUSTED_PROXIES"]


def test_a_kiosk_without_a_key_is_refused(problems_of):
    """Deny by default: any program of the host could ask the loopback for the pictures."""
    problem = problems_of(KIOSK__PORT="8081")["APPLIANCE_KIOSK__PORT"]
    assert "no key" in problem.problem
    assert problem.example.startswith("APPLIANCE_KIOSK__KEY_FILE=")


def test_a_key_without_a_kiosk_is_fine(read):
    """The installer makes one on every host, long before anybody wants a screen."""
    assert read(KIOSK__KEY=KIOSK_KEY).settings.kiosk.port == 0


@pytest.mark.parametrize("key", ["x" * 31, f'{KIOSK_KEY}"', f"{KIOSK_KEY} x", f"{KIOSK_KEY}é"])
def test_a_key_of_the_kiosk_that_is_short_or_odd_is_refused_once(problems_of, key):
    """The page that brings it holds it without escapes; and one problem is not told as two."""
    found = problems_of(KIOSK__PORT="8081", KIOSK__KEY=key)
    assert list(found) == ["APPLIANCE_KIOSK__KEY"]
    assert "32 characters" in found["APPLIANCE_KIOSK__KEY"].problem


def test_what_is_right_can_be_had_beside_what_is_wrong(read):
    """The page that lists the problems listens where it was told to."""
    with pytest.raises(SettingsProblems) as caught:
        read(WEB__PORT="8311", WEB__HOSTS="https://x", LIVE__FPS="fast", CAMERAS__DOOR__NAME="x")
    rest = caught.value.rest
    assert (rest.web.port, rest.web.hosts, rest.live.fps) == (8311, (), 15)
    assert len(caught.value.problems) == 3


def test_the_folders_can_be_had_whatever_else_is_wrong(tmp_path):
    """A missing secret file is nothing to somebody who wants a list of models (O-20)."""
    environ = {
        "APPLIANCE_PATHS__STATE": "/s",
        "APPLIANCE_AUTH__USERS_FILE": "/nowhere/users",
        "APPLIANCE_QUUX": "1",
    }
    assert load_paths(environ, secrets_dir=tmp_path).state == Path("/s")


@pytest.mark.parametrize("name", ["PATHS_STATE", "PATH__STATE", "PATHS__STAT", "PATHS__CACHE"])
def test_a_folder_that_is_named_wrong_is_told_to_whoever_wants_the_folders(tmp_path, name):
    """Else a model would arrive in a folder that nobody named (O-19)."""
    environ = {f"APPLIANCE_{name}": "data", "APPLIANCE_QUUX": "1"}
    with pytest.raises(SettingsProblems) as caught:
        load_paths(environ, secrets_dir=tmp_path)
    assert [problem.variable for problem in caught.value.problems] == [f"APPLIANCE_{name}"]


def test_quotes_that_are_taken_off_are_noted(read, tmp_path):
    """By the variables' names, those of files too; what has none is not named."""
    (tmp_path / "users").write_text(f"'ada:admin:{HASH}'\n")
    loaded = read(
        STATION__NAME='"Zm4rker 3"',
        LIVE__FPS="10",
        DETECTION__CLASSES='["car", "person"]',
        AUTH__USERS_FILE=str(tmp_path / "users"),
    )
    assert loaded.settings.station.name == "Zm4rker 3"
    assert loaded.unquoted == ("APPLIANCE_STATION__NAME", "APPLIANCE_AUTH__USERS")
    assert read(LIVE__FPS="10").unquoted == ()


@pytest.mark.parametrize("written", ["'\"hush\"'", '""hush""'])
def test_a_password_may_begin_and_end_with_a_quote(read, tmp_path, written):
    """A second pair around it keeps the first, in a variable and in a file alike."""
    (tmp_path / "password").write_text(f"{written}\n")
    url = {"CAMERAS__DOOR__URL": "rtsp://h/1"}
    for chosen in (
        {"CAMERAS__DOOR__PASSWORD": written},
        {"CAMERAS__DOOR__PASSWORD_FILE": str(tmp_path / "password")},
    ):
        password = read(**url, **chosen).settings.cameras["door"].password
        assert password.get_secret_value() == '"hush"'


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WEB__PORT", "0"),
        ("WEB__PORT", "65536"),
        ("WEB__HOST", "127.0.0.1:8080"),
        ("WEB__HOST", "http://127.0.0.1"),
        ("WEB__HOST", "[127.0.0.1]"),
        ("WEB__HOST", "[::1]:8080"),
        ("WEB__HOST", "[]"),
        ("WEB__HOST", "*"),
        ("DETECTION__CONFIDENCE", "1.01"),
        ("LIVE__QUALITY", "29"),
        ("ENGINE__THREADS", "-1"),
        ("CAMERAS__DOOR__FPS", "0"),
        ("CAMERAS__DOOR__OPEN_TIMEOUT_S", "inf"),
        ("CAMERAS__DOOR__SIZE", "720p"),
        ("WEB__BASE_PATH", "/cam/../x"),
        ("WEB__HOSTS", "https://hall3.example"),
        ("WEB__TRUSTED_PROXIES", "0.0.0.0/0"),
        ("WEB__TRUSTED_PROXIES", "*"),
        ("WEB__TRUSTED_PROXIES", '["10.0.0.1"'),
        ("WEB__TRUSTED_PROXIES", "[1]"),
        ("WEB__TRUSTED_PROXIES", "[" * 100_000),
        ("DETECTION__CLASSES", "person=high"),
        ("DETECTION__CLASSES", "person=2"),
        ("DETECTION__CLASSES", "person,person"),
        ("DETECTION__CLASSES", "=0.5"),
        ("DETECTION__CLASSES", '{"person": null, "x\\nAPPLIANCE_MODEL=y": 0.5}'),
        ("DETECTION__CLASSES", '{"person": "x"}'),
        ("DETECTION__CLASSES", '{"person": 0.5'),
        ("MODEL", "../secrets"),
        ("STATION__NAME", "two\nlines"),
        ("PATHS__STATE", "data"),
        ("AUTH__METRICS_TOKEN", "short"),
        ("AUTH__METRICS_TOKEN", "sixteen characters with blanks"),
    ],
)
def test_a_value_out_of_its_form_is_a_problem_of_its_variable(problems_of, variable, value):
    """Nothing is clipped or guessed."""
    found = problems_of(**{"CAMERAS__DOOR__URL": "clip.mp4", variable: value})
    assert list(found) == [f"APPLIANCE_{variable}"]


@pytest.mark.parametrize(
    "text", ["a.b,c", "a.b, c,", "a.b\nc\n", '["a.b", "c"]', '"a.b,c"', "A.b,c."]
)
def test_a_list_may_be_written_in_many_ways(read, text):
    """With commas, one a line, or as JSON (O-20)."""
    assert read(WEB__HOSTS=text).settings.web.hosts == ("a.b", "c")


@pytest.mark.parametrize("text", ["on", "ON", "yes", "true", "True", "1", '"1"', " on "])
def test_a_switch_may_be_written_in_many_ways(read, text):
    """On is on (O-20)."""
    assert read(WEB__HTTPS=text).settings.web.https is True


@pytest.mark.parametrize("text", ["off", "no", "false", "0"])
def test_a_switch_may_be_turned_off_in_many_ways(read, text):
    """Off is off, also where the default is on (O-20)."""
    settings = read(CAMERAS__DOOR__URL="x.mp4", CAMERAS__DOOR__REPEAT=text).settings
    assert settings.cameras["door"].repeat is False


@pytest.mark.parametrize(
    "text",
    [
        "traffic light=0.4,person=1,car",
        "traffic light = 0.4\nperson=1\ncar\n",
        '["traffic light=0.4", "person=1", "car"]',
        '{"traffic light": 0.4, "person": 1, "car": null}',
    ],
)
def test_a_class_map_may_be_written_in_many_ways(read, text):
    """A class without a threshold takes the general one."""
    expected = {"traffic light": 0.4, "person": 1.0, "car": None}
    assert read(DETECTION__CLASSES=text).settings.detection.classes == expected


@pytest.mark.parametrize(
    ("text", "path"), [("/", ""), ("cam", "/cam"), ("/cam/", "/cam"), ("/a//b", "/a/b")]
)
def test_the_base_path_has_one_spelling(read, text, path):
    """A slash before, none after."""
    assert read(WEB__BASE_PATH=text).settings.web.base_path == path


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("::", "::"),
        ("[::]", "::"),
        ("[::1]", "::1"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("0.0.0.0", "0.0.0.0"),  # noqa: S104 - nothing listens here
        ("Hall3.local", "Hall3.local"),
    ],
)
def test_where_the_page_listens_may_have_brackets_and_has_one_spelling(read, text, host):
    """As addresses of IPv6 stand in URLs, and as the operating system takes them."""
    assert read(WEB__HOST=text).settings.web.host == host


def test_a_network_has_one_spelling(read):
    """An address within a network names the network."""
    proxies = read(WEB__TRUSTED_PROXIES="10.0.0.5/24, ::1").settings.web.trusted_proxies
    assert proxies == ("10.0.0.0/24", "::1/128")


def test_the_folders_come_from_systemd(tmp_path):
    """The first of the folders that systemd made, unless a variable names another one."""
    environ = {"STATE_DIRECTORY": f"{tmp_path}/s:/other", "CACHE_DIRECTORY": f"{tmp_path}/c"}
    paths = load(environ, secrets_dir=tmp_path).settings.paths
    assert (paths.state, paths.cache) == (tmp_path / "s", tmp_path / "c")
    assert paths.temporary == tmp_path / "c" / "tmp"
    environ["APPLIANCE_PATHS__CACHE"] = f"{tmp_path}/mine"
    assert load(environ, secrets_dir=tmp_path).settings.paths.cache == tmp_path / "mine"


@pytest.fixture
def homeless(monkeypatch, tmp_path):  # noqa: ARG001 - made before, for pytest's own user
    """A user id without a name, and no HOME, as cron, `env -i` or a numeric User= give it."""
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home_needs_none_where_the_folders_are_set(tmp_path):
    """What is set is never asked for elsewhere, whether by a variable or by systemd."""
    for environ in (
        {"APPLIANCE_PATHS__STATE": "/s", "APPLIANCE_PATHS__CACHE": "/c"},
        {"STATE_DIRECTORY": "/s", "CACHE_DIRECTORY": "/c"},
        {"APPLIANCE_PATHS__STATE": "/s", "CACHE_DIRECTORY": "/c"},
    ):
        paths = load(environ, secrets_dir=tmp_path).settings.paths
        assert (paths.state, paths.temporary) == (Path("/s"), Path("/c/tmp"))


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home_is_told_which_folders_to_name(problems_of):
    """One sentence for each folder that is missing, beside all other problems."""
    found = problems_of(PATHS__CACHE="/c", WEB__PORT="http")
    assert set(found) == {"APPLIANCE_PATHS__STATE", "APPLIANCE_WEB__PORT"}
    told = found["APPLIANCE_PATHS__STATE"]
    assert told.problem == "is not set, and this user has no home folder"
    assert told.example == "APPLIANCE_PATHS__STATE=/var/lib/vision-appliance"
    assert set(problems_of()) == {"APPLIANCE_PATHS__STATE", "APPLIANCE_PATHS__CACHE"}


@pytest.mark.parametrize(
    ("url", "longest"),
    [
        ("rtsp://192.0.2.10/x", "p" * 120),
        ("rtsps://192.0.2.10/x", "#" * 40),
        ("http://192.0.2.10/x", "p" * 1016),
    ],
)
def test_credentials_that_the_decoder_would_cut_are_refused(read, problems_of, url, longest):
    """One sign more does not fit; the sentence says how long they are, and nothing of them."""
    camera = {"CAMERAS__DOOR__URL": url, "CAMERAS__DOOR__USERNAME": "viewer"}
    read(**camera, CAMERAS__DOOR__PASSWORD=longest)
    found = problems_of(**camera, CAMERAS__DOOR__PASSWORD=longest + longest[0])
    told = found["APPLIANCE_CAMERAS__DOOR__URL"].problem
    assert "the user name and password are too long" in told
    assert longest not in told


def test_cameras_are_told_apart_by_keys_in_lower_case(read):
    """The environment folds case, so keys do."""
    cameras = read(
        CAMERAS__FRONT_DOOR__URL="clip.mp4",
        CAMERAS__FRONT_DOOR__SIZE="1280X720",
        cameras__gate2__url="/dev/video0",
    ).settings.cameras
    assert list(cameras) == ["front_door", "gate2"]
    assert cameras["front_door"].size_wh == (1280, 720)
    assert cameras["gate2"].size_wh is None


def test_two_spellings_of_one_variable_are_a_problem(problems_of):
    """DOOR and door are the same camera, and which value was meant nobody knows."""
    found = problems_of(CAMERAS__DOOR__URL="a.mp4", CAMERAS__door__URL="b.mp4")
    assert "more than once" in found["APPLIANCE_CAMERAS__DOOR__URL"].problem


@pytest.mark.parametrize("key", ["FRONT-DOOR", "A__B", "TÜR", "A.B"])
def test_a_key_of_another_form_is_explained(problems_of, key):
    """Letters, digits and single underscores."""
    (problem,) = problems_of(**{f"CAMERAS__{key}__URL": "x.mp4"}).values()
    assert "the camera's key" in problem.problem


@pytest.mark.parametrize(
    ("url", "stored", "username", "password"),
    [
        ("rtsp://10.0.0.1/1", "rtsp://10.0.0.1/1", "", None),
        ("RTSP://u:p%40ss@h:554/1?x=1", "rtsp://h:554/1?x=1", "u", "p@ss"),
        ("http://u:p@ss@[fe80::1]:80/", "http://[fe80::1]:80/", "u", "p@ss"),
        ("rtsp://u@h", "rtsp://h", "u", None),
        ("/dev/video0", "/dev/video0", "", None),
        ("v4l2:///dev/video0", "v4l2:///dev/video0", "", None),
        ("clips/a@b #1.mp4", "clips/a@b #1.mp4", "", None),
    ],
)
def test_credentials_leave_the_url(read, url, stored, username, password):
    """What remains of the URL may be shown."""
    camera = read(CAMERAS__DOOR__URL=url).settings.cameras["door"]
    assert (camera.url, camera.username) == (stored, username)
    assert (camera.password and camera.password.get_secret_value()) == password


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://u:pa#xyz@h/1",
        "rtsp://u:pa/xyz@h/1",
        "rtsp://u:12/xyz@h/1",
        "rtsp://u:12?xyz@h/1",
        "rtsp://u:12#xyz",
        "rtsp://u:p xyz@h/1",
        "rtsp://[::1/1",
        "rtsp:///1",
        "rtsp://h:0/",
        "rtsp:/h/1",
        "ftp://h/1",
        "file://clip.mp4",
        "rtsp://h/\n1",
    ],
)
def test_a_url_that_cannot_be_read_safely_is_a_problem(problems_of, url):
    """A password cut in two by its own # would be half shown as the host's name."""
    (problem,) = problems_of(CAMERAS__DOOR__URL=url).values()
    assert problem.variable == "APPLIANCE_CAMERAS__DOOR__URL"
    assert "xyz" not in repr(problem)


def test_credentials_apart_need_no_escaping(read):
    """A decoder gets them escaped."""
    camera = read(
        CAMERAS__DOOR__URL="rtsp://h/1",
        CAMERAS__DOOR__USERNAME="us er",
        CAMERAS__DOOR__PASSWORD="p@#%/:",
    ).settings.cameras["door"]
    assert camera.address() == "rtsp://us%20er:p%40%23%25%2F%3A@h/1"


def test_credentials_given_twice_are_a_problem(problems_of):
    """In the URL and apart: which were meant nobody knows."""
    found = problems_of(
        CAMERAS__DOOR__URL="rtsp://u:secret1@h/1", CAMERAS__DOOR__PASSWORD="secret2"
    )
    assert "holds a password" in found["APPLIANCE_CAMERAS__DOOR__URL"].problem


@pytest.mark.parametrize(
    "text",
    [
        f"alice:admin:{HASH}\nbob:viewer:{HASH}\n",
        f"alice:admin:{HASH}, bob:Viewer:{HASH},",
        f"alice:admin:{ORIGINAL_HASH},bob:viewer:{ORIGINAL_HASH}",
        f'["alice:admin:{ORIGINAL_HASH}", "bob:viewer:{HASH}"]',
        f"'alice:admin:{ORIGINAL_HASH}\r\n\r\nbob:viewer:{ORIGINAL_HASH}'",
    ],
)
def test_users_may_be_written_in_many_ways(read, text):
    """One a line, with commas, as JSON; the hash in our form or in argon2's own."""
    users = read(AUTH__USERS=text).settings.auth.users
    assert [(user.name, user.role) for user in users] == [
        ("alice", Role.ADMIN),
        ("bob", Role.VIEWER),
    ]
    assert {user.hash.get_secret_value() for user in users} == {HASH}


@pytest.mark.parametrize(
    ("text", "explanation"),
    [
        (f"alice:root:{HASH}", "entry 1 has a role"),
        (f"al ice:admin:{HASH}", "entry 1 has a name"),
        (f"alice:admin:{HASH}\nALICE:viewer:{HASH}", "entries 1 and 2 have the same name"),
        ("alice:admin:hunter2hunter2", "entry 1 has something else than an argon2id hash"),
        ("alice:admin", "entry 1 has no hash"),
        ("alice:admin:", "a shell or a Compose file replaced its $ signs"),
        ("alice:admin:=19=65536,t=3,p=4", "arrived damaged"),  # "…" in a shell, and Compose
        (f"alice:admin:{ORIGINAL_HASH.replace('$', '$$')}", "damaged, with its $ signs doubled"),
        (f"alice:admin:{ORIGINAL_HASH.replace('$', '%24')}", "damaged, with its $ signs escaped"),
        (rf"alice:admin:{ORIGINAL_HASH}".replace("$", "\\$"), "damaged, with its $ signs escaped"),
        (f"alice:admin:'{HASH}'", "damaged, with quotes in it"),
        (f"alice:admin:{HASH[:60]} {HASH[60:]}", "arrived damaged"),
        ("alice:admin:$2b$12$abcdefghijklmnopqrstuv", "something else than an argon2id hash"),
        (f"alice:admin:{HASH.replace('argon2id', 'argon2i')}", "something else than an argon2id"),
        (f"alice:admin:{HASH[:40]}", "arrived damaged"),
        (f"a:admin:{HASH}\nb:boss:{HASH}\nc:admin:x", "entry 2 has a role"),
        (f"a:admin:{HASH}\nb:boss:{HASH}\nc:admin:x", "entry 3 has something else"),
    ],
)
def test_a_user_that_is_wrong_is_explained(problems_of, text, explanation):
    """By its position, without a word of what was typed."""
    problem = problems_of(AUTH__USERS=text)["APPLIANCE_AUTH__USERS"]
    assert explanation in problem.problem
    assert not any(word in repr(problem).lower() for word in ("hunter2", "boss", "root"))


def expanded_by_compose(text):
    """What a Compose file makes of a value: $$ is $, and a variable that is not set is nothing."""

    def replaced(match):
        return "$" if match[0] == "$$" else "" if match[0] != "$" else "$"

    return re.sub(r"\$(\$|\{[^}]*\}|[A-Za-z_]\w*)?", replaced, text)


def expanded_by_a_shell(text):
    """What a real shell makes of it between double quotes."""
    command = ["sh", "-c", f'printf %s "{text}"']
    return subprocess.run(command, env={}, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("expand", [expanded_by_a_shell, expanded_by_compose])
def test_a_hash_that_lost_its_dollars_is_recognized_whatever_was_lost(problems_of, expand):
    """Each hash loses something else, by its letters; each time the $ signs are named."""
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    for password in range(40):
        text = expand(f"ada:admin:{hasher.hash(str(password))}")
        problem = problems_of(AUTH__USERS=text)["APPLIANCE_AUTH__USERS"].problem
        assert "$ signs" in problem
        assert "appliance user hash" in problem


def test_effective_shows_every_value_and_no_secret(read):
    """What holds and where it comes from (O-24)."""
    loaded = read(
        CAMERAS__DOOR__URL="http://admin:hunter22@h/snap?pwd=hunter23",
        AUTH__METRICS_TOKEN="hunter24hunter24hunter24",
        AUTH__USERS=f"alice:admin:{HASH}",
        WEB__HTTPS="1",
    )
    rows = {row.variable: row for row in effective(loaded)}
    assert set(rows) == {item.name for item in ALL_VARIABLES}
    assert (rows["APPLIANCE_WEB__HTTPS"].value_text, rows["APPLIANCE_WEB__HTTPS"].origin) == (
        "on",
        "environment",
    )
    assert rows["APPLIANCE_WEB__PORT"].is_default
    password = rows["APPLIANCE_CAMERAS__DOOR__PASSWORD"]
    assert (password.value_text, password.origin) == ("••••", "in APPLIANCE_CAMERAS__DOOR__URL")
    assert rows["APPLIANCE_CAMERAS__DOOR__USERNAME"].value_text == "admin"
    shown = repr(rows) + repr(loaded)
    assert not any(secret in shown for secret in ("hunter2", HASH))
    assert set(loaded.settings.secrets()) == {"hunter22", "hunter24hunter24hunter24", HASH}


MARKER = "Zm4rkerZ"
NAMES = [item.name for item in ALL_VARIABLES]
SECRET_NAMES = [item.name for item in ALL_VARIABLES if item.is_secret]
WILD = st.text(st.characters(), max_size=40)
VALUES = st.one_of(
    WILD,
    st.builds(lambda a, b: f"{a}{MARKER}{b}", WILD, WILD),
    st.sampled_from(
        [
            f"rtsp://u:{MARKER}@h/1",
            f"rtsp://u:{MARKER}#x@h/1",
            f"rtsp://u:1/{MARKER}@h",
            f"rtsp://[{MARKER}@h",
            f'["{MARKER}"',
            f'{{"{MARKER}": "{MARKER}"}}',
            f"{MARKER}:admin:{MARKER}",
            f"a:{MARKER}:$argon2id${MARKER}",
            f"/nowhere/{MARKER}",
            f"{MARKER}=2",
            "10",
            "on",
            "\0",
            "\ud800",
        ]
    ),
)
ENVIRONS = st.dictionaries(
    st.one_of(
        st.sampled_from(NAMES),
        st.sampled_from(NAMES).map(str.lower),
        st.sampled_from(NAMES).map(lambda name: f"{name}_FILE"),
        WILD.map(lambda text: f"APPLIANCE_{text}"),
        WILD.map(lambda text: f"APPLIANCE_CAMERAS{text}"),
        st.sampled_from(["STATE_DIRECTORY", "CACHE_DIRECTORY", "CREDENTIALS_DIRECTORY"]),
    ),
    VALUES,
    max_size=8,
)


@hypothesis_settings(max_examples=100)
@given(environ=ENVIRONS)
def test_any_environment_gives_settings_or_problems_without_values(environ):
    """No other exception, and no value in what is shown of the problems (O-19, O-24)."""
    try:
        loaded = load(environ, secrets_dir=Path("/nowhere"))
    except SettingsProblems as error:
        caught = error
    else:
        assert effective(loaded)
        return
    assert caught.problems
    shown = [str(caught), repr(caught), repr(caught.problems), caught.sentence()]
    chain = [repr(caught.__cause__), repr(caught.__context__)]
    assert not any(MARKER in text for text in shown + chain)


@hypothesis_settings(max_examples=50)
@given(password=st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8))
def test_settings_never_show_a_secret(password):
    """Neither a password apart, nor one in a URL, nor a token in its query (O-24)."""
    password = f"{password}{MARKER}"
    environ = {
        "APPLIANCE_CAMERAS__A__URL": f"rtsp://u:{MARKER}@h/1?token={MARKER}",
        "APPLIANCE_CAMERAS__B__URL": "rtsp://h/1",
        "APPLIANCE_CAMERAS__B__PASSWORD": password,
        "APPLIANCE_AUTH__METRICS_TOKEN": MARKER * 2,
        "APPLIANCE_AUTH__USERS": f"alice:admin:{HASH.replace('c2FsdHNhbHRzYWx0', MARKER * 2)}",
        "APPLIANCE_KIOSK__KEY": MARKER * 4,
    }
    loaded = load(environ, secrets_dir=Path("/nowhere"))
    shown = f"{loaded!r} {loaded.settings!s} {effective(loaded)}"
    assert MARKER not in shown
    assert len(loaded.settings.secrets()) == 5
