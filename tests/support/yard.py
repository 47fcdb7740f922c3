"""A drawn yard with a gate, two cars, a person, a traffic light and a stop sign.

It is made of plain shapes, and it belongs to nobody. A detector of everyday classes finds the
things in it, so that pictures of the page show what a station really sees.
"""

import math
from pathlib import Path

import cv2
import numpy as np

from appliance.values import U8

SIZE_WH = (960, 640)
HORIZON = 318
SHIFT = 4  # bits behind the point, in which OpenCV takes fractions of a pixel

Color = tuple[float, float, float]  # BGR
Point = tuple[float, float]

ASPHALT, ROAD, MARK = (104, 106, 110), (92, 94, 98), (214, 218, 220)
STEEL, STONE, DARK = (92, 94, 98), (150, 156, 164), (30, 30, 33)
GLASS, SHINE, SKIN = (70, 58, 48), (120, 108, 96), (148, 178, 222)
LEAVES, LIGHT_LEAVES = (84, 124, 96), (98, 142, 112)


class Figure:
    """Draws shapes whose points count from a place on the ground, up and to the right.

    Args:
        picture: (H, W, 3) uint8, drawn into.
        foot: where the figure stands, in pixels.
        scale: pixels for each of the figure's own units.
        mirrored: whether it looks to the left.
    """

    def __init__(
        self, picture: U8, foot: Point = (0, 0), scale: float = 1.0, *, mirrored: bool = False
    ) -> None:
        self._picture = picture
        self._foot = foot
        self._scale = scale
        self._sign = -1 if mirrored else 1

    def _at(self, point: Point) -> tuple[int, int]:
        x, y = point
        placed = self._foot[0] + self._sign * x * self._scale, self._foot[1] - y * self._scale
        return round(placed[0] * 2**SHIFT), round(placed[1] * 2**SHIFT)

    def polygon(self, color: Color, *points: Point) -> None:
        """Fill what the points surround."""
        placed = np.array([self._at(point) for point in points], np.int32)
        cv2.fillPoly(self._picture, [placed], color, cv2.LINE_AA, SHIFT)

    def box(self, color: Color, low: Point, high: Point) -> None:
        """Fill an upright rectangle."""
        self.polygon(color, low, (high[0], low[1]), high, (low[0], high[1]))

    def ellipse(self, color: Color, center: Point, width: float, height: float) -> None:
        """Fill an ellipse, from half its width and height."""
        axes = tuple(round(half * self._scale * 2**SHIFT) for half in (width, height))
        middle = self._at(center)
        cv2.ellipse(self._picture, middle, axes, 0, 0, 360, color, -1, cv2.LINE_AA, SHIFT)

    def text(self, words: str, middle: Point, height: float, color: Color) -> None:
        """Write in the middle of a place; the height is that of OpenCV's font, in units."""
        font, size = cv2.FONT_HERSHEY_SIMPLEX, height * self._scale
        thickness = max(1, round(3.5 * size))
        (wide, high), _ = cv2.getTextSize(words, font, size, thickness)
        x, y = (coordinate / 2**SHIFT for coordinate in self._at(middle))
        corner = round(x - wide / 2), round(y + high / 2)
        cv2.putText(self._picture, words, corner, font, size, color, thickness, cv2.LINE_AA)

    def disc(self, color: Color, center: Point, radius: float) -> None:
        """Fill a circle."""
        self.ellipse(color, center, radius, radius)


