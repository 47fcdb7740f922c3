#!/usr/bin/python3 -I
"""The container's first process, for what systemd does on a host and Docker does not.

    guard SECONDS COMMAND...

It starts the command, hands signals on to it, buries processes that lost their parent, and ends
with its code. A station whose watchdog message stays away for so many seconds is killed; the
container then ends, and Docker starts it again. The first message arms the watchdog. What the
station tells a service manager goes on to one that waits for it outside, as Podman's does.
"""

import os
import signal
import socket
import sys
import threading
import time

ADDRESS = "NOTIFY_SOCKET"
HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
KILLED = 128  # plus the signal's number, as shells have it


def main(patience_s: float, command: list[str]) -> int:
    """Run the command to its end.

    Args:
        patience_s: seconds that the watchdog waits for a message.
        command: a program and its arguments.

    Returns:
        The command's exit code.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("")  # an address that is free, and no file
        outside = os.environ.get(ADDRESS, "").replace("@", "\0", 1)  # noqa: TID251 - no part of the package
        # A signal that comes before there is somebody to hand it to waits.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDED_ON)
        child = os.posix_spawnp(command[0], command, _environ(channel, patience_s), setsigmask=[])
        for kind in HANDED_ON:
            signal.signal(kind, lambda number, _: os.kill(child, number))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDED_ON)
        rest = (channel, outside, child, patience_s)
        watch = threading.Thread(target=_watch, args=rest, daemon=True)
        watch.start()
        return _bury(child)


def _environ(channel: socket.socket, patience_s: float) -> dict[str, str]:
    """As systemd tells a service of its watchdog."""
    address = channel.getsockname().decode().replace("\0", "@", 1)
    told = {ADDRESS: address, "WATCHDOG_USEC": str(round(patience_s * 1e6))}
    return {**os.environ, **told}  # noqa: TID251 - no part of the package


def _watch(channel: socket.socket, outside: str, child: int, patience_s: float) -> None:
    deadline_s: float | None = None
    while True:
        left_s = None if deadline_s is None else max(deadline_s - time.monotonic(), 0.001)
        channel.settimeout(left_s)
        try:
            message = channel.recv(4096)
        except TimeoutError:
            _say(f"no sign of life for {patience_s:g} s")
            os.kill(child, signal.SIGKILL)
            return
        outside = _hand_on(channel, message, outside)
        lines = message.split(b"\n")
        if b"STOPPING=1" in lines:
            return  # whoever stops it has set a time for this
        if b"WATCHDOG=1" in lines:
            deadline_s = time.monotonic() + patience_s


def _hand_on(channel: socket.socket, message: bytes, outside: str) -> str:
    """Send a message out; the address for the next one, which is empty once nobody listens."""
    if outside:
        try:
            channel.sendto(message, outside)
        except OSError as error:
            _say(f"nobody listens outside: {error}")
            return ""
    return outside


def _say(what: str) -> None:
    print(f"guard: {what}", file=sys.stderr, flush=True)  # noqa: T201 - its log


def _bury(child: int) -> int:
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else KILLED - code


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
