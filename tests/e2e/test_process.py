"""The real process from outside: starting, telling how it is, showing what it sees."""

import asyncio
import json
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
import websockets

from tests.support.models import write_bright_spots
from tests.support.process import (
    MODEL,
    PASSWORD,
    TOKEN,
    free_port,
    run,
    started,
    station_environ,
    write_clip,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    """A station with one camera that plays a clip and one that is not there."""
    folder = tmp_path_factory.mktemp("station")
    environ = station_environ(
        folder,
        APPLIANCE_CAMERAS__GATE__URL=str(write_clip(folder / "clip.avi")),
        APPLIANCE_CAMERAS__GATE__NAME="Gate",
        APPLIANCE_CAMERAS__DOCK__URL=f"rtsp://user:hunter2secret@127.0.0.1:{free_port()}/x",
        APPLIANCE_CAMERAS__DOCK__NAME="Dock",
    )
    with started(environ, folder / "log") as process:
        process.wait_until_ready()
        yield process


async def pictures(station, cookie, count, watch=("gate",)):
    """The first messages of a live view: pictures as (header, jpeg), and the last reading."""
    url = station.url.replace("http", "ws") + "/live"
    headers = {"Cookie": cookie, "Origin": station.origin}
    seen, reading = [], {}
    async with websockets.connect(url, additional_headers=headers, max_size=None) as socket:
        await socket.send(json.dumps({"watch": list(watch)}))
        while len(seen) < count or not reading:
            message = await asyncio.wait_for(socket.recv(), 20)
            if isinstance(message, str):
                reading = json.loads(message)
                continue
            (size,) = struct.unpack(">I", message[:4])
            header = json.loads(message[4 : 4 + size])
            seen.append((header, message[4 + size :]))
            await socket.send(json.dumps({"ack": header["camera"]}))
    return seen, reading


def overlap(box, other):
    """Intersection over union of two boxes."""
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    inner = np.clip(high - low, 0, None).prod()
    areas = [np.prod(np.subtract(b[2:], b[:2])) for b in (box, other)]
    return inner / (sum(areas) - inner)


def test_a_live_view_gets_the_painted_squares_as_detections(station):
    """Pictures come with the boxes that belong to them, in pixels of the source."""
    seen, reading = asyncio.run(pictures(station, station.sign_in(), 5))
    for header, jpeg in seen:
        assert jpeg.startswith(b"\xff\xd8")
        assert header["size_wh"] == [320, 240]
        found = header["prediction"]
        assert sorted(found["class_ids"]) == [0, 1]
        assert found["labels"] == [("red", "green")[i] for i in found["class_ids"]]
        for box, class_id in zip(found["boxes"], found["class_ids"], strict=True):
            top = (30, 140)[class_id]
            assert overlap(box, [box[0], top, box[0] + 44, top + 44]) > 0.5
    sequences = [header["sequence"] for header, _ in seen]
    assert sequences == sorted(set(sequences))
    assert reading["station"]["user"] == "ada"


def test_each_camera_speaks_in_the_words_of_its_own_model(tmp_path):
    """Two models on one station: each picture has the labels of the model that looked at it."""
    clip = str(write_clip(tmp_path / "clip.avi"))
    environ = station_environ(
        tmp_path,
        APPLIANCE_CAMERAS__GATE__URL=clip,
        APPLIANCE_CAMERAS__DOCK__URL=clip,
        APPLIANCE_CAMERAS__DOCK__MODEL="other-spots",
    )
    other = tmp_path / "state" / "models" / "other-spots"
    write_bright_spots(other)
    (other / "labels.txt").write_text("scarlet\nemerald\n")
    with started(environ, tmp_path / "log") as station:
        station.wait_until_ready()
        seen, _ = asyncio.run(pictures(station, station.sign_in(), 10, watch=("gate", "dock")))
        labels = {header["camera"]: set(header["prediction"]["labels"]) for header, _ in seen}
        assert labels == {"gate": {"red", "green"}, "dock": {"scarlet", "emerald"}}
        assert station.stop() == 0


def test_a_camera_that_is_not_there_makes_the_station_degraded_and_leaves_it_ready(station):
    """One camera away: ready still, with the reason; the other one goes on."""
    answer = station.wait_until(lambda: (r := station.ready()).json()["health"] == "degraded" and r)
    assert answer.status_code == 200
    assert any("Dock" in reason for reason in answer.json()["reasons"])
    asked = run(station.environ, "health")
    assert asked.returncode == 0
    assert "Dock is offline" in asked.stdout


def test_health_says_no_more_to_a_stranger_than_that_it_lives(station):
    """Live for anybody, ready and metrics for the token alone."""
    assert station.get("/api/health").json() == {"status": "live"}
    assert station.get("/api/ready").status_code == 401
    assert station.get("/metrics").status_code == 401
    assert station.get("/metrics", Authorization="Bearer wrong-token-0123").status_code == 401
    text = station.get("/metrics", Authorization=f"Bearer {TOKEN}").text
    assert 'appliance_camera_state{camera="dock",state="offline"} 1.0' in text
    assert 'appliance_frames_inferred_total{camera="gate"}' in text


def test_no_planted_secret_is_ever_found(station):
    """Passwords of cameras, the token and password hashes stay inside (O-24)."""
    cookie = station.sign_in()
    station.get("/login", Cookie=cookie)
    emitted = [
        station.log.read_text(),
        station.get("/metrics", Authorization=f"Bearer {TOKEN}").text,
        station.ready().text,
        station.get("/ui/", Cookie=cookie).text,
        station.get("/ui/config", Cookie=cookie).text,
        json.dumps(asyncio.run(pictures(station, cookie, 1))[1]),
        run(station.environ, "health").stdout,
        run(station.environ, "check").stdout,
    ]
    secrets = ["hunter2secret", TOKEN, PASSWORD, "argon2id"]
    assert [secret for secret in secrets if secret in "\n".join(emitted)] == []


def test_a_second_station_on_the_same_state_is_refused(station):
    """Two processes never share one state folder."""
    second = run({**station.environ, "APPLIANCE_WEB__PORT": str(free_port())}, "serve")
    assert second.returncode == 1
    assert "another station runs" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_taken_port_is_named_before_anything_is_opened(station, tmp_path):
    """The port in use, and the variable to change; a later try may find it free."""
    port = station.environ["APPLIANCE_WEB__PORT"]
    second = run(station_environ(tmp_path, APPLIANCE_WEB__PORT=port), "serve")
    assert second.returncode == 1
    assert f"port {port} is in use" in second.stderr
    assert "APPLIANCE_WEB__PORT" in second.stderr


def test_check_says_where_each_setting_came_from(tmp_path):
    """Value and origin of every variable, secrets hidden, and what the machine has."""
    checked = run(station_environ(tmp_path), "check")
    assert checked.returncode == 0, checked.stderr
    lines = {line.split()[0]: line for line in checked.stdout.splitlines() if line.strip()}
    assert lines["APPLIANCE_MODEL"].split()[1:] == [MODEL, "environment"]
    assert lines["APPLIANCE_LIVE__FPS"].split()[1:] == ["15", "default"]
    assert "••••" in lines["APPLIANCE_AUTH__USERS"]
    assert "ONNX" in lines


LAX = ("sh", "-ec", 'umask 022; exec "$@"', "sh")


@pytest.fixture(scope="module")
def first_start(tmp_path_factory):
    """A station that has never run; its folders are there, and the umask lets others read."""
    folder = tmp_path_factory.mktemp("first")
    environ = station_environ(folder, built=False)
    before = set(folder.rglob("*"))
    (folder / "state").chmod(0o755)
    with started(environ, folder / "log", prefix=LAX) as station:
        station.wait_until(lambda: station.get("/api/health").status_code == 200)
        yield station, folder, before
        assert station.stop() == 0


def test_an_engine_that_is_missing_is_built_while_the_page_answers_already(first_start):
    """A first start serves from the beginning, and is ready when the child has built."""
    station, folder, _ = first_start
    station.wait_until_ready()
    assert list((folder / "cache" / "engines" / MODEL).glob("*/engine.json"))


def test_files_of_the_state_are_for_the_stations_user_alone(first_start):
    """By hand as well, where the folders were there before and the umask lets others read."""
    station, folder, before = first_start
    station.wait_until_ready()
    station.sign_in()
    copy = folder / "copy"
    assert run(station.environ, "backup", str(copy), prefix=LAX).returncode == 0
    made = [path for path in folder.rglob("*") if path not in before]
    assert {"appliance.db", "appliance.db-wal", "engine.json", "copy"} <= {
        path.name for path in made
    }
    open_to_others = [path for path in made if path.stat().st_mode & 0o077]
    assert [path for path in open_to_others if path.name != "log"] == []


def test_weights_that_are_missing_are_never_fetched_but_asked_for(tmp_path):
    """Not ready, and it says which command brings them."""
    environ = station_environ(tmp_path, APPLIANCE_MODEL="centernet-mobilenetv3")
    with started(environ, tmp_path / "log") as station:
        station.wait_until(lambda: "models pull centernet-mobilenetv3" in station.log.read_text())
        answer = station.wait_until(
            lambda: (r := station.ready()).json()["health"] == "failed" and r
        )
        assert answer.status_code == 503
        assert run(environ, "health").returncode == 1
        assert station.stop() == 0


def test_a_second_build_comes_from_the_cache(tmp_path):
    """Nothing is built twice, and the proof is told again."""
    environ = station_environ(tmp_path, built=False)
    first, second = run(environ, "build"), run(environ, "build")
    assert first.returncode == second.returncode == 0, first.stderr
    assert "Rewriting the graph" in first.stderr
    assert "Rewriting the graph" not in second.stderr
    assert second.stdout == first.stdout
    assert "unproven" in second.stdout


def test_a_hash_made_on_the_command_line_signs_its_owner_in(tmp_path):
    """`appliance user hash` makes a line without $, and the password opens the door."""
    made = run(station_environ(tmp_path), "user", "hash", "ada", "admin", input=PASSWORD + "\n")
    line = made.stdout.strip()
    assert made.returncode == 0
    assert "$" not in line
    with started(
        station_environ(tmp_path, APPLIANCE_AUTH__USERS=line), tmp_path / "log"
    ) as station:
        station.wait_until(lambda: station.get("/api/health").status_code == 200)
        assert station.sign_in("ada")


def test_the_catalog_is_listed_and_a_file_is_inspected(tmp_path):
    """Shipped and own models by name; inputs and outputs of a file."""
    environ = station_environ(tmp_path)
    listed = run(environ, "models", "list")
    assert {"centernet-mobilenetv3", MODEL} <= set(listed.stdout.split())
    inspected = run(environ, "models", "inspect", MODEL)
    assert "keypoints float32 [1, 16, 16, 2]" in inspected.stdout


def test_the_command_is_installed():
    """The distribution brings the command `appliance`."""
    command = shutil.which("appliance", path=str(sys.prefix) + "/bin")
    assert command is not None
    done = subprocess.run([command, "version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip()
