"""Color profiles: sRGB comes out, whatever the numbers of a picture stand for."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from appliance.pictures import Limits
from appliance.pictures import profiles as profiles_module
from appliance.pictures.pixels import read_picture
from tests.support.people import encoded
from tests.support.profiles import SRGB, WIDE, profile

COLORS = [(200, 100, 50), (120, 160, 130), (90, 90, 90), (255, 255, 255), (0, 0, 0)]
SRGB_GAMMA = 2.2


def shown(rgb, primaries):
    """What a viewer that knows profiles shows in sRGB: by the definition, not by the library."""
    to_xyz, from_xyz = np.array(primaries).T, np.linalg.inv(np.array(SRGB).T)
    linear = np.clip(from_xyz @ to_xyz @ (np.array(rgb) / 255) ** SRGB_GAMMA, 0, 1)
    curved = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return 255 * curved


def read(color, kind, mode="RGB", **options):
    image = Image.new("RGB", (32, 32), color).convert(mode)
    lossless = {"lossless": True} if kind == "WEBP" else {}
    pixels = read_picture(encoded(image, kind, **lossless, **options), Limits())
    return pixels[16, 16, ::-1].astype(int)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("color", COLORS)
def test_a_picture_of_a_phone_comes_out_in_srgb(color, kind):
    """Display P3: the same numbers are another, stronger color."""
    found = read(color, kind, icc_profile=profile(WIDE))
    np.testing.assert_allclose(found, shown(color, WIDE), atol=4)
    if len(set(color)) > 1:
        assert np.abs(found - color).max() > 4


def test_red_and_green_in_each_others_place_are_put_right():
    """Whoever ignores the profile sees grass where blood is."""
    red, green, blue = SRGB
    found = read((60, 201, 40), "JPEG", icc_profile=profile((green, red, blue)))
    np.testing.assert_allclose(found, shown((201, 60, 40), SRGB), atol=5)


def test_what_is_transparent_keeps_its_shape_and_gets_its_color():
    """The profile is of the colors, not of the white below."""
    image = Image.new("RGBA", (32, 32), (200, 100, 50, 255))
    image.paste((0, 0, 0, 0), (0, 0, 32, 16))
    pixels = read_picture(encoded(image, "PNG", icc_profile=profile(WIDE)), Limits())
    assert pixels[4, 4].tolist() == [255, 255, 255]
    np.testing.assert_allclose(pixels[24, 24, ::-1], shown((200, 100, 50), WIDE), atol=3)


@pytest.mark.parametrize(
    "broken",
    [b"x", profile(WIDE)[:200], profile(WIDE).replace(b"RGB ", b"CMYK"), bytes(500)],
    ids=["no profile", "cut", "for ink", "zeros"],
)
def test_a_profile_that_is_broken_or_for_something_else_is_ignored(broken):
    """The picture is sound, and browsers show it so."""
    for kind in ("JPEG", "TIFF"):
        found = read((200, 100, 50), kind, icc_profile=broken)
        np.testing.assert_allclose(found, (200, 100, 50), atol=3)


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_ink_and_gray_with_the_profile_of_a_screen_are_read_without_it(mode):
    """Nobody can say what was meant."""
    with_it = read((200, 100, 50), "JPEG", mode, icc_profile=profile(WIDE))
    np.testing.assert_array_equal(with_it, read((200, 100, 50), "JPEG", mode))


def test_a_profile_of_srgb_changes_nothing_and_costs_nothing(monkeypatch):
    """Most pictures of cameras have one."""
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    monkeypatch.setattr(ImageCms.ImageCmsTransform, "apply_in_place", None)
    assert read((200, 100, 50), "PNG", icc_profile=own).tolist() == [200, 100, 50]
    assert profiles_module._to_srgb(own, "RGB") is None
    assert profiles_module._to_srgb(profile(WIDE), "RGB") is not None


def test_the_library_takes_the_profile_that_is_written_here():
    """Else the tests above would compare nothing with nothing."""
    opened = ImageCms.getOpenProfile(io.BytesIO(profile(WIDE)))
    assert opened.profile.xcolor_space.strip() == "RGB"
    assert ImageCms.getProfileDescription(opened).strip() == "made here"
