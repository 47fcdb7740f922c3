"""What people get wrong, and boxes too: a line that says so, the way out, never a traceback."""

import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from appliance import __released__
from appliance.app.state import MARK_FILE
from tests.support.cameras import closed_port, silent_server
from tests.support.process import (
    MODEL,
    restrained,
    run,
    started,
    station_environ,
    with_own_mounts,
    write_clip,
)

pytestmark = pytest.mark.slow

SETTINGS = 78
FAILED = 1
ROOT = Path(__file__).parents[2]
MOUNT = 'mount -t tmpfs -o size=64k none "$FULL"'
BALLAST = 'head -c 1048576 /dev/zero >"$FULL/ballast" 2>/dev/null || true'
FILL = f"{MOUNT}\n{BALLAST}"
READ_ONLY_AND_UNLOCKED = f"""
for folder in "{ROOT}" "{sys.prefix}"; do
  mount --bind "$folder" "$folder"
  mount -o remount,ro,bind "$folder"
  if touch "$folder/written" 2>/dev/null; then echo "$folder can be written" >&2; exit 9; fi
done
ulimit -l 0
"""
IN_THE_PAST = """
import os, time
_true = time.time
_early_s = 30 * 365 * 86400
_right = os.path.join(os.path.dirname(os.path.dirname(__file__)), "right")
time.time = lambda: _true() - _early_s * (not os.path.exists(_right))
"""


