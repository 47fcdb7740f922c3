"""Classification: the best classes as lines in a corner, looking as the labels of boxes do."""

from collections.abc import Sequence

from appliance.predictions import Classification
from appliance.render import Painter
from appliance.render.labels import BOX_BGR, Place, Sizes, size_of, text_of, write
from appliance.values import U8

LINES = 5  # at most; a picture with forty labels is still to be seen


def draw_classes(picture: U8, found: Classification, names: Sequence[str]) -> None:
    """Draw into `picture` (H, W, 3) uint8 BGR itself.

    Args:
        picture: written to.
        found: the best first.
        names: of each class.
    """
    sizes, (height, width) = Sizes.of(picture), picture.shape[:2]
    y = sizes.pad
    for name, score in list(zip(names, found.scores.tolist(), strict=True))[:LINES]:
        text = text_of(name, score, width / sizes.letter)
        place = Place(sizes.pad, y, *size_of(text, sizes))
        if place.y + place.height > height:
            return
        write(picture, text, place, BOX_BGR, sizes)
        y += place.height


PAINTER = Painter("classification", draw_classes)
