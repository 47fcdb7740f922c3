"""Video files made by the tests."""

import subprocess
import wave
from pathlib import Path

import cv2
import numpy as np

from tests.support.cameras import SYSTEM_PYTHON, jpeg, numbered_frame
from tests.support.models import paint

MILLISECONDS_FPS = 1000


def write_concatenated_jpegs(path: Path, count: int) -> None:
    """JPEGs one after the other: a "video" whose frame count nobody knows."""
    path.write_bytes(b"".join(jpeg(numbered_frame(number)) for number in range(1, count + 1)))


def write_video_with_times(path: Path, times_ms: list[int]) -> None:
    """A Matroska file whose frames, numbered from 1, stand at exactly these times."""
    fourcc = cv2.VideoWriter.fourcc(*"MJPG")
    encoded = [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1]  # only then does it heed the times
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, fourcc, MILLISECONDS_FPS, (320, 240), encoded
    )
    assert writer.isOpened()
    for number, time_ms in enumerate(times_ms, start=1):
        writer.set(cv2.VIDEOWRITER_PROP_PTS, time_ms)
        writer.write(np.frombuffer(jpeg(numbered_frame(number)), np.uint8))
    writer.release()


def write_interlaced(path: Path) -> None:
    """Ten interlaced H.264 pictures in a Matroska file."""
    _encode("interlaced", path)


def write_squeezed(path: Path) -> None:
    """Twenty H.264 pictures of 320x240 whose pixels are twice as wide as high."""
    _encode("squeezed", path)


def _encode(kind: str, path: Path) -> None:
    script = Path(__file__).with_name("encoding.py")
    subprocess.run([SYSTEM_PYTHON, str(script), kind, str(path)], check=True, timeout=30)


def write_sound_only(path: Path) -> None:
    """One second of silence, whatever the name says."""
    with path.open("wb") as file, wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))


def write_pictures(folder: Path, count: int) -> None:
    """Pictures with a red and a green square each, in every one elsewhere."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for index in range(count):
        x, y = (int(place) for place in random.integers(0, (30, 15)))
        squares = [("red", x, y, x + 30, y + 30), ("green", x + 75, y + 65, x + 110, y + 100)]
        cv2.imwrite(str(folder / f"{index:03}.png"), paint(squares, (160, 120)))
