"""What it takes to read an ONNX file, judged by its bytes before it is read.

A message of protobuf may be two bytes in the file and a hundred in memory, so the size of a file
says little. Here its fields are counted, as far as they hold others (onnx.proto), and what is
inside of the rest is taken for the worst. Nothing is kept, and nothing is believed.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.errors import ModelError
from appliance.resources import memory

FIELD_BYTES: Final = 250  # that one takes at most once it is read
MOST_FIELDS: Final = 2_000_000  # the largest models have some hundred thousand
NUMBER: Final = 24  # times a byte of the file: eight bytes, in memory that grows by doubling
UNKNOWN: Final = 50  # bytes in memory for each in the file, at worst
SHARE: Final = 0.5  # of the memory that is free

# By the kind of message: what is inside of each field, or how much more it takes than in the file.
_FIELDS: Final[dict[str, dict[int, str | int]]] = {
    "model": {2: 1, 3: 1, 4: 1, 6: 1, 7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 2: 1, 5: "tensor", 10: 1, 15: "sparse"},
    "node": {1: 1, 2: 1, 3: 1, 4: 1, 5: "attribute", 6: 1, 7: 1},
    "attribute": {
        1: 1, 4: 1, 5: "tensor", 6: "graph", 7: 1, 8: NUMBER, 9: 1, 10: "tensor", 11: "graph",
        13: 1, 22: "sparse", 23: "sparse",
    },
    "tensor": {
        1: NUMBER, 4: 1, 5: NUMBER // 2, 6: 1, 7: NUMBER, 8: 1, 9: 1, 10: 1, 11: NUMBER, 12: 1,
    },
    "sparse": {1: "tensor", 2: "tensor", 3: NUMBER},
    "function": {1: 1, 4: 1, 5: 1, 7: "node", 8: 1, 11: "attribute"},
}  # fmt: skip


def check_cost(path: Path) -> None:
    """Refuse a file that would take more memory than there is room for.

    Raises:
        ModelError: it would; or it is no message of protobuf.
        OSError: it cannot be read.
    """
    room_bytes = int(memory().available_bytes * SHARE)
    if not path.stat().st_size:
        return  # nothing to read: told by whoever reads it
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        needed_bytes = _cost(data, room_bytes)
    if needed_bytes > room_bytes:
        raise ModelError(
            f"{path.name}: reading it takes more memory than there is: over "
            f"{needed_bytes / 1e6:.0f} MB, {room_bytes / 1e6:.0f} MB are to be had",
            hint="export it with its weights in a side file, or free memory",
        )


def _cost(data: mmap.mmap, room_bytes: int) -> int:
    """Bytes; as soon as they are more than may be, that many."""
    cost, fields = 2 * len(data), 0  # the file, and its texts and weights once more
    waiting = [("model", 0, len(data))]
    while waiting and cost <= room_bytes:
        kind, start, end = waiting.pop()
        for number, at, size in _fields(data, start, end):
            fields += 1
            cost += FIELD_BYTES
            what = _FIELDS[kind].get(number, UNKNOWN)
            if not isinstance(what, str):
                cost += size * (what - 1)
            elif size:
                waiting.append((what, at, min(at + size, end)))
            if fields > MOST_FIELDS:
                raise ModelError(
                    f"the model's file has more than {MOST_FIELDS} fields", hint="export it again"
                )
    return cost


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Each field's number, where its content begins, and the bytes of it; 0 for plain numbers."""
    while at < end:
        tag, at = _number(data, at)
        size = 0
        match tag & 7:
            case 2:
                size, at = _number(data, at)
            case 0:
                _, at = _number(data, at)
            case 1 | 5:
                at += 8 if tag & 7 == 1 else 4
            case _:
                return  # no ONNX file has such; whoever reads it says so
        yield tag >> 3, at, size
        at += size


def _number(data: mmap.mmap, at: int) -> tuple[int, int]:
    """A varint, and what follows it; past the end of the file it is 0."""
    value = shift = 0
    for byte in data[at : at + 10]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return 0, at + 1
