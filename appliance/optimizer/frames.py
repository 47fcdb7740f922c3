"""Real frames to verify and calibrate with: pictures of a folder, or a stretch of a video.

Read anew each time somebody looks at them: a hundred frames in memory would be more than a small
box has.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from appliance.catalog.files import read_plain
from appliance.errors import ModelError, PictureError
from appliance.ffmpeg import FFMPEG
from appliance.pictures import Limits
from appliance.pictures.pixels import read_picture
from appliance.values import U8

PICTURES = {".jpg", ".jpeg", ".png", ".bmp"}
LIMIT = 100  # frames; enough to prove, few enough for a small box
LARGEST = Limits(megapixels=80, size_mb=100)  # whoever fills the folder owns the box


@dataclass(frozen=True, slots=True)
class Frames:
    """At most LIMIT frames (H, W, 3) uint8 BGR, the same each time.

    Attributes:
        source: a video, or its pictures.
        count: how many there are.
        start: the first one, where only some are meant.
        step: from one to the next.
    """

    source: Path | tuple[Path, ...]
    count: int
    start: int = 0
    step: int = 1

    @classmethod
    def of(cls, path: Path) -> "Frames":
        """The frames of a folder of pictures, of one picture, or of a video.

        Raises:
            ModelError: nothing there can be read as a picture.
        """
        source: Path | tuple[Path, ...] = path
        if path.is_dir():
            source = _spread(sorted(f for f in path.iterdir() if is_picture(f)))
        elif is_picture(path):
            source = (path,)
        count = sum(1 for _ in _video(path)) if isinstance(source, Path) else len(source)
        if not count:
            raise ModelError(
                f"{path.name}: no picture to verify with",
                hint="Give a folder of pictures or a video.",
            )
        return cls(source, count)

    def parted(self) -> tuple["Frames", "Frames"]:
        """Every other frame, and those between: what was calibrated on proves nothing."""
        whole = (self.source, self.count)
        return Frames(*whole, 0, 2), Frames(*whole, 1 if self.count > 1 else 0, 2)

    def __len__(self) -> int:
        return len(range(self.start, self.count, self.step))

    def __iter__(self) -> Iterator[U8]:
        if isinstance(self.source, Path):
            return islice(_video(self.source), self.start, None, self.step)
        return map(_picture, self.source[self.start :: self.step])


def is_picture(path: Path) -> bool:
    """A file, by its name; a hidden one is one that is still being written."""
    is_named = path.suffix.lower() in PICTURES and not path.name.startswith(".")
    return is_named and path.is_file()


def _picture(path: Path) -> U8:
    try:
        content = read_plain(path, limit_bytes=LARGEST.size_bytes, follow_links=True)
        return read_picture(content, LARGEST)
    except OSError as error:
        raise ModelError(f"{path.name}: {error.strerror}", hint="Take it out.") from error
    except PictureError as error:
        raise ModelError(f"{path.name}: {error}", hint="Take it out.") from error


def _spread(files: list[Path]) -> tuple[Path, ...]:
    step = max(1, -(-len(files) // LIMIT))
    return tuple(files[::step])


def _video(path: Path) -> Iterator[U8]:
    """Every second frame: neighbors are too much alike to prove twice as much."""
    capture = FFMPEG.open(str(path)).handle
    try:
        for index in range(2 * LIMIT):
            if not capture.grab():
                return
            if index % 2 == 0:
                decoded, frame = capture.retrieve()
                if decoded:
                    yield np.asarray(frame, np.uint8)
    finally:
        capture.release()
