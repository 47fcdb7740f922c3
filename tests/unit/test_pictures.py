"""Pictures that people bring: every kind comes out alike, and every broken one is told."""

import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from appliance.errors import PictureError
from appliance.optimizer.frames import Frames
from appliance.pictures import LONGEST_SIDE, Limits
from appliance.pictures.pixels import read_picture
from tests.support.people import (
    BLUE,
    GRAY,
    GREEN,
    RED,
    SIZE_WH,
    as_held,
    blank_png,
    blurred_noise,
    corners,
    encoded,
    upright,
)

LIMITS = Limits(megapixels=40, size_mb=10)
HELD = ["JPEG", "PNG", "WEBP", "TIFF"]  # kinds that can say how they were held


def read(data):
    return read_picture(data, LIMITS)


def assert_upright(picture, tolerance=12):
    assert picture.shape == (SIZE_WH[1], SIZE_WH[0], 3)
    assert picture.dtype == np.uint8
    assert picture.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(list(corners(picture)), [RED, GREEN, BLUE, GRAY], atol=tolerance)


@pytest.mark.parametrize("kind", HELD)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright_exactly_once(kind, orientation):
    """However the camera was held, the person sees it upright, and so does the model (O-01)."""
    stored = as_held(orientation)
    assert_upright(read(encoded(stored, kind, orientation=orientation)))


@pytest.mark.parametrize("kind", HELD)
@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_means_nothing_turns_nothing(kind, orientation):
    """An invalid value is no reason to refuse a sound picture (O-01)."""
    assert_upright(read(encoded(upright(), kind, orientation=orientation)))


def test_a_picture_with_damaged_exif_is_still_a_picture():
    """What cannot be read beside the pixels turns nothing and warns nobody."""
    whole = encoded(upright(), "JPEG", orientation=6)
    start = whole.index(b"Exif\0\0") + 6
    intel, motorola = b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08"
    for junk in (b"\xff" * 26, intel + b"\0" * 18, motorola + b"\xff" * 18):
        assert_upright(read(whole[:start] + junk + whole[start + len(junk) :]))


def test_pictures_to_verify_with_come_by_the_same_way(tmp_path):
    """The folder's pictures are turned as an upload is: pixel for pixel (O-01)."""
    for orientation in (3, 6, 8, 9):
        data = encoded(as_held(orientation), "JPEG", orientation=orientation)
        (tmp_path / f"{orientation}.jpg").write_bytes(data)
        (frame,) = Frames.of(tmp_path / f"{orientation}.jpg")
        np.testing.assert_array_equal(frame, read(data))
        assert_upright(frame)


