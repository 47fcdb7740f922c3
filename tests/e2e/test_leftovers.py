"""Whatever people send, nothing of it stays: no file, and no memory (O-18)."""

import json
import threading
from pathlib import Path

import cv2
import httpx
import psutil
import pytest

from tests.support.models import paint
from tests.support.people import blank_png
from tests.support.process import started, station_environ, write_clip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

API = "/ui/gradio_api"
ASK = "/api/inspect?model=bright-spots&confidence=0.5"
UPLOADS, ASKED, VISITS = 60, 100, 200
LEFT_BEFORE = ("gradio/3f/photo.png", "tmpabcd1234", "deep/er/still")


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def environ(tmp_path_factory):
    folder = tmp_path_factory.mktemp("station")
    return station_environ(
        folder,
        APPLIANCE_CAMERAS__GATE__URL=str(write_clip(folder / "clip.avi")),
        APPLIANCE_CAMERAS__GATE__REPEAT="on",
        APPLIANCE_PATHS__TEMPORARY=str(folder / "temporary"),
    )


@pytest.fixture(scope="module")
def station(environ, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "log"
    with started(environ, log) as process:
        process.wait_until_ready()
        process.wait_until_page()
        yield process


@pytest.fixture
def temporary(environ):
    return Path(environ["APPLIANCE_PATHS__TEMPORARY"])


@pytest.fixture(scope="module")
def admin(station):
    headers = {"cookie": station.sign_in("ada"), "origin": station.origin}
    with httpx.Client(base_url=station.url, headers=headers, timeout=60) as client:
        yield client


def memory_mb(station):
    return psutil.Process(station.child.pid).memory_info().rss / 1e6


def picture(level):
    return cv2.imencode(".png", paint([("red", 40, 30, 84, 74)]) + level)[1].tobytes()


def test_nothing_that_is_uploaded_becomes_a_file(station, admin, temporary):
    """By the route of Gradio's own uploads, as a form, as an event that names files."""
    data = bytes(200_000)
    for n in range(UPLOADS):
        files = {"files": (f"{n}.png", data)}
        assert admin.post(f"{API}/upload", files=files).status_code in {404, 413}
        assert admin.post("/login", files=files, data={"user": "x"}).status_code == 413
        event = {"data": [file_data(n)], "fn_index": n % 20, "session_hash": f"upload{n}"}
        assert admin.post(f"{API}/queue/join", json=event).status_code < 500
    assert files_in(temporary) == []
    assert station.ready().status_code == 200


def file_data(n):
    """What a component of Gradio takes for a file that lies on the server, or elsewhere."""
    address = "http://127.0.0.1:9/picture.png" if n % 2 else None
    meta = {"_type": "gradio.FileData"}
    return {"path": "/etc/passwd", "url": address, "orig_name": "x.png", "meta": meta}


def test_pictures_that_are_inspected_stay_nowhere(station, admin, temporary):
    """Right ones, wrong ones, large ones, and those whose sender goes away meanwhile."""
    kinds = [picture(1), picture(1)[:200], b"", blank_png(3000), b"x" * 3_000_000]
    rounds(station, admin, kinds)  # what an allocator keeps, it has by now
    before, _ = rounds(station, admin, kinds)
    after, seen = rounds(station, admin, kinds)
    assert seen <= {200, 400, 413, 503}
    assert 200 in seen
    assert files_in(temporary) == []
    # Room for one picture, not for all the bodies that were sent.
    assert after - before < 40 < ASKED * sum(map(len, kinds)) / len(kinds) / 1e6


def rounds(station, admin, kinds):
    """As many pictures, every other one cut off: the least memory meanwhile, and the statuses.

    The least, since what one picture takes is given back in large pieces, now and then.
    """
    memory, seen = [], set()
    for n in range(ASKED):
        seen.add(admin.post(ASK, content=kinds[n % len(kinds)]).status_code)
        leave_in_the_middle(admin, picture(n % 100))
        memory.append(memory_mb(station))
    return min(memory), seen


def leave_in_the_middle(admin, data):
    """Send half of a picture, and hang up."""

    def half():
        yield data[: len(data) // 2]
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        admin.post(ASK, content=half(), headers={"content-length": str(len(data))})


def test_pages_that_were_opened_and_dropped_take_no_memory(station, admin, temporary):
    """Each asks for what the tabs show, and goes away in the middle of the answer."""
    load = [each["id"] for each in admin.get("/ui/config").json()["dependencies"]]
    visits(admin, "warm", VISITS, load)
    before = memory_mb(station)
    visits(admin, "again", VISITS, load)
    assert memory_mb(station) - before < 0.05 * VISITS
    assert files_in(temporary) == []
    # What Gradio would sum up its events with, for a monitor that nobody can open.
    assert "pandas" not in Path(f"/proc/{station.child.pid}/maps").read_text()


def visits(admin, name, count, events):
    """So many pages, four at a time."""

    def some(first):
        for n in range(first, count, 4):
            visit(admin, f"{name}{n}", events[n % len(events)])

    threads = [threading.Thread(target=some, args=[first]) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def visit(admin, page, event):
    """One page's heartbeat, one event of it, and the first words of the answer."""
    with admin.stream("GET", f"{API}/heartbeat/{page}") as heart:
        assert heart.status_code == 200
        joined = admin.post(
            f"{API}/queue/join", json={"data": [], "fn_index": event, "session_hash": page}
        )
        assert joined.status_code < 500
        with admin.stream("GET", f"{API}/queue/data", params={"session_hash": page}) as answer:
            for line in answer.iter_lines():
                if line and "msg" in json.loads(line.removeprefix("data:")):
                    break


def test_pages_of_another_run_fill_no_log(station, admin):
    """They ask for events that nobody has, again and again, until somebody loads them anew."""
    before = len(station.log.read_text())
    for n in range(20):
        answer = admin.get(f"{API}/queue/data", params={"session_hash": f"old{n}"})
        assert '"session_not_found":true' in answer.text
        event = {"data": [], "fn_index": 1000 + n, "session_hash": f"old{n}"}
        assert admin.post(f"{API}/queue/join", json=event).status_code == 422
    assert station.log.read_text()[before:] == ""


def test_what_a_run_has_left_is_gone_with_the_next(tmp_path):
    """A run that was cut off cannot clean up; what others keep beside is theirs."""
    temporary = tmp_path / "temporary"
    environ = station_environ(tmp_path, APPLIANCE_PATHS__TEMPORARY=str(temporary))
    with started(environ, tmp_path / "log") as process:
        process.wait_until(lambda: process.get("/api/health").status_code == 200)
        process.child.kill()
    (own,) = [path for path in temporary.iterdir() if path.is_dir()]
    for name in LEFT_BEFORE:
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_bytes(bytes(1000))
    (temporary / "of somebody else").write_bytes(b"")
    with started(environ, tmp_path / "log") as process:
        process.wait_until(lambda: process.get("/api/health").status_code == 200)
        assert files_in(temporary) == [temporary / "of somebody else"]
