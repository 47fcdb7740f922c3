"""Who is signed in, by the real process: over restarts, and to the end of every connection."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from secrets import token_hex

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from appliance.stores.form import FORM
from tests.support.process import PASSWORD, run, started, station_environ

pytestmark = pytest.mark.slow

SESSION_OVER = 4401


def may(station, cookie):
    """Whether this session still opens anything."""
    return station.get("/player", Cookie=cookie).status_code == 200


def answers(station):
    return station.get("/api/health").status_code == 200


def sign_out(station, cookie):
    headers = {"Cookie": cookie, "Origin": station.origin}
    assert httpx.post(f"{station.url}/logout", headers=headers, timeout=20).status_code == 303


def events(folder):
    """What the database says that people did: what, user, address."""
    with closing(sqlite3.connect(folder / "state" / "appliance.db")) as database:
        return database.execute("SELECT what, user, address FROM audit ORDER BY id").fetchall()


@pytest.mark.parametrize("end", ["in order", "killed"])
def test_people_stay_signed_in_over_a_restart_and_signed_out_as_well(tmp_path, end):
    """However the station ended, whoever was signed in need not do it again."""
    environ = station_environ(tmp_path)

    def stop(station):
        if end == "killed":
            station.child.kill()
            station.child.wait(10)
        else:
            assert station.stop() == 0

    with started(environ, tmp_path / "log") as station:
        station.wait_until(lambda: answers(station))
        stays, leaves = station.sign_in("ada"), station.sign_in("vera")
        # Written, as soon as it can be, in this order.
        station.wait_until(lambda: ("sign_in", "vera", "127.0.0.1") in events(tmp_path))
        stop(station)
    with started(environ, tmp_path / "log") as station:
        station.wait_until(lambda: answers(station))
        assert may(station, stays)
        assert may(station, leaves)
        sign_out(station, leaves)
        station.wait_until(lambda: events(tmp_path)[-1][:2] == ("sign_out", "vera"))
        stop(station)
    with started(environ, tmp_path / "log") as station:
        station.wait_until(lambda: answers(station))
        assert may(station, stays)
        assert not may(station, leaves)
    kinds = [event for event in events(tmp_path) if event[0].startswith("sign")]
    assert kinds == [
        ("sign_in", "ada", "127.0.0.1"),
        ("sign_in", "vera", "127.0.0.1"),
        ("sign_out", "vera", "127.0.0.1"),
    ]
    assert "Traceback" not in (tmp_path / "log").read_text()


def read_stream(station, cookie, begun):
    """One of Gradio's, which has no end of its own."""
    page = token_hex(5)
    url, headers = f"{station.url}/ui/gradio_api/heartbeat/{page}", {"Cookie": cookie}
    with httpx.stream("GET", url, headers=headers, timeout=60) as answer:
        assert answer.status_code == 200
        begun.set()
        for _ in answer.iter_bytes():
            pass


def watch(station, cookie, begun):
    """The live view."""
    url = station.url.replace("http", "ws") + "/live"
    headers = {"Cookie": cookie}
    with connect(url, origin=station.origin, additional_headers=headers) as view:
        begun.set()
        with suppress(ConnectionClosed):
            while True:
                view.recv()
        assert view.close_code == SESSION_OVER


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    """One that goes on, for tests that need no restart."""
    folder = tmp_path_factory.mktemp("station")
    with started(station_environ(folder), folder / "log") as process:
        process.wait_until(lambda: answers(process))
        yield process


def test_signing_out_ends_every_open_connection(station):
    """In order: the live view, and Gradio's stream of events. Another person's go on."""
    with ThreadPoolExecutor() as pool:
        ada, vera = station.sign_in("ada"), station.sign_in("vera")
        station.wait_until(lambda: station.get("/ui/", Cookie=ada).status_code == 200)

        def hold(cookie):
            """Open one of each kind."""
            begun = [threading.Event() for _ in range(2)]
            kinds = zip((read_stream, watch), begun, strict=True)
            held = [pool.submit(kind, station, cookie, one) for kind, one in kinds]
            assert all(one.wait(30) for one in begun)
            return held

        of_ada, of_vera = hold(ada), hold(vera)
        sign_out(station, ada)
        for connection in of_ada:
            connection.result(10)
        assert not any(connection.done() for connection in of_vera)
        sign_out(station, vera)
        for connection in of_vera:
            connection.result(10)
    assert "Traceback" not in station.log.read_text()


def test_each_sign_in_takes_the_place_of_the_one_before(station):
    """The cookie that a browser had before opens nothing any more: nobody can have planted it."""
    before = station.sign_in("ada")
    answer = httpx.post(
        f"{station.url}/login",
        data={"user": "ada", "password": PASSWORD},
        headers={"Origin": station.origin, "Cookie": before},
        timeout=20,
    )
    after = answer.headers["set-cookie"].partition(";")[0]
    assert after != before
    assert may(station, after)
    assert not may(station, before)


def test_a_station_with_a_damaged_database_says_so_and_serves(tmp_path):
    """Health, page and log name the file that was set aside; people sign in anew."""
    environ = station_environ(tmp_path)
    (tmp_path / "state" / "appliance.db").write_bytes(b"not a database at all" * 1000)
    with started(environ, tmp_path / "log") as station:
        station.wait_until_ready()
        told = station.ready().json()
        assert told["health"] == "degraded"
        assert any("appliance.db.damaged-" in reason for reason in told["reasons"])
        cookie = station.sign_in("ada")
        assert may(station, cookie)
        assert station.stop() == 0
    assert "appliance.db.damaged-" in (tmp_path / "log").read_text()
    assert ("sign_in", "ada", "127.0.0.1") in events(tmp_path)


def test_a_database_of_a_newer_release_is_refused(tmp_path):
    """With the way out, and nothing in it is touched."""
    environ = station_environ(tmp_path)
    with started(environ, tmp_path / "log") as station:
        station.wait_until(lambda: answers(station))
        assert station.stop() == 0
    path = tmp_path / "state" / "appliance.db"
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {FORM + 1}")
        newer.execute("UPDATE alembic_version SET version_num = ?", (f"{FORM + 1:04d}",))
        newer.commit()
    before = path.read_bytes()
    for command in ("serve", "check"):
        refused = run(environ, command)
        assert refused.returncode == 1
        assert f"got form {FORM + 1} of a newer one" in refused.stderr.replace("\n", " ")
        assert "APPLIANCE_PATHS__STATE" in refused.stderr
    assert path.read_bytes() == before
