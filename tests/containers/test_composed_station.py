"""The station and its proxy by the shipped Compose file, on a real engine."""

import json
import os
import shutil
import signal
import stat
import time

import httpx
import psutil
import pytest
from websockets.sync.client import connect

from tests.support.boxes import SECRETS, START, make_box, until
from tests.support.dockerd import IMAGE
from tests.support.process import PASSWORD, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GRACE_S = 15.0  # as compose.yaml has it; then Docker would kill it, with code 137
VIDEO_GROUP = 44
NET_BIND_SERVICE = 10  # of Linux's capabilities
DEVICES = {"video7": (81, 7), "mem": (1, 1), "tape": (9, 0)}  # by major and minor number
MAY_WRITE = {"/tmp", "/var/lib/vision-appliance", "/var/cache/vision-appliance"}  # noqa: S108 - inside
WRITABLE = """
import os
for folder, folders, _ in os.walk("/"):
    if folder == "/":
        folders[:] = [it for it in folders if it not in {"proc", "sys", "dev"}]
    if os.access(folder, os.W_OK):
        print(folder)
        folders.clear()
"""


OPENED = """
import errno, os, sys
for name in sys.argv[1:]:
    try:
        os.close(os.open(f"/run/devices/{name}", os.O_RDWR))
        print(name, "opened")
    except OSError as error:
        print(name, errno.errorcode[error.errno])
"""


@pytest.fixture(scope="module")
def box(engine, tmp_path_factory):
    """A box that was set up and started as the documents say."""
    settings = {"APPLIANCE_STATION__NAME": "5 $HOME $$ ${A:-b}", "APPLIANCE_LIVE__QUALITY": ""}
    box = make_box(engine, tmp_path_factory.mktemp("box"), "station", settings)
    box.typed(SECRETS)
    assert "The settings are right." in box.typed(START, patience_s=120)
    yield box
    box.compose("down", "--volumes")


@pytest.fixture(scope="module")
def client(box):
    """Somebody who trusts Caddy's authority and has signed in, over HTTPS."""
    with httpx.Client(verify=box.trust(), base_url=box.url, timeout=20) as client:
        form = {"user": "ada", "password": PASSWORD}
        answer = client.post("/login", data=form, headers={"Origin": box.url})
        assert answer.status_code == 303, answer.text
        yield client


def test_docker_calls_it_healthy(box):
    """By the image's own health check, and `appliance health` says why."""
    assert box.state("{{.State.Health.Status}}") == "healthy"
    assert box.appliance("health").strip().startswith("ready")


def looking(box, client):
    """A viewer's connection, through the proxy."""
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    options = {"ssl": box.trust(), "origin": box.url, "additional_headers": {"Cookie": cookie}}
    return connect(f"{box.url.replace('https', 'wss')}/live", max_size=None, **options)


def test_pictures_with_what_was_found_come_through_the_proxy(box, client):
    """Live, by its WebSocket over HTTPS, from the image's own model."""
    with looking(box, client) as live:
        live.send(json.dumps({"watch": ["gate"]}))
        picture = next(it for it in live if isinstance(it, bytes))
    size = int.from_bytes(picture[:4], "big")
    told = json.loads(picture[4 : 4 + size])
    assert (told["camera"], told["size_wh"]) == ("gate", [320, 240])
    assert picture[4 + size :].startswith(b"\xff\xd8")


def test_a_stranger_finds_the_authority_to_trust(box):
    """Caddy's certificate, copied once, lies at /ca.crt; the page itself wants a sign-in."""
    context = box.trust()
    trusted = (box.folder / "secrets" / "ca.crt").read_text()
    with httpx.Client(verify=context, base_url=box.url) as stranger:
        assert stranger.get("/ca.crt").text.split() == trusted.split()
        assert stranger.get("/ui/").status_code in {303, 401}


