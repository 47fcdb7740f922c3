"""The size of a WebP, by its header: Pillow takes memory for all of it when it opens the file."""

BASIC, LOSSLESS, EXTENDED = b"VP8 ", b"VP8L", b"VP8X"


def size_of(data: bytes) -> tuple[int, int] | None:
    """Width and height, pixels; None where this is no WebP."""
    head = data[:30]
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < 30:
        return None
    kind = head[12:16]
    if kind == EXTENDED:
        return 1 + _number(head[24:27]), 1 + _number(head[27:30])
    if kind == LOSSLESS:
        bits = _number(head[21:25])
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == BASIC:
        return _number(head[26:28]) & 0x3FFF, _number(head[28:30]) & 0x3FFF
    return None


def _number(part: bytes) -> int:
    return int.from_bytes(part, "little")
