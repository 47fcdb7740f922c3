"""JPEG files, marker by marker (ITU T.81, Annex B): whether all of the picture is there."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from appliance.errors import PictureError

START = b"\xff\xd8\xff"
SCANS = 100  # at most; encoders write ten. Each costs as much as the whole picture.
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
RESTARTS = range(0xD0, 0xD8)
BARE = {0x01, 0xD8, *RESTARTS}  # markers that nothing belongs to
END, SCAN, INTERVAL = 0xD9, 0xDA, 0xDD
# In the data of a scan, FF 00 is a byte of data and FF FF fills.
MARKER = re.compile(rb"\xff+([^\x00\xff])")
MORE = bytes((17 + 89 * n + 31 * n * n) % 255 for n in range(4096))  # no marker, and no picture


@dataclass(slots=True)
class Coded:
    """What a JPEG's markers say.

    Attributes:
        data: the file.
        frame: the kind of coding.
        size_wh: pixels.
        sampling: horizontal and vertical, by a component's id.
        bits_left: by a component's id, of each coefficient the bits that are still to come.
        interval: coded units from one restart to the next; 0 is without.
        scans: how many there are.
        restarts: in the last scan.
        restarts_due: in the last scan, by its size.
        end: where the last scan's data end; 0 while they go on.
    """

    data: bytes
    frame: int = 0
    size_wh: tuple[int, int] = (0, 0)
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    bits_left: dict[int, list[int]] = field(default_factory=dict)
    interval: int = 0
    scans: int = 0
    restarts: int = 0
    restarts_due: int = 0
    end: int = 0

    def with_more(self) -> bytes:
        """The file with other data behind its own, which a whole picture does not need."""
        restart = bytes((0xFF, RESTARTS[self.restarts % 8]))
        return self.data[: self.end] + MORE + restart + MORE + self.data[self.end :]

    @property
    def is_whole(self) -> bool:
        """Whether every component was told to its last bit, as far as markers tell."""
        is_told = not any(any(bits) for bits in self.bits_left.values())
        return self.scans > 0 and is_told and self.restarts >= self.restarts_due

    def note(self, marker: int, at: int, segment: memoryview) -> None:
        """Take in one marker.

        Raises:
            PictureError: the picture is of a kind that is not read, or would take for ever.
        """
        if marker in RESTARTS:
            self.restarts += 1
            return
        self.end = self.end or at
        if marker in FRAMES:
            self._begin_frame(marker, segment)
        elif marker == INTERVAL:
            (self.interval,) = struct.unpack_from(">H", segment)
        elif marker == SCAN:
            self._begin_scan(segment)

    def _begin_frame(self, frame: int, segment: memoryview) -> None:
        if frame not in {BASELINE, EXTENDED, PROGRESSIVE}:
            raise PictureError(
                "this kind of JPEG is not read: it is arithmetic, lossless or in several sizes",
                hint="Save it as an ordinary JPEG or as PNG.",
            )
        _, height, width, count = struct.unpack_from(">BHHB", segment)
        self.frame, self.size_wh = frame, (width, height)
        for at in range(6, 6 + 3 * count, 3):
            name, sampling, _ = struct.unpack_from("BBB", segment, at)
            self.sampling[name] = sampling >> 4, sampling & 15
            self.bits_left[name] = [1] * 64

    def _begin_scan(self, segment: memoryview) -> None:
        self.scans += 1
        if self.scans > SCANS:
            raise PictureError(
                f"the picture comes in more than {SCANS} scans",
                hint="Save it as an ordinary JPEG or as PNG.",
            )
        names = segment[1 : 1 + 2 * segment[0] : 2].tolist()
        first, last, bits = struct.unpack_from("BBB", segment, 1 + 2 * segment[0])
        if self.frame != PROGRESSIVE:
            first, last, bits = 0, 63, 0
        for name in names:
            left = self.bits_left[name]
            left[first : last + 1] = [bits & 15] * len(left[first : last + 1])
        self.end, self.restarts, self.restarts_due = 0, 0, self._restarts_of(names)

    def _restarts_of(self, names: list[int]) -> int:
        if not self.interval:
            return 0
        (width, height), sampling = self.size_wh, self.sampling.values()
        most_h, most_v = max(h for h, _ in sampling), max(v for _, v in sampling)
        if len(names) > 1:
            units = -(-width // (8 * most_h)) * -(-height // (8 * most_v))
        else:  # alone, a component is coded block by block, without those that nobody sees
            h, v = self.sampling[names[0]]
            across, down = -(-width * h // most_h), -(-height * v // most_v)
            units = -(-across // 8) * -(-down // 8)
        return -(-units // self.interval) - 1


def examine(data: bytes) -> Coded | None:
    """What a JPEG's markers say; None where something is missing.

    Raises:
        PictureError: it is of a kind that is not read, or would take for ever.
    """
    coded = Coded(data)
    try:
        for marker, at, segment in _markers(data):
            coded.note(marker, at, segment)
            if marker == END:
                return coded if coded.is_whole else None
    except (struct.error, IndexError, KeyError, ValueError, ZeroDivisionError):
        return None
    return None


def _markers(data: bytes) -> Iterator[tuple[int, int, memoryview]]:
    """Each marker behind the first, where it stands, and what belongs to it."""
    at = 2
    while found := MARKER.search(data, at):
        marker, at = found[1][0], found.end()
        size = 0 if marker in BARE or marker == END else int.from_bytes(data[at : at + 2], "big")
        yield marker, found.start(), memoryview(data)[at + 2 : at + size]
        at += size