def write_yard(path: Path, seconds: float = 8.0, fps: float = 15) -> Path:
    """A clip of the yard that ends as it begins, so it can be played again and again."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, SIZE_WH)
    assert writer.isOpened()
    count = round(seconds * fps)
    for index in range(count):
        writer.write(yard(index / count))
    writer.release()
    return path


def yard(moment: float) -> U8:
    """(640, 960, 3) uint8 BGR: the yard at 0..1 of its round."""
    width, height = SIZE_WH
    picture = np.zeros((height, width, 3), np.uint8)
    _fade(picture[:HORIZON], (214, 180, 150), (238, 226, 214))
    whole = Figure(picture, (0, height))
    _background(whole)
    _fade(picture[HORIZON:], (132, 134, 138), ASPHALT)
    _fence(whole)
    _road(whole)
    sway = math.sin(2 * math.pi * moment)
    _sign(Figure(picture, (852, 440), 44))
    _traffic_light(Figure(picture, (512, 346), 1.3))
    _person(
        Figure(picture, (400 + 10 * sway, 482), 2.0), 0.55 + 0.35 * math.sin(24 * math.pi * moment)
    )
    _car(Figure(picture, (62 + 26 * sway, 520), 2.8), (150, 92, 44))
    _car(Figure(picture, (904 - 30 * sway, 612), 3.0, mirrored=True), (52, 48, 168))
    soft = cv2.GaussianBlur(picture, (3, 3), 0.7)  # a lens, and a sensor's noise
    noise = np.random.default_rng(round(moment * 1000)).normal(0, 2, soft.shape)
    return (soft + noise).clip(0, 255).astype(np.uint8)


def _fade(area: U8, above: Color, below: Color) -> None:
    share = np.linspace(0, 1, len(area))[:, None, None]
    area[:] = (np.array(above) * (1 - share) + np.array(below) * share).round()


def _background(whole: Figure) -> None:
    """A hall with a roller door, and trees."""
    whole.polygon((168, 174, 180), (0, 520), (380, 500), (380, 310), (0, 300))
    for x in range(19, 380, 19):
        whole.polygon(
            (158, 164, 170), (x, 519 - x / 19), (x + 1, 519 - x / 19), (x + 1, 300), (x, 300)
        )
    whole.polygon((110, 96, 88), (0, 534), (388, 512), (388, 498), (0, 518))
    whole.polygon((120, 116, 112), (80, 450), (230, 446), (230, 304), (80, 302))
    for y in range(312, 446, 12):
        whole.polygon((106, 102, 98), (80, y), (230, y - 1), (230, y - 2), (80, y - 1))
    for x in (270, 320):
        whole.box((150, 120, 96), (x, 426), (x + 34, 458))
    for x, y, radius in ((452, 398, 46), (612, 392, 54), (700, 372, 36), (884, 400, 70)):
        whole.disc(LEAVES, (x, y), radius)
        whole.disc(LIGHT_LEAVES, (x - 0.3 * radius, y + 0.25 * radius), 0.62 * radius)


def _fence(whole: Figure) -> None:
    """Bars on both sides of a gate that a striped beam closes."""
    for x in (*range(392, 560, 22), *range(802, 960, 22)):
        whole.box(STEEL, (x, 306), (x + 3, 372))
    for left, right in ((388, 560), (780, 960)):
        for y in (316, 362):
            whole.box(STEEL, (left, y), (right, y + 3))
    for x in (560, 780):
        whole.box(STONE, (x - 9, 300), (x + 9, 400))
        whole.box((120, 126, 134), (x - 12, 398), (x + 12, 406))
    for part in range(8):
        color = (60, 60, 200) if part % 2 else (240, 240, 240)
        whole.box(color, (570 + 25 * part, 336), (595 + 25 * part, 345))


def _road(whole: Figure) -> None:
    whole.polygon(ROAD, (596, 300), (744, 300), (980, 0), (430, 0))
    for near, far in ((290, 268), (248, 210), (180, 120), (80, 0)):
        half = [1.5 + (300 - y) * 0.02 for y in (near, far)]
        middle = [670 + (300 - y) * 0.11 for y in (near, far)]
        left = [(m - h, y) for m, h, y in zip(middle, half, (near, far), strict=True)]
        right = [(m + h, y) for m, h, y in zip(middle, half, (near, far), strict=True)]
        whole.polygon(MARK, *left, *reversed(right))
    for bay in range(4):
        x = 30 + 130 * bay
        whole.polygon(MARK, (x, 220), (x + 3, 220), (x - 87, 80), (x - 91, 80))


def _car(figure: Figure, color: Color) -> None:
    """A saloon, 100 units long."""
    dark, light = ([channel * share for channel in color] for share in (0.55, 1.3))
    figure.ellipse((66, 68, 70), (50, -1), 56, 5)
    front = ((88, 27), (98, 24), (102, 18), (102, 8))
    roof = ((20, 27), (32, 41), (40, 44), (66, 44), (78, 38))
    figure.polygon(color, (-2, 8), (0, 22), (6, 25), *roof, *front)
    figure.polygon(light, (0, 22), (6, 25), (20, 27), (88, 27), (98, 24), (50, 21), (2, 19))
    figure.polygon(GLASS, (25, 28), (35, 39), (41, 41), (52, 41), (52, 28))
    figure.polygon(GLASS, (55, 28), (55, 41), (65, 41), (74, 36), (82, 28))
    figure.polygon(SHINE, (28, 28), (36, 38), (40, 38), (33, 28))
    figure.polygon(SHINE, (60, 28), (66, 39), (69, 38), (64, 28))
    figure.box(dark, (-2, 8), (102, 12))
    figure.box(dark, (53, 10), (53.6, 27))
    figure.box(dark, (57, 22), (63, 23))
    figure.polygon((170, 230, 250), (98, 22), (101, 20), (102, 17), (96, 18))
    figure.polygon((40, 40, 200), (-1, 20), (4, 20), (4, 16), (-1.5, 16))
    for x in (20, 80):
        for gray, radius in ((30, 10.5), (22, 9), (172, 5.2), (70, 1.6)):
            figure.disc((gray, gray, gray + 2), (x, 8), radius)
        for spoke in range(5):
            angle = 2 * math.pi * spoke / 5
            figure.disc((60, 60, 64), (x + 3.2 * math.cos(angle), 8 + 3.2 * math.sin(angle)), 1)


def _person(figure: Figure, step: float) -> None:
    """Somebody in an orange jacket, 93 units tall; `step` is -1..1 of the stride."""
    coat, sleeve, stride = (60, 140, 220), (45, 105, 165), 7 * step
    figure.ellipse((66, 68, 70), (0, 0), 14, 3)
    for color, way in (((78, 52, 42), 1), ((96, 66, 54), -1)):
        knee, foot = way * stride, 1.5 * way * stride
        hip = -3 * way
        figure.polygon(
            color,
            (hip - 3.5, 44),
            (hip + 3.5, 44),
            (hip + 3 + knee, 22),
            (hip + 3 + foot, 2),
            (hip - 3 + foot, 2),
            (hip - 3.5 + knee, 22),
        )
        figure.box(DARK, (hip - 3.5 + foot, 0), (hip + 6 + foot, 3))
    body = ((9, 74), (8, 58), (8, 40), (-8, 40), (-8, 58), (-9, 74))
    figure.polygon(coat, (-5, 78), (5, 78), *body)
    for way in (-1, 1):
        hand = 9.3 * way - 0.5 * stride
        elbow = 12 * way - 0.2 * stride
        figure.polygon(
            sleeve,
            (9 * way, 74),
            (elbow, 58),
            (hand + 2 * way, 44),
            (hand - 2 * way, 44),
            (7 * way, 58),
            (5 * way, 70),
        )
        figure.disc(SKIN, (hand, 42), 2.3)
    figure.box((130, 160, 204), (-2.3, 77), (2.3, 82))
    figure.ellipse((34, 44, 60), (0, 89), 5.6, 6)
    figure.ellipse(SKIN, (0, 86.5), 5, 6)


def _sign(figure: Figure) -> None:
    """A stop sign: an octagon on a post."""
    figure.box((120, 122, 124), (-0.06, 0), (0.06, 3))
    for color, radius in (((235, 235, 235), 1.0), ((36, 32, 190), 0.93)):
        angles = [math.pi / 8 + corner * math.pi / 4 for corner in range(8)]
        corners = [(radius * math.cos(a), 3.2 + radius * math.sin(a)) for a in angles]
        figure.polygon(color, *corners)
    figure.text("STOP", (0, 3.2), 0.024, (240, 240, 240))


def _traffic_light(figure: Figure) -> None:
    figure.box((60, 62, 64), (-2, 0), (2, 90))
    figure.box((28, 30, 32), (-10, 80), (10, 140))
    for y, color in ((129, (40, 40, 235)), (110, (24, 60, 70)), (91, (24, 56, 30))):
        figure.disc(color, (0, y), 7)
