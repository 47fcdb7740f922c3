"""A tiny classifier made at test time, which tells the color of a picture's middle."""

import numpy as np
import onnx
from onnx import helper

from appliance.catalog.card import Card, Channels, InputCard
from appliance.geometry import FitMode
from appliance.tasks.classification import ClassificationTable
from tests.support.models import model_of

SIDE = 32
LABELS = ("red", "green", "blue", "gray")
# Each color against the others, on means of 0..255; gray is what has none.
WEIGHTS = np.array([[2, -1, -1], [-1, 2, -1], [-1, -1, 2], [0, 0, 0]], np.float32) / 50
COLORS = Card(
    name="colors",
    title="Colors of a picture's middle",
    license="MIT",
    source="made by the tests",
    task="classification",
    head="classifier",
    input=InputCard(size_wh=(SIDE, SIDE), channels=Channels.RGB, fit=FitMode.CROP, crop=0.5),
    table=ClassificationTable(labels=LABELS),
)


def colors() -> onnx.ModelProto:
    """`image` (1, 3, S, S) float32 RGB 0..255 to logits (1, 4): means of the channels, weighed."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["means"]),
        helper.make_node("Conv", ["means", "colors"], ["planes"]),
        helper.make_node("Flatten", ["planes"], ["output"]),
    ]
    return model_of(
        nodes,
        inputs={"image": (1, 3, SIDE, SIDE)},
        outputs={"output": (1, len(LABELS))},
        weights={"colors": WEIGHTS[:, :, None, None]},
    )


def network() -> onnx.ModelProto:
    """The same ends behind what networks are made of: untrained, to be rewritten and not to see."""
    random = np.random.default_rng(5)
    weights = {
        "stem": random.normal(0, 0.01, (4, 3, 3, 3)),
        "kernel": random.normal(0, 0.2, (4, 4, 3, 3)),
        "each": random.normal(0, 0.3, (4, 1, 3, 3)),
    }
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["image", "stem"], ["a"], **pads),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "kernel"], ["c"], **pads),
        helper.make_node("Add", ["b", "c"], ["d"]),
        helper.make_node("Conv", ["d", "each"], ["e"], group=4, **pads),
        helper.make_node("ReduceMean", ["e"], ["output"], axes=[2, 3], keepdims=0),
    ]
    return model_of(
        nodes,
        inputs={"image": (1, 3, SIDE, SIDE)},
        outputs={"output": (1, len(LABELS))},
        weights={name: each.astype(np.float32) for name, each in weights.items()},
    )
