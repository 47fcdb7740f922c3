"""Pictures that people bring: one reader for all of them.

Whatever a phone, a scanner or a screenshot makes comes out alike: upright, in color, whole. A
picture that is not whole, or larger than may be, is refused; the size is judged by the header,
before anything is unpacked.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from appliance.errors import PictureError
from appliance.values import U8

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF")  # by the bytes, not by the name
NAMES = "JPEG, PNG, WebP, AVIF, TIFF, BMP or GIF"
PNG_END = b"IEND\xaeB`\x82"
LONGEST_SIDE = 1 << 15  # pixels; a strip that is longer is nothing that a camera has seen
BYTES_A_PIXEL = 24  # that reading one takes at its worst, with transparency and turned upright
SPARED_BYTES = 64_000_000  # for the rest of the station, meanwhile
# How decoders say that bytes make no sense; what they raise is nowhere written down.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a picture may be.

    Attributes:
        megapixels: width times height, in millions.
        size_mb: of the file, in MB.
        is_memory_short: whether memory is what sets the megapixels, and no setting.
    """

    megapixels: int = 40
    size_mb: int = 10
    is_memory_short: bool = False

    def within(self, available_bytes: int) -> "Limits":
        """The same, with no more pixels than there is memory for; some is left to others.

        Args:
            available_bytes: that can be had now.
        """
        most = max(1, (available_bytes - SPARED_BYTES) // BYTES_A_PIXEL // 1_000_000)
        if most >= self.megapixels:
            return self
        return Limits(most, self.size_mb, is_memory_short=True)

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return self.size_mb * 1_000_000

    def check_bytes(self, size_bytes: int) -> None:
        """Refuse a file that is too large.

        Raises:
            PictureError: it is.
        """
        if size_bytes > self.size_bytes:
            raise PictureError(
                f"the file is larger than {self.size_mb} MB",
                hint="Save it smaller, or raise APPLIANCE_INSPECT__PICTURE_MB.",
            )

    def check_pixels(self, size_wh: tuple[int, int]) -> None:
        """Refuse a picture that is too large once it is unpacked.

        Raises:
            PictureError: it is.
        """
        if max(size_wh) > LONGEST_SIDE or size_wh[0] * size_wh[1] > self.megapixels * 1_000_000:
            width, height = size_wh
            raise PictureError(
                f"the picture has {width} × {height} pixels; {self.megapixels} megapixels and "
                f"{LONGEST_SIDE} pixels a side are the most",
                hint="Save it smaller, or give the station more memory: there is no more free."
                if self.is_memory_short
                else "Save it smaller, or raise APPLIANCE_INSPECT__PICTURE_MEGAPIXELS.",
            )


def read_picture(data: bytes, limits: Limits) -> U8:
    """A picture as a person sees it: turned upright, on white where it is transparent.

    The first one of an animation; of 16 bits for each color, the upper eight.

    Args:
        data: a file's bytes.
        limits: what is larger is refused unread.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        PictureError: it is none, not whole, or too large; says which.
    """
    limits.check_bytes(len(data))
    if not data:
        raise PictureError("the file is empty", hint="Choose it again, or send it again.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Exif that is damaged: the picture may be sound
        with _opened(data) as image:
            limits.check_pixels(image.size)
            return _read(image, data)


def _opened(data: bytes) -> Image.Image:
    """The header alone is read."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise PictureError(
            "this is no picture that can be read", hint=f"Choose a {NAMES} that is whole."
        ) from error
    except Image.DecompressionBombError as error:
        raise PictureError(
            "the picture is far too large once it is unpacked", hint="Save it smaller."
        ) from error
    except DAMAGED as error:
        raise _incomplete() from error


def _read(image: Image.Image, data: bytes) -> U8:
    if image.format == "PNG" and PNG_END not in data:
        raise _incomplete()
    try:
        image.load()
        _turn_upright(image)
        pixels = cv2.cvtColor(np.asarray(_in_color(image)), cv2.COLOR_RGB2BGR)
    except DAMAGED as error:
        raise _incomplete() from error
    return np.asarray(pixels, np.uint8)


def _incomplete() -> PictureError:
    return PictureError(
        "the picture is incomplete or damaged", hint="Send it again, or export it anew."
    )


def _turn_upright(image: Image.Image) -> None:
    """As the camera was held; a value that means nothing turns nothing."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except DAMAGED:
        return  # Exif itself is damaged: no viewer turns such a picture either


def _in_color(image: Image.Image) -> Image.Image:
    """RGB, eight bits each."""
    if image.mode.startswith("I;16"):
        upper = (np.asarray(image) >> 8).astype(np.uint8)
        return Image.fromarray(upper).convert("RGB")
    if image.mode in {"I", "F"}:
        raise PictureError(
            "the picture has more than 16 bits for each color",
            hint="Save it with 8 or 16 bits.",
        )
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    on_white = Image.new("RGB", layered.size, "white")
    on_white.paste(layered, mask=layered)
    return on_white
