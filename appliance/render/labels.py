"""Labels on pictures: white on a dark ground, readable on every picture."""

from dataclasses import dataclass

import cv2

from appliance.values import U8

Color = tuple[int, int, int]
BOX_BGR: Color = (255, 255, 255)  # --box
HALO_BGR: Color = (0, 0, 0)  # --box-halo, opaque: on a still picture nothing needs to shine through
FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_PX = 22  # height of a capital at scale 1
WIDE_ENOUGH_FOR_SCORE = 40  # letters: a small picture has room for names only


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is drawn how large on a picture of one size, pixels."""

    line: int
    letter: int
    pad: int
    scale: float

    @classmethod
    def of(cls, picture: U8) -> "Sizes":
        """By the longer side: what is read at 640 pixels is read at 3840, shown as wide."""
        unit = max(picture.shape[:2]) / 640
        letter = max(8, round(11 * unit))
        return cls(max(1, round(2 * unit)), letter, max(2, round(3 * unit)), letter / FONT_PX)

    @property
    def stroke(self) -> int:
        """How wide the lines of a letter are."""
        return max(1, self.line // 2)


@dataclass(frozen=True, slots=True)
class Place:
    """A label's rectangle, pixels."""

    x: int
    y: int
    width: int
    height: int

    def overlap(self, other: "Place") -> int:
        """Shared pixels."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return width * height if width > 0 and height > 0 else 0


def text_of(name: str, score: float, letters: float) -> str:
    """A label's text on a picture that is so many letters wide."""
    return name if letters < WIDE_ENOUGH_FOR_SCORE else f"{name} {score:.2f}"


def size_of(text: str, sizes: Sizes) -> tuple[int, int]:
    """How wide and high a label is."""
    (width, _), _ = cv2.getTextSize(text, FONT, sizes.scale, sizes.stroke)
    return width + 2 * sizes.pad, sizes.letter + 2 * sizes.pad


def write(picture: U8, text: str, place: Place, color: Color, sizes: Sizes) -> None:
    """Draw a label into `picture` (H, W, 3) uint8 BGR itself."""
    corner = (place.x + place.width - 1, place.y + place.height - 1)
    cv2.rectangle(picture, (place.x, place.y), corner, HALO_BGR, cv2.FILLED)
    origin = (place.x + sizes.pad, place.y + place.height - sizes.pad)
    cv2.putText(picture, text, origin, FONT, sizes.scale, color, sizes.stroke, cv2.LINE_AA)
