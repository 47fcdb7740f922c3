"""Pictures as people bring them: every kind, sound and broken, all drawn here."""

import io
import struct
import zlib
from collections.abc import Iterable
from zlib import crc32

import cv2
import numpy as np
from PIL import Image

from appliance.values import U8

ORIENTATION = 0x0112
SIZE_WH = (96, 64)
RED, GREEN, BLUE, GRAY = (220, 30, 30), (30, 200, 40), (30, 40, 220), (120, 120, 120)


def upright() -> Image.Image:
    """96 x 64 RGB whose four corners differ: top left red, top right green, bottom left blue."""
    picture = np.full((SIZE_WH[1], SIZE_WH[0], 3), GRAY, np.uint8)
    picture[:32, :32], picture[:32, -32:], picture[-32:, :32] = RED, GREEN, BLUE
    return Image.fromarray(picture)


def as_held(orientation: int) -> Image.Image:
    """The same as the sensor of a camera that was held otherwise has stored it."""
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = upright()
    for step in undo.get(orientation, []):
        stored = stored.transpose(step)
    return stored


def encoded(
    picture: Image.Image, kind: str, *, orientation: int | None = None, **options: object
) -> bytes:
    """A file's bytes, with this orientation in its Exif."""
    if orientation is not None:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        options["exif"] = exif.tobytes() if kind != "TIFF" else exif
    if kind == "JPEG":
        options = {"quality": 95, "subsampling": 0, **options}
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def blurred_noise(width: int = 600, height: int = 400) -> Image.Image:
    """A picture in which every part differs from every other."""
    noise = np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(np.asarray(cv2.GaussianBlur(noise, (0, 0), 3)))


def blank_png(side: int) -> bytes:
    """A 1-bit PNG of many pixels in few bytes (O-03)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))

    packing = zlib.compressobj()
    row = bytes(1 + (side + 7) // 8)  # no filter, and black
    data = b"".join(packing.compress(row) for _ in range(side)) + packing.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def corners(picture: U8) -> Iterable[tuple[int, int, int]]:
    """RGB in the four corners of (H, W, 3) BGR: top left and right, bottom left and right."""
    height, width = picture.shape[:2]
    for y in (height // 8, height - height // 8):
        for x in (width // 8, width - width // 8):
            blue, green, red = picture[y, x].tolist()
            yield red, green, blue
