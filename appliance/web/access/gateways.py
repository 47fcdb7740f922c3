"""The gateways of this process's networks: who sends on what comes from elsewhere.

In a container's network the gateway is the host itself, so that every account of it speaks from
that address.
"""

import ipaddress
import struct
from collections.abc import Iterator
from pathlib import Path

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PROC = Path("/proc/net")
_VIA_GATEWAY = 0x2  # a route's flag, as route.h of Linux has it


def gateways(proc: Path = PROC) -> frozenset[Address]:
    """The gateways at this moment.

    Args:
        proc: where the kernel tells of its routes.
    """
    return frozenset((*_of_version_4(proc / "route"), *_of_version_6(proc / "ipv6_route")))


def _of_version_4(path: Path) -> Iterator[Address]:
    """A title, then lines of: interface, destination, gateway, flags, ..."""
    for line in _lines(path)[1:]:
        _, _, gateway, flags, *_ = line.split()
        if int(flags, 16) & _VIA_GATEWAY:
            # The kernel's own number, in the order of this machine's bytes.
            packed = struct.pack("=I", int(gateway, 16))
            yield ipaddress.IPv4Address(packed)


def _of_version_6(path: Path) -> Iterator[Address]:
    """Lines of: destination, its length, source, its length, gateway, three numbers, flags, ..."""
    for line in _lines(path):
        _, _, _, _, gateway, _, _, _, flags, *_ = line.split()
        if int(flags, 16) & _VIA_GATEWAY:
            yield ipaddress.IPv6Address(bytes.fromhex(gateway))


def _lines(path: Path) -> list[str]:
    """None where the kernel speaks no such version."""
    try:
        return path.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return []