def test_a_value_arrives_letter_by_letter(box):
    """A dollar in station.env is a dollar for everybody, and what is empty is unset (O-20)."""
    table = box.appliance("check").splitlines()
    lines = {line.split()[0]: line for line in table if line.startswith("APPLIANCE_")}
    assert "5 $HOME $$ ${A:-b}" in lines["APPLIANCE_STATION__NAME"]
    assert lines["APPLIANCE_LIVE__QUALITY"].split()[1:] == ["80", "default"]


def test_secrets_are_files_and_in_no_variable(box):
    """Who may look at containers and their logs reads none there (O-24); the station has them."""
    hash_text = (box.folder / "secrets" / "auth__users").read_text().rpartition(":")[2].strip()
    assert len(hash_text) > 50
    told = box.engine.docker("inspect", box.container()) + box.compose("logs")
    assert hash_text not in told
    assert PASSWORD not in told
    (line,) = [it for it in box.appliance("check").splitlines() if "AUTH__USERS" in it]
    assert "/run/secrets/auth__users" in line


def test_it_can_write_nowhere_but_where_it_should(box):
    """Two volumes and /tmp; the rest of the system is read-only, whatever the rights say."""
    found = box.compose("exec", "-T", "cpu", "python3", "-c", WRITABLE).split()
    assert set(found) == MAY_WRITE
    assert box.state("{{.HostConfig.ReadonlyRootfs}}", "proxy") == "true"


def test_it_has_no_rights(box):
    """No capability, none to be gained, system calls filtered; the proxy can bind low ports."""
    lines = box.compose("exec", "-T", "cpu", "cat", "/proc/1/status").splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert status["Uid"].split() == ["10001"] * 4
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    proxy = box.compose("exec", "-T", "proxy", "cat", "/proc/1/status")
    assert f"CapBnd:\t{1 << NET_BIND_SERVICE:016x}" in proxy
    assert "NoNewPrivs:\t1" in proxy


def test_its_memory_and_processes_are_bounded(box):
    """The engine has taken both limits, and rotates both logs."""
    assert box.state("{{.HostConfig.Memory}}") == str(2 << 30)
    assert box.state("{{.HostConfig.PidsLimit}}") == "512"
    for service in ("cpu", "proxy"):
        form = '{{index .HostConfig.LogConfig.Config "max-size"}}'
        assert box.state(form, service) == "10m"


def test_nothing_is_left_of_its_health_checks(box):
    """The first process is the parent of whatever loses its own: it leaves no zombies."""
    until(lambda: box.state("{{len .State.Health.Log}}") == "5")
    states = box.compose("exec", "-T", "cpu", "sh", "-c", "cat /proc/[0-9]*/stat")
    assert [line for line in states.splitlines() if ") Z " in line] == []


def test_cameras_of_the_box_can_be_opened_and_no_other_device(box, tmp_path):
    """By compose.camera.yaml: no driver is here to answer, but only the camera is asked for one."""
    tmp_path.chmod(0o755)
    for name, number in DEVICES.items():
        os.mknod(tmp_path / name, stat.S_IFCHR, os.makedev(*number))
        shutil.chown(tmp_path / name, 0, VIDEO_GROUP)
        (tmp_path / name).chmod(0o660)
    text = (box.folder / "compose.camera.yaml").read_text()
    (box.folder / "compose.devices.yaml").write_text(text.replace("/dev:", f"{tmp_path}:"))
    files = ["compose.yaml", "compose.tests.yaml", "compose.devices.yaml"]
    words = [word for file in files for word in ("--file", file)]
    words += ["run", "--rm", "--no-deps", "-T", "cpu", "python3", "-c", OPENED]
    told = dict(line.split() for line in box.compose(*words, *DEVICES).splitlines())
    assert told.pop("video7") in {"ENODEV", "ENXIO"}
    assert told == {"mem": "EPERM", "tape": "EPERM"}


def station_pid(box):
    """The station's process, as this machine numbers it."""
    (pid,) = psutil.Process(int(box.state("{{.State.Pid}}"))).children()
    return pid.pid


