"""Speaks sd_notify: one datagram for each message, to the socket that systemd names."""

import socket
from collections.abc import Callable


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
