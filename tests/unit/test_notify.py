"""Speaking sd_notify to a real datagram socket."""

import os
import socket

import pytest

from appliance.pipeline.notify import notifier


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