@pytest.mark.parametrize(
    ("kind", "said"), [(signal.SIGKILL, ""), (signal.SIGSTOP, "guard: no sign of life for 8 s")]
)
def test_a_station_that_dies_or_hangs_comes_back(box, client, kind, said):
    """Docker starts it again on its state, so people stay signed in (O-22)."""
    before = int(box.state("{{.RestartCount}}"))
    os.kill(station_pid(box), kind)
    until(lambda: int(box.state("{{.RestartCount}}")) == before + 1)
    assert said in box.compose("logs", "cpu")
    until(lambda: client.get("/ui/").status_code == 200)
    until(lambda: box.state("{{.State.Health.Status}}") == "healthy")


def test_it_stops_within_its_grace_and_says_that_all_went_well(box, client):
    """SIGTERM reaches it through the first process, whoever looks on; its code is 0 (O-21)."""
    with looking(box, client) as live:
        live.send(json.dumps({"watch": ["gate"]}))
        started_s = time.monotonic()
        box.compose("stop", "cpu")
        assert time.monotonic() - started_s < GRACE_S
    assert box.state("{{.State.ExitCode}} {{.State.OOMKilled}}") == "0 false"
    answer = client.get("/")
    assert (answer.status_code, "does not answer yet" in answer.text) == (502, True)
    box.compose("start", "cpu")
    until(lambda: client.get("/ui/").status_code == 200)


def test_wrong_settings_are_shown_and_loop_nowhere(box):
    """The container runs on, serves the page that lists them, and is never called healthy."""
    name, engine, port = "wrong-settings", box.engine, free_port()
    variables = ["WEB__HOST=127.0.0.1", f"WEB__PORT={port}", "WEBB__PORT=1"]
    options = [f"--env=APPLIANCE_{variable}" for variable in variables]
    engine.docker("run", "--detach", "--network=host", f"--name={name}", *options, IMAGE)
    try:
        page = until(lambda: httpx.get(f"http://127.0.0.1:{port}/"))
        assert "APPLIANCE_WEBB__PORT" in page.text
        assert engine.inspect(name, "{{.State.Running}} {{.RestartCount}}") == "true 0"
        asked = engine.run("docker", "exec", name, "appliance", "health", check=False)
        assert asked.returncode == 1
    finally:
        engine.docker("rm", "--force", "--volumes", name)


@pytest.fixture
def successor(box):
    """Builds another version on the one that runs: its id, by lines of a Dockerfile."""

    def build(name, *lines):
        context = box.folder / "successors" / name
        context.mkdir(parents=True)
        (context / "Dockerfile").write_text("\n".join([f"FROM {IMAGE}", *lines, ""]))
        words = ("build", "--quiet", "--tag", f"registry.example/{name}", str(context))
        box.engine.docker(*words, environ={"DOCKER_BUILDKIT": "1"})
        return box.engine.inspect(f"registry.example/{name}", "{{.Id}}")

    first = box.engine.inspect(IMAGE, "{{.Id}}")
    yield build
    box.engine.docker("tag", first, IMAGE)


def test_an_update_keeps_everything_and_one_that_cannot_run_here_changes_nothing(
    box, client, successor
):
    """By update.sh, with real versions: who was signed in stays so, on the state that there is."""
    refused = successor("needs-a-gpu", "ENV APPLIANCE_ENGINE__REQUIRE=tensorrt")
    following = successor("following", "LABEL org.opencontainers.image.version=following")
    haste = {"WATCH_S": "3"}
    done = box.run("./update.sh", refused, environ=haste, check=False)
    assert (done.returncode, "nothing was changed" in done.stderr) == (1, True), done.stderr
    done = box.run("./update.sh", following, environ=haste, check=False)
    assert done.returncode == 0, done.stderr
    assert box.state("{{.Image}}") == following
    until(lambda: client.get("/ui/").status_code == 200)
