"""A picture that a person brings, as an array; read in this very process."""

import cv2
import numpy as np

from appliance.pictures import Limits
from appliance.pictures.reading import read_image
from appliance.values import U8


def read_picture(data: bytes, limits: Limits) -> U8:
    """See `appliance.pictures.reading.read_image`.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        PictureError: it is none, not whole, or too large; says which.
    """
    return as_pixels(np.asarray(read_image(data, limits)))


def as_pixels(rgb: U8) -> U8:
    """(H, W, 3) uint8 BGR of RGB."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), np.uint8)
