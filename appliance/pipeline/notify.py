"""Speaks sd_notify: one datagram for each message, to the socket that systemd names."""

import socket
from collections.abc import Callable
from typing import Final

from loguru import logger

from appliance.readings import whole_percent
from appliance.redaction import one_line

GAP_S: Final = 120  # a build that has not moved for so long may count as hung


def notifier(address: str) -> Callable[[str], None]:
    """A function that sends one message to `address`; one that does nothing where it is empty.

    Args:
        address: NOTIFY_SOCKET: a path, or "@" and an abstract name.
    """
    if not address:
        return lambda _message: None
    target = "\0" + address[1:] if address.startswith("@") else address

    def send(message: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(message.encode(), target)

    return send


class BuildNotice:
    """Tells the service manager how far a build is, and asks for more time while it moves.

    Only what moves asks: a build that hangs runs into the manager's time-out.

    Args:
        notify: as `notifier` makes it.
    """

    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify = notify
        self._last: tuple[str, int | None] | None = None

    def __call__(self, stage: str, progress: float | None) -> None:
        """What is being done, and 0..1 of it or None where unknown."""
        percent = None if progress is None else whole_percent(progress)
        if (stage, percent) == self._last:
            return
        self._last = stage, percent
        share = "" if percent is None else f", {percent} %"
        status = one_line(f"Building{share}: {stage}")
        try:
            self._notify(f"STATUS={status}\nEXTEND_TIMEOUT_USEC={GAP_S * 10**6}")
        except OSError as error:  # no reason to give the build up
            logger.warning("the service manager does not listen: {}", error)
            self._notify = notifier("")
