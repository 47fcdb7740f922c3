"""The one reader of pictures that people bring.

Whatever a phone, a scanner or a screenshot makes comes out alike: upright, in sRGB, whole. A
picture that is not whole, or larger than may be, is refused; the size is judged by the header,
before anything is unpacked.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable

from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from appliance.errors import PictureError
from appliance.pictures import Limits, jpeg, png, webp
from appliance.pictures.profiles import in_srgb

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF")  # by the bytes, not by the name
NAMES = "JPEG, PNG, WebP, AVIF, TIFF, BMP or GIF"
HEIC = (b"ftypheic", b"ftypheix")  # behind the length of the first block
QUICK_PIXELS = 4_000_000  # up to here a JPEG is unpacked twice; it takes 25 ms
GRAY_OF_NOTHING = range(124, 133)  # of a JPEG's block that was never decoded, with rounding
# How decoders say that bytes make no sense; what they raise is nowhere written down.
DAMAGED = (
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
)

Judged = Callable[[tuple[int, int]], None]


def read_image(data: bytes, limits: Limits, on_size: Judged = lambda _: None) -> Image.Image:
    """A picture as a person sees it: turned upright, on white where it is transparent.

    The first one of an animation; of 16 bits for each color, the upper eight.

    Args:
        data: a file's bytes.
        limits: what is larger is refused unread.
        on_size: told width and height, pixels, before anything is unpacked.

    Returns:
        RGB.

    Raises:
        PictureError: it is none, not whole, or too large; says which.
    """
    limits.check_bytes(len(data))
    if not data:
        raise PictureError("the file is empty", hint="Choose it again, or send it again.")
    if size_wh := webp.size_of(data):
        limits.check_pixels(size_wh)
        on_size(size_wh)
    try:
        data = png.without_damaged_extras(data)
    except ValueError as error:
        raise _incomplete() from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Exif that is damaged: the picture may be sound
        with _opened(data) as image:
            limits.check_pixels(image.size)
            on_size(image.size)
            return _read(image, data)


def _opened(data: bytes) -> Image.Image:
    """The header alone is read."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        if data[4:12] in HEIC:
            raise PictureError(
                "this is a HEIC picture, which is not read",
                hint="Save it as JPEG. An iPhone: Settings, Camera, Formats, Most Compatible.",
            ) from error
        raise PictureError(
            "this is no picture that can be read", hint=f"Choose a {NAMES} that is whole."
        ) from error
    except Image.DecompressionBombError as error:
        raise PictureError(
            "the picture is far too large once it is unpacked", hint="Save it smaller."
        ) from error
    except DAMAGED as error:
        raise _incomplete() from error


def _read(image: Image.Image, data: bytes) -> Image.Image:
    try:
        if data.startswith(jpeg.START):
            _load_jpeg(image, data)
        elif image.format == "PNG" and png.END not in data:
            raise _incomplete()
        else:
            image.load()
        _turn_upright(image)
        return _in_color(image)
    except DAMAGED as error:
        raise _incomplete() from error


def _load_jpeg(image: Image.Image, data: bytes) -> None:
    """Unpack it, and make sure that nothing of it was made up.

    Where its data end too early, the library fills the rest with gray and says so to nobody. So
    other data are put behind: a picture that then looks otherwise was not whole. A large one is
    believed where its last block is not gray: at most a part of that block is made up.

    Raises:
        PictureError: it is not whole, or it is of a kind of which that cannot be told.
    """
    coded = jpeg.examine(data)
    if coded is None:
        raise _incomplete()
    image.load()
    right, bottom = image.size
    if right * bottom > QUICK_PIXELS and coded.scans == 1 and image.mode in {"L", "RGB"}:
        last = image.crop((right - 1, bottom - 1, right, bottom)).convert("L")
        if last.getpixel((0, 0)) not in GRAY_OF_NOTHING:
            return  # decoded to the end
    with _opened(coded.with_more()) as other:
        other.load()
        if ImageChops.difference(image, other).getbbox(alpha_only=False) is not None:
            raise _incomplete()


def _incomplete() -> PictureError:
    return PictureError("the picture is incomplete or damaged", hint="Send or export it again.")


def _turn_upright(image: Image.Image) -> None:
    """As the camera was held; a value that means nothing turns nothing."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except DAMAGED:
        return  # Exif itself is damaged: no viewer turns such a picture either


def _in_color(image: Image.Image) -> Image.Image:
    """RGB, eight bits each."""
    if image.mode.startswith("I;16"):
        upper = image.convert("I").point(lambda level: level * (1 / 256))
        return upper.convert("L").convert("RGB")
    if image.mode in {"I", "F"}:
        raise PictureError(
            "the picture has more than 16 bits for each color",
            hint="Save it with 8 or 16 bits.",
        )
    profile = image.info.get("icc_profile")
    if not image.has_transparency_data:
        return in_srgb(image, profile)
    layered = image.convert("RGBA")
    on_white = Image.new("RGB", layered.size, "white")
    on_white.paste(in_srgb(layered.convert("RGB"), profile), mask=layered.getchannel("A"))
    return on_white
