"""A tiny classifier made at test time: which color a picture's center has."""

from pathlib import Path

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from tests.support.models import COLORS_BGR, model_of

NAME = "bright-colors"
LABELS = ("red", "green", "blue")
GAIN = 6.0  # logit of a full color over one that is not there

CARD = """\
title = "Bright colors: which color the center of a picture has"
license = "MIT"
source = "made by the tests"
task = "classification"
head = "classifier"

[input]
size_wh = [{size}, {size}]
fit = "crop"
crop = 0.5
std = [255, 255, 255]

[classification]
top_k = 3
labels = ["red", "green", "blue"]
"""


def write_bright_colors(folder: Path, *, size: int = 32, end: str = "Identity") -> None:
    """Write `folder`/model.toml and `folder`/model.onnx; the folder's name is the model's.

    Args:
        folder: made if it is not there.
        size: input side in pixels.
        end: the last operator: Identity leaves logits, Softmax probabilities.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.toml").write_text(CARD.format(size=size), encoding="utf-8")
    onnx.save(bright_colors(size, end), folder / "model.onnx")


def bright_colors(size: int = 32, end: str = "Identity") -> onnx.ModelProto:
    """`images` (1, 3, S, S) float32 RGB 0..1 to `classes` (1, 3)."""
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["colors"]),
        helper.make_node("GlobalAveragePool", ["colors"], ["means"]),
        helper.make_node("Flatten", ["means"], ["logits"]),
        helper.make_node(end, ["logits"], ["classes"]),
    ]
    kernel = (GAIN * np.eye(3, dtype=np.float32)).reshape(3, 3, 1, 1)
    return model_of(
        nodes,
        inputs={"images": (1, 3, size, size)},
        outputs={"classes": (1, 3)},
        weights={"kernel": kernel},
    )


def network(size: int = 32) -> onnx.ModelProto:
    """The same ends behind what networks are made of: untrained, to be rewritten and not to see."""
    random = np.random.default_rng(5)
    weights = {
        "stem": random.normal(0, 0.01, (3, 3, 3, 3)),
        "kernel": random.normal(0, 0.2, (3, 3, 3, 3)),
        "each": random.normal(0, 0.3, (3, 1, 3, 3)),
    }
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["images", "stem"], ["a"], **pads),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "kernel"], ["c"], **pads),
        helper.make_node("Add", ["b", "c"], ["d"]),
        helper.make_node("Conv", ["d", "each"], ["e"], group=3, **pads),
        helper.make_node("ReduceMean", ["e"], ["classes"], axes=[2, 3], keepdims=0),
    ]
    return model_of(
        nodes,
        inputs={"images": (1, 3, size, size)},
        outputs={"classes": (1, 3)},
        weights={name: each.astype(np.float32) for name, each in weights.items()},
    )


def field(center: str, around: str = "blue") -> NDArray[np.uint8]:
    """(240, 320, 3) uint8 BGR of one color, with another one in its middle half."""
    picture = np.full((240, 320, 3), COLORS_BGR[around], np.uint8)
    picture[50:190, 90:230] = COLORS_BGR[center]
    return picture


def write_field_clip(path: Path, center: str, frames: int = 50) -> Path:
    """A clip of `field`, 25 fps, on which a small gray square moves at the border."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 240))
    for index in range(frames):
        picture = field(center)
        picture[4:20, 4 + 4 * index : 20 + 4 * index] = 128
        writer.write(picture)
    writer.release()
    return path
