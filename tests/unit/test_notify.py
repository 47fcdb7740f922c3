"""Speaking sd_notify to a real datagram socket."""

import os
import socket
import threading

import pytest
from loguru import logger

from appliance.pipeline.notify import GAP_S, BuildNotice, notifier
from tests.support.process import run, started, station_environ, write_clip


@pytest.mark.parametrize("abstract", [False, True])
def test_each_message_is_one_datagram(tmp_path, abstract):
    """A path and an abstract name both work, and messages stay apart."""
    name = f"@appliance-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(10)
        notify = notifier(name)
        notify("READY=1")
        notify("STATUS=Büro is offline")
        assert manager.recv(4096) == b"READY=1"
        assert manager.recv(4096).decode() == "STATUS=Büro is offline"


def test_without_a_manager_nothing_is_said(monkeypatch):
    """An empty address is a process that nobody supervises: no socket is even made."""
    made = []
    monkeypatch.setattr(socket, "socket", lambda *kind: made.append(kind))
    notifier("")("READY=1")
    assert made == []


def test_a_build_asks_for_time_while_it_moves_and_only_then():
    """Each whole percent and each stage extends the time-out; saying the same again does not."""
    sent = []
    notice = BuildNotice(sent.append)
    for stage, progress in [
        ("Loading", None),
        ("Loading", None),
        ("Comparing", 0.42),
        ("Comparing", 0.4299),
        ("Comparing", 0.43),
    ]:
        notice(stage, progress)
    statuses = [message.partition("\n") for message in sent]
    assert [status for status, _, _ in statuses] == [
        "STATUS=Building: Loading",
        "STATUS=Building, 42 %: Comparing",
        "STATUS=Building, 43 %: Comparing",
    ]
    assert {extension for _, _, extension in statuses} == {
        f"EXTEND_TIMEOUT_USEC={GAP_S * 1_000_000}"
    }


def test_a_manager_that_is_gone_does_not_end_a_build(tmp_path):
    """It is told once in the log that nobody listens, and the build goes on."""
    lines = []
    sink = logger.add(lines.append, format="{message}", level="WARNING")
    notice = BuildNotice(notifier(str(tmp_path / "nobody")))
    for percent in range(3):
        notice("Comparing", percent / 100)
    logger.remove(sink)
    assert len(lines) == 1
    assert "does not listen" in lines[0]


@pytest.mark.slow
def test_a_build_by_hand_or_by_a_unit_tells_its_manager(tmp_path):
    """`appliance build` under a manager extends its start time-out while it compares (O-22)."""
    heard = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))

        def listen():
            while (message := manager.recv(4096)) != b"end":
                heard.append(message.decode())

        listening = threading.Thread(target=listen)
        listening.start()
        environ = station_environ(tmp_path, built=False, NOTIFY_SOCKET=str(tmp_path / "notify"))
        built = run(environ, "build", "--frames", str(write_clip(tmp_path / "clip.avi")))
        as_child = run(environ, "build", "--json")
        notifier(environ["NOTIFY_SOCKET"])("end")
        listening.join(10)
    assert (built.returncode, as_child.returncode) == (0, 0), built.stderr + as_child.stderr
    assert '"stage"' in as_child.stdout
    told = [message for message in heard if "Comparing with the original" in message]
    assert len(told) > 5
    assert len(set(heard)) == len(heard)  # nothing is said twice, and a station's child says none
    assert all("EXTEND_TIMEOUT_USEC=" in message for message in heard)


def test_the_page_of_wrong_settings_keeps_the_watchdog_quiet(tmp_path):
    """It is up, says so, and goes on saying so: nobody is to start it again for ever."""
    name = str(tmp_path / "notify")
    wrong = {"APPLIANCE_MODLE": "x", "NOTIFY_SOCKET": name, "WATCHDOG_USEC": "400000"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        manager.settimeout(30)
        with started(station_environ(tmp_path, **wrong), tmp_path / "log") as station:
            assert manager.recv(4096) == b"READY=1"
            assert manager.recv(4096).startswith(b"STATUS=The settings are wrong")
            assert [manager.recv(4096) for _ in range(5)] == [b"WATCHDOG=1"] * 5
            assert station.stop() == 0
