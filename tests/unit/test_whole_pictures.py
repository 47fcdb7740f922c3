"""Pictures of which a part is missing, with an end put behind; and those that lack nothing."""

import io
import struct
import time
from zlib import crc32

import cv2
import numpy as np
import pytest
from PIL import Image

from appliance.errors import PictureError
from appliance.pictures import Limits, jpeg
from appliance.pictures import reading as reading_module
from appliance.pictures.pixels import read_picture
from tests.support.people import blurred_noise, encoded, upright

END = b"\xff\xd9"
KINDS = {
    "plain": {},
    "in fewer colors": {"subsampling": 2, "quality": 60},
    "with restarts": {"restart_marker_blocks": 10},
    "with a restart a row": {"restart_marker_rows": 1, "subsampling": 2},
    "progressive": {"progressive": True},
    "progressive with restarts": {"progressive": True, "restart_marker_rows": 2},
}
SHARES = [0.3, 0.5, 0.8, 0.97, 0.995]


def read(data, limits=None):
    return read_picture(data, limits or Limits())


def assert_incomplete(data):
    with pytest.raises(PictureError, match="incomplete") as caught:
        read(data)
    assert caught.value.hint


def webp(data):
    """A WebP whose sizes say that this is all of it."""
    data = data[: len(data) // 2 * 2]
    return (
        data[:4] + struct.pack("<I", len(data) - 8) + data[8:16]
        + struct.pack("<I", len(data) - 20) + data[20:]
    )  # fmt: skip


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_half_a_jpeg_with_an_end_put_behind_is_incomplete(mode, options, share):
    """As the plain cut is: the library's gray rest is no picture (O-02)."""
    whole = encoded(blurred_noise(203, 117).convert(mode), "JPEG", **options)
    first = whole.index(b"\xff\xda")
    cut = first + round((len(whole) - first) * share)
    assert_incomplete(whole[:cut] + END)


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_whole_jpeg_of_each_kind_is_read(mode, options):
    """And nothing but the picture counts: a gray one, one of an odd size, bytes behind the end."""
    gray = Image.new("RGB", (96, 64), (128, 128, 128))
    for picture in (blurred_noise(203, 117), upright(), gray):
        whole = encoded(picture.convert(mode), "JPEG", **options)
        for data in (whole, whole + b"\0" * 99, whole.replace(END, b"\xff\xff\xff\xd9")):
            assert read(data).shape[:2] == picture.size[::-1]


def test_a_jpeg_cut_between_two_scans_or_restarts_is_incomplete():
    """Nothing is left half told, and still something was never told."""
    progressive = encoded(blurred_noise(), "JPEG", progressive=True)
    restarted = encoded(blurred_noise(), "JPEG", restart_marker_blocks=10)
    for data, marker in ((progressive, b"\xff\xda"), (restarted, b"\xff\xd3")):
        parts = data.split(marker)
        assert len(parts) > 3
        for count in (2, len(parts) - 1):
            assert_incomplete(marker.join(parts[:count]) + END)


def test_a_large_jpeg_is_unpacked_twice_only_where_its_end_is_gray(monkeypatch):
    """What is cut is found without unpacking every picture of a phone twice."""
    again = []
    more = jpeg.Coded.with_more
    monkeypatch.setattr(jpeg.Coded, "with_more", lambda it: again.append(1) or more(it))
    monkeypatch.setattr(reading_module, "QUICK_PIXELS", 1000)
    picture = blurred_noise()
    picture.paste((250, 20, 20), (560, 360, 600, 400))
    whole = encoded(picture, "JPEG")
    read(whole)
    assert again == []
    assert_incomplete(whole[: len(whole) // 2] + END)
    assert again == [1]


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("lossless", [False, True])
def test_a_cut_webp_whose_sizes_were_made_to_fit_is_incomplete(lossless, share):
    """Its header says that nothing is missing; its data say otherwise."""
    whole = encoded(blurred_noise(), "WEBP", lossless=lossless)
    assert_incomplete(webp(whole[: round(len(whole) * share)]))


def test_a_cut_png_or_gif_with_an_end_put_behind_is_incomplete():
    """Their ends are a chunk and a byte."""
    png, gif = encoded(blurred_noise(), "PNG"), encoded(blurred_noise(), "GIF")
    at = png.index(b"IDAT") - 4
    for share in SHARES:
        data = png[at + 8 : round(len(png) * share)]
        assert_incomplete(png[:at] + chunk(b"IDAT", data) + chunk(b"IEND", b""))
        assert_incomplete(png[: round(len(png) * share)] + chunk(b"IEND", b""))
        for end in (b";", b"\0;"):
            assert_incomplete(gif[: round(len(gif) * share)] + end)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "jpeg"])
def test_a_cut_tiff_with_its_directory_first_is_incomplete(compression):
    """It has no end that could be put behind: its directory says where each part lies."""
    options = {"compression": compression} if compression else {}
    whole = encoded(blurred_noise(), "TIFF", **options)
    (at,) = struct.unpack_from("<I", whole, 4)
    (count,) = struct.unpack_from("<H", whole, at)
    entries = [bytearray(whole[at + 2 + 12 * n : at + 14 + 12 * n]) for n in range(count)]
    (strips,) = [entry for entry in entries if entry[:2] == b"\x11\x01"]  # StripOffsets
    number, place = struct.unpack_from("<II", strips, 4)
    if number == 1:  # it stands in the entry itself: the only part ends before the file does
        struct.pack_into("<I", strips, 8, len(whole) // 2)
        whole = (
            whole[:at] + struct.pack("<H", count) + b"".join(entries) + whole[at + 2 + 12 * count :]
        )
        data = whole
    else:
        offsets = list(struct.unpack_from(f"<{number}I", whole, place))
        offsets[-1] = len(whole) - 100
        data = whole[:place] + struct.pack(f"<{number}I", *offsets) + whole[place + 4 * number :]
    assert_incomplete(data)


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt", "tIME", "zzZz"])
def test_a_png_with_a_wrong_checksum_in_what_is_no_picture_is_read(kind):
    """Browsers and viewers pass over it; the picture is whole."""
    whole = encoded(upright(), "PNG")
    wrong = bytearray(chunk(kind.encode(), b"Comment\0nobody reads it"))
    wrong[-1] ^= 1
    for at in (33, whole.rindex(b"IEND") - 4):
        np.testing.assert_array_equal(read(whole[:at] + wrong + whole[at:]), read(whole))


def test_a_png_with_a_hundred_thousand_wrong_checksums_takes_no_longer_than_its_size():
    """Each text is passed over, and the file is copied once, not once for each of them."""
    whole = encoded(upright(), "PNG")
    wrong = bytes(4) + b"tEXt" + b"nope"  # an empty one
    started = time.process_time()
    data = whole[:33] + wrong * 100_000 + whole[33:]
    np.testing.assert_array_equal(read(data), read(whole))
    assert time.process_time() - started < 3


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"PLTE"])
def test_a_png_with_a_wrong_checksum_in_what_is_the_picture_is_damaged(kind):
    """Nobody knows which pixel is wrong."""
    whole = bytearray(encoded(upright().quantize(8), "PNG"))
    at = whole.index(kind)
    (size,) = struct.unpack_from(">I", whole, at - 4)
    whole[at + 4 + size] ^= 1
    with pytest.raises(PictureError, match=r"incomplete|no picture"):
        read(bytes(whole))


