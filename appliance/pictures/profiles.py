"""Colors: whatever a picture's profile means by its numbers, sRGB comes out."""

import io
from functools import cache

from PIL import Image, ImageCms

SAME = 2  # of 255; two profiles of sRGB differ by no more


def in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture as RGB in sRGB.

    A profile that is damaged, or is not for such a picture, is ignored, as browsers do: then the
    numbers are taken for sRGB.

    Args:
        image: without transparency.
        profile: as the file has it; None without one.
    """
    if image.mode not in {"L", "RGB", "CMYK"}:
        image = image.convert("RGB")
    transform = _to_srgb(profile, image.mode) if profile else None
    if transform is None:
        return image.convert("RGB")
    if image.mode == "RGB":
        transform.apply_in_place(image)
        return image
    return transform.apply(image)


def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None where nothing is to be done, or can be."""
    try:
        transform = ImageCms.ImageCmsTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            _srgb(),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    if mode == "RGB" and _changes_nothing(transform):
        return None  # most pictures: half a second for a large one
    return transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    levels = range(0, 256, 51)
    colors = [(red, green, blue) for red in levels for green in levels for blue in levels]
    before = bytes(level for color in colors for level in color)
    after = transform.apply(Image.frombytes("RGB", (len(colors), 1), before)).tobytes()
    return all(abs(one - other) <= SAME for one, other in zip(before, after, strict=True))


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
