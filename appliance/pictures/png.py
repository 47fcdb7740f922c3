"""PNG files, chunk by chunk."""

from zlib import crc32

START = b"\x89PNG\r\n\x1a\n"
END = b"IEND\xaeB`\x82"
EXTRA = 0x20  # in the first letter: without this chunk the picture is still a picture


def without_damaged_extras(data: bytes) -> bytes:
    """A PNG without the extra chunks whose checksum is wrong, as browsers read it; else `data`.

    Text, times and the like are extra.

    Raises:
        ValueError: a chunk that holds the picture is not what its checksum says, or is cut off.
    """
    if not data.startswith(START):
        return data
    kept, since, at = [], 0, len(START)  # parts: thousands may be damaged
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind, checksum = data[at + 4 : at + 8], data[end - 4 : end]
        if end > len(data) or crc32(data[at + 4 : end - 4]) != int.from_bytes(checksum, "big"):
            if not (kind and kind[0] & EXTRA):
                raise ValueError(kind)
            kept.append(data[since:at])
            since = end
        if kind == b"IEND":
            break
        at = end
    return b"".join((*kept, data[since:])) if kept else data