def test_what_a_file_is_called_says_nothing(tmp_path):
    """A PNG named .jpg is a PNG: bytes decide."""
    (tmp_path / "a.jpg").write_bytes(encoded(upright(), "PNG"))
    assert_upright(next(iter(Frames.of(tmp_path / "a.jpg"))), tolerance=0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_every_common_format_is_read(kind):
    """What phones, browsers, scanners and old programs save."""
    assert_upright(read(encoded(upright(), kind)), tolerance=40)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("P", "PNG"), ("P", "GIF"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG")],
)
def test_other_ways_to_write_colors_come_out_as_the_same_colors(mode, kind):
    """A palette, four printing inks, and luminance with differences."""
    picture = upright().quantize(8) if mode == "P" else upright().convert(mode)
    assert_upright(read(encoded(picture, kind)), tolerance=20)


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_gray_has_three_equal_channels(mode):
    """A scan in black and white is a picture like any other."""
    picture = read(encoded(upright().convert(mode), "PNG"))
    assert picture.shape == (SIZE_WH[1], SIZE_WH[0], 3)
    assert (picture == picture[..., :1]).all()
    if mode != "1":
        gray = np.asarray(upright().convert("L"))
        np.testing.assert_array_equal(picture[..., 0], gray)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_of_sixteen_bits_the_upper_eight_are_taken(kind):
    """Not clipped to white, and not wrapped around."""
    levels = np.linspace(0, 65535, 64 * 48).astype(np.uint16).reshape(48, 64)
    picture = read(encoded(Image.fromarray(levels), kind))
    np.testing.assert_array_equal(picture[..., 1], (levels >> 8).astype(np.uint8))


def test_sixteen_bits_for_each_color_are_read_as_well():
    """OpenCV writes such PNGs, and so do industrial cameras."""
    deep = np.full((20, 30, 3), (0x1234, 0x8000, 0xFFFF), np.uint16)
    data = cv2.imencode(".png", deep)[1].tobytes()
    assert read(data)[3, 4].tolist() == [0x12, 0x80, 0xFF]


def test_numbers_of_thirty_two_bits_are_refused():
    """Nobody knows what white is in them."""
    depths = Image.fromarray(np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30))
    with pytest.raises(PictureError, match="more than 16 bits"):
        read(encoded(depths, "TIFF"))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_what_is_transparent_lies_on_white(kind):
    """As a browser shows it on a page, and not the color that hides below."""
    picture = upright().convert("RGBA")
    alpha = np.full((SIZE_WH[1], SIZE_WH[0]), 255, np.uint8)
    alpha[:32, :32], alpha[:32, -32:] = 0, 128
    picture.putalpha(Image.fromarray(alpha))
    options = {"lossless": True} if kind == "WEBP" else {}
    found = list(corners(read(encoded(picture, kind, **options))))
    half = [round((value + 255) / 2) for value in GREEN]
    np.testing.assert_allclose(found, [(255, 255, 255), half, BLUE, GRAY], atol=2)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_entry_of_a_palette_lies_on_white(kind):
    """The palette's way to be transparent ends in the same white."""
    picture = upright().quantize(8)
    entry = picture.getpixel((5, 5))
    found = list(corners(read(encoded(picture, kind, transparency=entry))))
    np.testing.assert_allclose(found, [(255, 255, 255), GREEN, BLUE, GRAY], atol=20)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_picture_counts(kind):
    """The others are not even unpacked."""
    others = [Image.new("RGB", SIZE_WH, "white")] * 3
    data = encoded(upright(), kind, save_all=True, append_images=others)
    assert_upright(read(data), tolerance=40)


def cut(kind, share=None, without=0, **options):
    data = encoded(blurred_noise(), kind, **options)
    return data[: round(len(data) * share)] if share else data[: len(data) - without]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(cut("JPEG", 0.5), id="half a JPEG"),
        pytest.param(cut("JPEG", 0.99), id="nearly a JPEG"),
        pytest.param(cut("JPEG", without=2), id="a JPEG without its end marker"),
        pytest.param(cut("JPEG", without=1), id="a JPEG with half an end marker"),
        pytest.param(cut("JPEG", 0.5, progressive=True), id="half a progressive JPEG"),
        pytest.param(cut("JPEG", without=2, progressive=True), id="the same without an end"),
        pytest.param(cut("PNG", 0.5), id="half a PNG"),
        pytest.param(cut("PNG", without=12), id="a PNG without its end"),
        pytest.param(cut("GIF", 0.5), id="half a GIF"),
        pytest.param(cut("WEBP", 0.5), id="half a WebP"),
        pytest.param(cut("WEBP", without=2), id="nearly a WebP"),
        pytest.param(cut("AVIF", without=12), id="nearly an AVIF"),
        pytest.param(cut("BMP", 0.5), id="half a BMP"),
        pytest.param(cut("TIFF", 0.5), id="half a TIFF"),
    ],
)
def test_a_picture_that_is_cut_off_is_incomplete(data):
    """Half a picture is not looked at, and least of all with a gray rest (O-02)."""
    with pytest.raises(PictureError, match="the picture is incomplete") as caught:
        read(data)
    assert caught.value.hint


