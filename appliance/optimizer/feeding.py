"""What a foreign model wants to be fed, by name and type: the picture, and at times its size."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.catalog.card import Card
from appliance.catalog.inspection import TensorInfo
from appliance.errors import ModelError

WHOLE_DTYPES = ("uint8", "int32")
PICTURE_DTYPES = ("float32", "float16", *WHOLE_DTYPES)
EXTRA_DTYPES = ("float32", "float16", "int32", "int64")

# Inputs beside the picture that some exporters add, from the input's width and height. The
# frame arrives fitted, so its scale is 1 and boxes come back in input pixels.
EXTRAS: Mapping[str, Callable[[int, int], list[int]]] = {
    "im_shape": lambda width, height: [height, width],
    "image_shape": lambda width, height: [height, width],
    "orig_target_sizes": lambda width, height: [width, height],
    "scale_factor": lambda _width, _height: [1, 1],
}


@dataclass(frozen=True, slots=True)
class Feed:
    """A foreign model's inputs.

    Attributes:
        image: the picture's input.
        extras: the others' constant values by name, each (1, 2).
    """

    image: TensorInfo
    extras: Mapping[str, NDArray[Any]]


def feed_of(inputs: Sequence[TensorInfo], card: Card) -> Feed:
    """Tell the picture from what else the model asks for.

    Args:
        inputs: the model's, without its weights.
        card: may name the picture's input; says the size.

    Raises:
        ModelError: no input is the picture, or one is unknown or of another type.
    """
    images = [value for value in inputs if _is_image(value, card)]
    if len(images) != 1:
        raise ModelError(
            f"expected one image input of 4 dimensions, got {_told(inputs)}",
            hint="Write the image's name as input.name in model.toml.",
        )
    image = images[0]
    if image.dtype not in PICTURE_DTYPES:
        raise ModelError(
            f"{image.name}: expected {' or '.join(PICTURE_DTYPES)}, got {image.dtype}",
            hint="Export the model in single precision; the appliance lowers it itself.",
        )
    plain = not any(card.input.mean) and set(card.input.std) == {1}
    if image.dtype in WHOLE_DTYPES and not plain:
        raise ModelError(
            f"{image.name} takes whole numbers, {image.dtype}; the card says mean and std",
            hint="Take input.mean and input.std out of model.toml.",
        )
    others = [value for value in inputs if value is not image]
    return Feed(image, {value.name: _extra(value, card) for value in others})


def _is_image(value: TensorInfo, card: Card) -> bool:
    if card.input.name is not None:
        return value.name == card.input.name
    return value.shape is not None and len(value.shape) == 4


def _extra(value: TensorInfo, card: Card) -> NDArray[Any]:
    pair = value.shape is not None and len(value.shape) == 2 and value.dtype in EXTRA_DTYPES
    if value.name not in EXTRAS or not pair:
        raise ModelError(
            f"input {_told([value])} is unknown; known beside the image are {', '.join(EXTRAS)}, "
            "each (1, 2)",
            hint="Export the model with the image as its only input.",
        )
    return np.array([EXTRAS[value.name](*card.input.size_wh)], np.dtype(value.dtype))


def _told(inputs: Sequence[TensorInfo]) -> str:
    return ", ".join(f"{value.name} {value.dtype} {value.shape}" for value in inputs)
