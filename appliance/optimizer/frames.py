"""Real frames to verify with: pictures of a folder, or a stretch of a video."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from appliance.errors import ModelError
from appliance.values import U8

PICTURES = {".jpg", ".jpeg", ".png", ".bmp"}
LIMIT = 100  # frames; enough to prove, few enough for a small box


def read_frames(path: Path) -> list[U8]:
    """At most LIMIT frames (H, W, 3) uint8 BGR, spread evenly over what there is.

    Raises:
        ModelError: nothing there can be read as a picture.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
        frames = [_picture(file) for file in _spread(files)]
    elif path.suffix.lower() in PICTURES:
        frames = [_picture(path)]
    else:
        frames = list(_video(path))
    if not frames:
        raise ModelError(
            f"{path.name}: no picture to verify with", hint="Give a folder of pictures or a video."
        )
    return frames


def _picture(path: Path) -> U8:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ModelError(f"{path.name}: cannot be read as a picture", hint="Take it out.")
    return np.asarray(picture, np.uint8)


def _spread(files: list[Path]) -> list[Path]:
    step = max(1, -(-len(files) // LIMIT))
    return files[::step]


def _video(path: Path) -> Iterator[U8]:
    """Every second frame: neighbors are too much alike to prove twice as much."""
    capture = cv2.VideoCapture(str(path))
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