@pytest.mark.parametrize("frame", [0xC3, 0xC5, 0xC9, 0xCA])
def test_kinds_of_jpeg_that_cannot_be_proven_whole_are_refused_by_name(frame):
    """An arithmetic one may end anywhere; no camera and no browser writes such."""
    data = encoded(upright(), "JPEG").replace(b"\xff\xc0", bytes((0xFF, frame)), 1)
    with pytest.raises(PictureError, match="kind of JPEG") as caught:
        read(data)
    assert "ordinary JPEG" in caught.value.hint


def test_opencv_and_pillow_write_what_is_read():
    """A picture of the station's own encoder, with and without progress."""
    pixels = np.asarray(blurred_noise())
    for options in ([], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 5]):
        data = cv2.imencode(".jpg", pixels, options)[1].tobytes()
        assert read(data).shape == pixels.shape


def packed_bmp(rows):
    """64 x 64, run by run, with its end behind so many rows."""
    runs = b"".join(bytes((32, row, 32, 255 - row, 0, 0)) for row in range(rows)) + b"\0\1"
    colors = b"".join(bytes((level, level, 255 - level, 0)) for level in range(256))
    at = 14 + 40 + len(colors)
    head = b"BM" + struct.pack("<IHHI", at + len(runs), 0, 0, at)
    head += struct.pack("<IiiHHIIiiII", 40, 64, 64, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return head + colors + runs


def test_a_packed_bmp_that_ends_too_early_is_incomplete():
    """Its end is two bytes, wherever they stand."""
    assert read(packed_bmp(64)).shape == (64, 64, 3)
    assert_incomplete(packed_bmp(32))


def test_of_a_phones_file_with_two_pictures_the_first_counts_and_must_be_whole():
    """A JPEG with another one behind it, as phones write depth and film."""
    file = io.BytesIO()
    blurred_noise(203, 117).save(file, "MPO", save_all=True, append_images=[upright()])
    data = file.getvalue()
    assert read(data).shape == (117, 203, 3)
    assert read(encoded(upright(), "JPEG") + data[9:]).shape == (64, 96, 3)
    assert_incomplete(data[: data.index(END) // 2] + data[data.index(END) :])
