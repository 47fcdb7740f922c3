"""Pictures that were made to keep a decoder busy, or to take its memory."""

import base64
import zlib
from functools import cache

from PIL import Image

from tests.support.people import encoded

# A flat AVIF of 7000 x 7000 pixels, whose ispe box was changed to 64 x 64.
_LIAR = (
    "c-muNV30{GsVqn=%S>Yc0uY^>nP!-qnF!*)%uOvxWPkw0jFg-rD4U@mGr5ET4e%9YmgIt2j6f`xnUkLk;<$kLj1W;q"
    "UIqqcOCVb#Gczv@u2u@jNo9ia63Yw>o%3_@!FFY278Df#Y0u1p<a{74l384k3boGxih=f4WP&ww012MNGDGJ^c^Qy^"
    "aB_Z5QC@OR1<+hx2DS#Eka%W6F3d+jXR$CcHM0QS<d~b1SR%y0#U=mQZ2i`<85|j=Ml0AP&mE1t|4-"
    ")+gX#HGI^OGdi_h5Kc}~00LwlF%u>x)-`&!TGlRUCEoW5<E|D|}dr*FcZSzEI-"
    "*K#Zs43f&oDP*LtwkDj~rk<M2BanZV|JSJ-"
    "K`HmIO{%MMJatTBQNol4&&@Kti#~q77`U>xEM4}(tjOS~bEjX`wNGH^3Q0Fg+gHb^tu}RarnVwmuv>o7MZLv26ND@G"
    ">R(T-"
    "+Iuy=;Jcgt`*|JA2`!t>?2zAU6)Ig&NS4z%`A=tyJ@hO+#m{MEbJ5}ZkvWH%>loHAOPS2;?C;&yWZr+kl#|ijea*GX"
    "4Vm0m9Jg)E_>`bh^eSqJ$QF)~Vda3wt)ar4371}p?MTf`JHJINc;liqqOLV5JV%oapEUpgbT6U>"
)
SIDE = 6300  # nearly the most pixels that may be


def liar_avif() -> bytes:
    """1 kB that says 64 x 64 and unpacks 49 million pixels."""
    return zlib.decompress(base64.b85decode(_LIAR))


def many_scans(count: int) -> bytes:
    """A progressive JPEG of many pixels with so many scans more, each of some bytes."""
    whole, scan = _flat()
    return whole[:-2] + count * scan + whole[-2:]


def slow_jpeg() -> bytes:
    """With as many scans as may be: seconds for a decoder, and nothing wrong with it."""
    return many_scans(90)


@cache
def _flat() -> tuple[bytes, bytes]:
    """The picture, and the last of its scans."""
    whole = encoded(Image.new("L", (SIDE, SIDE), 77), "JPEG", progressive=True, quality=50)
    return whole, whole[whole.rindex(b"\xff\xda") : -2]
