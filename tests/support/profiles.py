"""Color profiles, written here as the ICC's specification has them (ICC.1:2001-04)."""

import struct
from collections.abc import Sequence

XYZ = tuple[float, float, float]
WHITE: XYZ = (0.9642, 1.0, 0.8249)  # of every profile's own space, D50
SRGB: Sequence[XYZ] = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
WIDE: Sequence[XYZ] = (
    (0.5151, 0.2412, -0.0011),
    (0.2920, 0.6922, 0.0419),
    (0.1572, 0.0666, 0.7841),
)
"""The red, green and blue of Display P3, as phones have it."""


def profile(primaries: Sequence[XYZ], *, gamma: float = 2.2) -> bytes:
    """Of a screen with these primaries."""
    tags = {b"desc": _description(b"made here"), b"cprt": b"text\0\0\0\0nobody's\0"}
    tags |= {b"wtpt": _xyz(WHITE)}
    tags |= {b"%cXYZ" % letter: _xyz(each) for letter, each in zip(b"rgb", primaries, strict=True)}
    tags |= {b"%cTRC" % letter: _curve(gamma) for letter in b"rgb"}
    table, content, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        padded = tag + bytes(-len(tag) % 4)
        table += name + struct.pack(">II", at + len(content), len(tag))
        content += padded
    size = at + len(content)
    head = struct.pack(">I4sI4s4s4s", size, b"test", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head = (head + bytes(12) + b"acsp").ljust(68, b"\0") + _xyz(WHITE)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + content


def _xyz(value: XYZ) -> bytes:
    numbers = (round(each * 65536) for each in value)
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", number) for number in numbers)


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def _description(text: bytes) -> bytes:
    return b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(78)