def test_an_empty_file_and_no_picture_at_all_are_told_apart():
    """Each with what a person can do about it (O-02)."""
    for data, told in (
        (b"", "the file is empty"),
        (b"\x89PNG\r\n\x1a\n", "no picture"),
        (encoded(upright(), "JPEG")[:20], "no picture"),
        (b"just words", "no picture"),
        (b"%PDF-1.7 and so on", "no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),
    ):
        with pytest.raises(PictureError, match=told) as caught:
            read(data)
        assert caught.value.hint


def test_pictures_of_a_phone_in_heic_are_told_what_they_are():
    """They are sound pictures, so "no picture" would lead astray."""
    with pytest.raises(PictureError, match="HEIC") as caught:
        read_picture(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(4000), Limits())
    assert "JPEG" in caught.value.hint


def test_bytes_behind_the_end_do_no_harm():
    """Phones append films and maps to their pictures."""
    for kind in ("JPEG", "PNG"):
        assert_upright(read(encoded(upright(), kind) + b"\0" * 999))


@pytest.mark.parametrize(
    ("side", "told"), [(12_000, "12000 × 12000 pixels"), (30_000, "far too large")]
)
def test_a_bomb_is_refused_by_its_header(side, told):
    """Some kilobytes that would unpack to gigabytes are not unpacked at all (O-03)."""
    data = blank_png(side)
    assert len(data) < 200_000
    started = time.process_time()
    with pytest.raises(PictureError, match=told) as caught:
        read(data)
    assert time.process_time() - started < 1
    assert caught.value.hint


def test_a_strip_without_end_is_refused():
    """Few pixels, and still no side that a model could be shown."""
    strip = encoded(Image.new("L", (LONGEST_SIDE + 1, 1)), "PNG")
    with pytest.raises(PictureError, match="pixels a side"):
        read(strip)


def test_a_file_that_is_too_large_is_not_opened():
    """The bytes are counted first."""
    with pytest.raises(PictureError, match="larger than 1 MB") as caught:
        read_picture(b"\xff\xd8" + bytes(1_000_000), Limits(size_mb=1))
    assert "APPLIANCE_INSPECT__PICTURE_MB" in caught.value.hint


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
@given(data=st.data())
def test_any_damage_ends_in_a_picture_or_in_words(kind, data):
    """However the bytes are changed, nothing but a picture or a PictureError comes out."""
    whole = bytearray(encoded(upright(), kind, **({"orientation": 6} if kind in HELD else {})))
    places = st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255))
    for at, value in data.draw(st.lists(places, min_size=1, max_size=12)):
        whole[at] = value
    kept = data.draw(st.integers(1, len(whole)))
    try:
        picture = read(bytes(whole[:kept]))
    except PictureError:
        return
    assert (picture.ndim, picture.shape[2], picture.dtype.name) == (3, 3, "uint8")


def test_the_peak_is_a_few_times_the_picture():
    """Reading takes no more than five copies, in bytes for each pixel (O-03)."""
    script = (
        "import io, resource\n"
        "from PIL import Image\n"
        "from appliance.pictures import Limits\n"
        "from appliance.pictures.pixels import read_picture\n"
        "file = io.BytesIO()\n"
        "Image.new('RGB', (6000, 5000), 'teal').save(file, 'JPEG')\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "read_picture(file.getvalue(), Limits())\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    grown_kib = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(grown_kib.stdout) * 1024 < 5 * 3 * 6000 * 5000


@pytest.mark.parametrize(
    ("available_mb", "megapixels"), [(2000, 40), (1024, 40), (700, 26), (100, 1), (0, 1)]
)
def test_a_picture_may_be_no_larger_than_there_is_memory_for(available_mb, megapixels):
    """What is left over 24 bytes for each pixel, and the reason where that is what holds."""
    limits = LIMITS.within(available_mb * 1_000_000)
    assert limits.megapixels == megapixels
    with pytest.raises(PictureError) as caught:
        limits.check_pixels((10_000, 10_000))
    is_setting = "APPLIANCE_INSPECT__PICTURE_MEGAPIXELS" in caught.value.hint
    assert is_setting == (megapixels == LIMITS.megapixels)
    assert ("more memory" in caught.value.hint) != is_setting