def assert_refused(done, status, *said):
    """The command ended with this status, and said all of this without a traceback."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    for words in said:
        assert words in done.stderr


@contextmanager
def web_page():
    """The address of a page that people may take for a camera's."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>Camera</title><p>Sign in to see it.")

        def log_message(self, *_):
            """Tests stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join(5)


@pytest.fixture(scope="module")
def own_mounts():
    """Makes prefixes with file systems of their own, or skips where nobody may mount."""
    command = [*with_own_mounts("true"), "true"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no mount namespace may be made here: {tried.stderr.strip()}")
    return with_own_mounts


# Settings: 78, and every problem at once.


def test_check_lists_every_problem_at_once(tmp_path):
    """All wrong variables in one run, each with form and example, and exit code 78 (O-19, O-20)."""
    environ = station_environ(
        tmp_path,
        APPLIANCE_WEB_PORT="1",
        APPLIANCE_LIVE__FPS="fast",
        APPLIANCE_ENGINE__THREADS="",
        APPLIANCE_MODEL="nobodys",
    )
    checked = run(environ, "check")
    assert checked.returncode == 78
    assert "APPLIANCE_MODEL names a model that is not here" in checked.stderr
    assert "did you mean APPLIANCE_WEB__PORT?" in checked.stderr
    assert "APPLIANCE_LIVE__FPS is not a number" in checked.stderr
    assert "APPLIANCE_ENGINE__THREADS" not in checked.stderr


@pytest.mark.parametrize("words", [("models", "pull", MODEL), ("engines", "list")], ids=" ".join)
def test_a_command_that_no_setting_concerns_runs_whatever_is_wrong_with_them(tmp_path, words):
    """Models can be pulled before the secrets are in their place."""
    environ = station_environ(
        tmp_path,
        APPLIANCE_AUTH__METRICS_TOKEN_FILE=str(tmp_path / "not-yet"),
        APPLIANCE_LIVE__FPS="fast",
    )
    done = run(environ, *words)
    assert done.returncode == 0, done.stderr


def test_a_folder_that_is_named_wrong_ends_even_those_commands(tmp_path):
    """It is all they need to know, and the only problem that they tell."""
    environ = station_environ(
        tmp_path, APPLIANCE_PATHS_STATE=str(tmp_path), APPLIANCE_LIVE__FPS="fast"
    )
    listed = run(environ, "models", "list")
    assert_refused(listed, SETTINGS, "did you mean APPLIANCE_PATHS__STATE?")
    assert "LIVE" not in listed.stderr


def test_whatever_is_wrong_with_a_secrets_file_is_told_at_once(tmp_path):
    """One run lists them all by their variables, and repeats no content and no path."""
    kinds = {
        "missing": (str, "names a file that does not exist"),
        "folder": (Path.mkdir, "names a file that is not a file"),
        "endless": (lambda path: path.symlink_to("/dev/zero"), "names a file that is not a file"),
        "empty": (lambda path: path.write_text("\n"), "names a file that is empty"),
        "huge": (lambda path: path.write_bytes(b"x" * 70_000), "larger than 64 KiB"),
        "binary": (lambda path: path.write_bytes(b"\xff\xfe"), "not text in UTF-8"),
        "locked": (lambda path: path.touch(mode=0), "may not be read by this process"),
    }
    environ = station_environ(tmp_path)
    folder = tmp_path / "hunter2"
    folder.mkdir()
    for kind, (make, _) in kinds.items():
        make(folder / kind)
        environ[f"APPLIANCE_CAMERAS__{kind.upper()}__URL"] = "rtsp://192.0.2.10/x"
        environ[f"APPLIANCE_CAMERAS__{kind.upper()}__PASSWORD_FILE"] = str(folder / kind)
    environ["APPLIANCE_AUTH__METRICS_TOKEN_FILE"] = str(folder / "missing")
    checked = run(environ, "check", prefix=restrained())
    assert_refused(
        checked,
        SETTINGS,
        "APPLIANCE_AUTH__METRICS_TOKEN is set, and APPLIANCE_AUTH__METRICS_TOKEN_FILE as well",
    )
    for kind, (_, said) in kinds.items():
        variable = f"APPLIANCE_CAMERAS__{kind.upper()}__PASSWORD_FILE"
        assert re.search(rf"error: {variable} .*{said}", checked.stderr), kind
    assert "hunter2" not in checked.stderr


def test_a_scheme_a_hash_and_a_text_that_arrived_wrong_are_told(tmp_path):
    """Each with its variable and its form; of what was typed nothing."""
    environ = station_environ(
        tmp_path,
        APPLIANCE_CAMERAS__GATE__URL="gopher://hunter2.example/1",
        APPLIANCE_CAMERAS__DOCK__URL="/clip.avi",
        APPLIANCE_CAMERAS__DOCK__NAME=b"hunter2 \xff",
        APPLIANCE_AUTH__USERS="hunter2:admin:=19=65536,t=3,p=4",
    )
    checked = run(environ, "check")
    assert_refused(
        checked,
        SETTINGS,
        "APPLIANCE_CAMERAS__GATE__URL has a scheme that is none of file, v4l2, rtsp",
        "APPLIANCE_CAMERAS__DOCK__NAME is not text in UTF-8",
        "APPLIANCE_AUTH__USERS entry 1 has a hash that arrived damaged, as when a shell or a "
        "Compose file replaces its $ signs",
    )
    assert "hunter2" not in checked.stderr


def test_wrong_settings_serve_the_page_that_lists_them_and_nothing_else(tmp_path):
    """Strangers see variables and examples, never a value; nothing is ready."""
    environ = station_environ(
        tmp_path,
        APPLIANCE_MODL="typo-value",
        APPLIANCE_LIVE__QUALITY="secret-quality",
        APPLIANCE_WEB__HTTPS="perhaps",
    )
    with started(environ, tmp_path / "log") as station:
        page = station.wait_until(lambda: station.get("/"))
        assert page.status_code == 503
        assert "APPLIANCE_MODL" in page.text
        assert "APPLIANCE_LIVE__QUALITY" in page.text
        assert "typo-value" not in page.text + station.log.read_text()
        assert "secret-quality" not in page.text + station.log.read_text()
        assert station.get("/api/ready").status_code == 503
        assert station.get("/metrics").status_code == 503
        assert station.get("/static/public/tokens.css").status_code == 200
        assert station.get("/static/appliance.js").status_code == 503
        assert station.stop() == 0


def test_a_model_that_nobody_has_is_a_wrong_setting(tmp_path):
    """Station and camera alike, on the command line and on the page; own models stay unsaid."""
    environ = station_environ(
        tmp_path,
        APPLIANCE_MODEL="hunter2-net",
        APPLIANCE_CAMERAS__GATE__URL="/clip.avi",
        APPLIANCE_CAMERAS__GATE__MODEL="centernet-mobilenet",
    )
    variables = ("APPLIANCE_MODEL", "APPLIANCE_CAMERAS__GATE__MODEL")
    said = [f"{variable} names a model that is not here" for variable in variables]
    checked = run(environ, "check")
    assert_refused(checked, SETTINGS, *said, "or of a model that ships: centernet-mobilenetv3")
    with started(environ, tmp_path / "log") as station:
        page = station.wait_until(lambda: station.get("/"))
        assert page.status_code == 503
        assert all(variable in page.text for variable in variables)
        assert not re.search(rf"hunter2|{MODEL}", page.text + checked.stderr)
        assert station.get("/api/ready").status_code == 503
        assert station.stop() == 0


def test_a_problem_page_that_cannot_be_served_ends_with_both_reasons(tmp_path):
    """The port is taken as well: the wrong variables, then a line on the port, and 78."""
    with silent_server() as port:
        environ = station_environ(tmp_path, APPLIANCE_WEB__PORT=str(port), APPLIANCE_MODL="x")
        served = run(environ, "serve")
    assert_refused(served, SETTINGS, "APPLIANCE_MODL is no setting", f"port {port} is in use")


@pytest.mark.parametrize(
    ("host", "reason"),
    [("192.0.2.7", "this box has no such address"), ("no.invalid", "nobody knows this name")],
)
def test_an_address_that_is_not_this_boxs_is_told(tmp_path, host, reason):
    """One line, the variables to look at, and 1: the network may come, and systemd tries again."""
    served = run(station_environ(tmp_path, APPLIANCE_WEB__HOST=host), "serve")
    assert_refused(served, FAILED, f"cannot listen on {host}: {reason}", "APPLIANCE_WEB__HOST")
    assert len(served.stderr.splitlines()) == 2


def test_a_port_that_needs_privileges_is_told(tmp_path):
    """A service has none: the reason, and the variable that names another port."""
    start = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if start <= 80:
        pytest.skip(f"ports from {start} on need no privileges here")
    environ = station_environ(tmp_path, APPLIANCE_WEB__PORT="80")
    served = run(environ, "serve", prefix=restrained())
    assert_refused(served, SETTINGS, "port 80 needs privileges", "APPLIANCE_WEB__PORT")


# Models.


@pytest.mark.parametrize("keep", [0, 200], ids=["an empty file", "cut short"])
def test_damaged_weights_end_in_a_sentence(tmp_path, keep):
    """One line and a hint instead of a traceback."""
    environ = station_environ(tmp_path, built=False)
    weights = tmp_path / "state" / "models" / MODEL / "model.onnx"
    weights.write_bytes(weights.read_bytes()[:keep])
    built = run(environ, "build")
    assert built.returncode == 1
    assert "error: model.onnx: not an ONNX model, or damaged" in built.stderr
    assert "export or copy the model again" in built.stderr
    assert "Traceback" not in built.stderr


def test_an_unknown_model_names_the_nearest(tmp_path):
    """A misspelt name is no riddle."""
    built = run(station_environ(tmp_path, built=False), "build", "centernet-mobilenet")
    assert built.returncode == 1
    assert "centernet-mobilenetv3" in built.stderr


def test_weights_with_another_digest_than_the_cards_are_not_taken(tmp_path):
    """Both digests are told, and nothing of the file arrives."""
    environ = station_environ(tmp_path, built=False)
    folder = tmp_path / "state" / "models" / MODEL
    stick = (folder / "model.onnx").rename(tmp_path / "stick.onnx")
    origin = f'[origin]\nkind = "file"\npath = "{stick}"\nsha256 = "{"0" * 64}"\n'
    with (folder / "model.toml").open("a") as card:
        card.write(origin)
    pulled = run(environ, "models", "pull", MODEL)
    assert_refused(
        pulled, FAILED, f"expected SHA-256 {'0' * 64}, got ", "pull again or check the card"
    )
    assert sorted(path.name for path in folder.iterdir()) == ["model.toml"]


def test_labels_that_a_card_names_and_nobody_brought_are_told(tmp_path):
    """The file is named, with the form it should have."""
    environ = station_environ(tmp_path, built=False)
    card = tmp_path / "state" / "models" / MODEL / "model.toml"
    text = card.read_text()
    card.write_text(text.replace('labels = ["red", "green"]', 'labels_file = "names.txt"'))
    assert card.read_text() != text
    assert_refused(run(environ, "build"), FAILED, "names.txt: cannot be read", "one name a line")


# Folders.


def test_a_folder_that_cannot_be_written_is_named_with_its_variable(tmp_path):
    """A state folder below a file can be made by nobody, not even root."""
    (tmp_path / "file").write_text("")
    environ = station_environ(tmp_path, APPLIANCE_PATHS__CACHE=str(tmp_path / "file" / "cache"))
    served = run(environ, "serve")
    assert served.returncode == 1
    assert "APPLIANCE_PATHS__CACHE" in served.stderr
    assert "Traceback" not in served.stderr


@pytest.mark.parametrize("name", ["state", "cache", "temporary"])
def test_a_folder_of_another_user_is_named_with_its_variable(tmp_path, name):
    """Mounted read-only, or owned by somebody else: the folder, the reason, the variable."""
    locked = tmp_path / "locked"
    variable = f"APPLIANCE_PATHS__{name.upper()}"
    environ = station_environ(tmp_path, APPLIANCE_MODEL="", **{variable: str(locked)})
    locked.mkdir(mode=0o555)
    checked = run(environ, "check", prefix=restrained())
    assert_refused(checked, FAILED, f"{locked}: cannot be written (Permission denied)", variable)


def test_a_full_state_folder_is_told_at_the_first_start(tmp_path, own_mounts):
    """Nothing can be kept there: the reason and the variable, before anything begins."""
    full = tmp_path / "full"
    full.mkdir()
    environ = station_environ(tmp_path, APPLIANCE_MODEL="", APPLIANCE_PATHS__STATE=str(full))
    served = run({**environ, "FULL": str(full)}, "serve", prefix=own_mounts(FILL))
    assert_refused(
        served, FAILED, f"{full}: cannot be written (No space left", "APPLIANCE_PATHS__STATE"
    )


def test_a_station_with_a_full_state_folder_goes_on(tmp_path, own_mounts):
    """Once it has run there it needs no room: watching goes on while somebody makes some."""
    environ = station_environ(tmp_path)
    state = tmp_path / "state"
    assert run(environ, "check").returncode == 0
    kept = shutil.copytree(state, tmp_path / "kept")
    fill = f'{MOUNT}\ncp -a "{kept}/." "$FULL"\n{BALLAST}'
    environ["FULL"] = str(state)
    with started(environ, tmp_path / "log", prefix=own_mounts(fill)) as station:
        station.wait_until_ready()
        inside = Path(f"/proc/{station.child.pid}/root{state}")
        with pytest.raises(OSError, match="No space left"):
            (inside / "more").write_bytes(b"x" * 65536)
        assert station.stop() == 0


def test_a_full_cache_folder_is_told_when_an_engine_is_built(tmp_path, own_mounts):
    """An engine that cannot be kept is a line and a variable."""
    full = tmp_path / "full"
    full.mkdir()
    environ = station_environ(
        tmp_path, APPLIANCE_PATHS__CACHE=str(full), APPLIANCE_PATHS__TEMPORARY=str(tmp_path / "tmp")
    )
    built = run({**environ, "FULL": str(full)}, "build", prefix=own_mounts(FILL))
    assert_refused(built, FAILED, "cannot be kept", "No space left", "APPLIANCE_PATHS__CACHE")


def test_a_state_of_a_newer_release_is_left_alone(tmp_path):
    """An older release would misread it: one line, and how to go on."""
    environ = station_environ(tmp_path)
    mark = tmp_path / "state" / MARK_FILE
    mark.write_text("99\n")
    served = run(environ, "serve")
    assert_refused(served, FAILED, "got form 99 of a newer one", "Run the newer release again")
    assert len(served.stderr.splitlines()) == 2
    assert mark.read_text() == "99\n"


# Words, zones, clocks, and boxes that are locked down.


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "xx_YY", "LANG": "xx_YY"},
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX", "PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii"},
    ],
    ids=str,
)
def test_a_name_in_any_script_passes_under_any_locale(tmp_path, locale):
    """What the terminal cannot show is spelled out, and the settings are right."""
    environ = station_environ(
        tmp_path,
        APPLIANCE_CAMERAS__GATE__URL="/clip.avi",
        APPLIANCE_CAMERAS__GATE__NAME='"Türe 门"',
    )
    checked = run({**environ, **locale}, "check", encoding="utf-8", errors="replace")
    assert checked.returncode == 0, checked.stderr
    noted = "A pair of quotes was taken off the value of APPLIANCE_CAMERAS__GATE__NAME.\n"
    assert noted in checked.stdout
    assert "The settings are right." in checked.stdout


@pytest.fixture(scope="module")
def odd_station(tmp_path_factory, own_mounts):
    """A ready station on a box where nothing is as it should be, with cameras that are none.

    The application is read-only, no memory may be locked, there is no home, locale and time
    zone do not exist, and the clock is decades late (the one fake: a clock that only the process
    sees).
    """
    folder = tmp_path_factory.mktemp("odd")
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(IN_THE_PAST)
    (folder / "note.txt").write_text("no film")
    with web_page() as page_url, closed_port() as closed:
        urls = {
            "missing": folder / "missing.avi",
            "folder": folder,
            "text": folder / "note.txt",
            "null": "/dev/null",
            "null_device": "v4l2:///dev/null",
            "no_device": "/dev/video97",
            "web": page_url,
            "nobody": f"rtsp://127.0.0.1:{closed}/x",
        }
        cameras = {f"APPLIANCE_CAMERAS__{key.upper()}__URL": str(at) for key, at in urls.items()}
        environ = station_environ(
            folder,
            APPLIANCE_CAMERAS__GATE__URL=str(write_clip(folder / "clip.avi")),
            APPLIANCE_CAMERAS__GATE__NAME="Türe 门",
            APPLIANCE_CAMERAS__TEXT__NAME="'Straße 门'",
            HOME="/nonexistent",
            LC_ALL="xx_YY",
            TZ="Nowhere/Land",
            PYTHONPATH=str(folder / "site"),
            **cameras,
        )
        prefix = own_mounts(READ_ONLY_AND_UNLOCKED)
        with started(environ, folder / "log", prefix=prefix) as station:
            station.wait_until_ready()
            station.wait_until(lambda: station.log.read_text().count("camera offline") >= len(urls))
            yield station
            assert station.stop() == 0


def test_a_locked_down_box_with_a_wrong_locale_and_zone_runs_all_the_same(odd_station):
    """It watches, its log tells the time in UTC, and nothing has failed inside."""
    log = odd_station.log.read_text()
    assert not re.search("Traceback|HTTP Request", log)
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z ", line) for line in log.splitlines())
    odd_station.wait_until(lambda: "camera live" in odd_station.log.read_text())
    page = odd_station.wait_until(
        lambda: (
            (r := odd_station.get("/ui/", Cookie=odd_station.sign_in())).status_code == 200 and r
        )
    )
    assert "Hall 3" in page.text
    noted = "a pair of quotes around the value was taken off: APPLIANCE_CAMERAS__TEXT__NAME\n"
    assert log.count(noted) == 1
    limits = Path(f"/proc/{odd_station.child.pid}/limits").read_text()
    assert re.search(r"Max locked memory +0 +0 ", limits)


def test_a_clock_before_the_release_is_warned_of(odd_station):
    """The station runs; the log says what the clock costs, and so does the check."""
    warning = f"before this release was made ({__released__}): certificates"
    (line,) = [one for one in odd_station.log.read_text().splitlines() if warning in one]
    assert " WARNING " in line
    checked = run(odd_station.environ, "check")
    assert checked.returncode == 0
    assert warning in checked.stdout


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("missing", 'There is no file "missing.avi"'),
        ("folder", "is no file"),
        ("text", '"note.txt" holds no readable video'),
        ("null", '"null" is no file'),
        ("null_device", "The camera at /dev/null does not open"),
        ("no_device", "There is no camera at /dev/video97"),
        ("web", 'The camera sends "text/html", which is no video'),
        ("nobody", "The camera refuses the connection"),
    ],
)
def test_a_camera_that_is_none_is_told_and_the_others_go_on(odd_station, key, said):
    """One line with the reason and the variable to look at; the station stays ready."""
    (line,) = [
        one for one in odd_station.log.read_text().splitlines() if one.endswith(f"camera={key}")
    ]
    assert "camera offline: " in line  # and not a word for each further attempt
    assert said in line
    assert f"APPLIANCE_CAMERAS__{key.upper()}__URL" in line
    assert odd_station.ready().status_code == 200


def test_names_in_any_script_arrive_whole(odd_station):
    """Whatever the locale says, a name is UTF-8."""
    reasons = odd_station.wait_until(
        lambda: (r := odd_station.ready().json()["reasons"]) and "Straße 门 is offline" in r and r
    )
    assert "Türe 门 is offline" not in reasons


def test_a_clock_that_is_set_is_told_and_the_station_goes_on(odd_station):
    """Once in the log and once in the audit log, as when the network tells a host the time."""
    (Path(odd_station.environ["PYTHONPATH"]).parent / "right").touch()
    jumped = "clock: it jumped ahead by 10950.0 days, from "
    odd_station.wait_until(lambda: jumped in odd_station.log.read_text())
    odd_station.wait_until(lambda: "audit: clock_jump" in odd_station.log.read_text())
    assert odd_station.ready().status_code == 200
