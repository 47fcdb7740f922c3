"""What small detectors in PyTorch became: their files, kept in `tests/golden/exports`.

`python -m tests.support.torch_detectors` writes them, and what PyTorch itself made of `picture()`.
"""

from pathlib import Path

import numpy as np

from appliance.catalog.card import Card, InputCard
from appliance.tasks.detection import DetectionTable

EXPORTS = Path(__file__).parents[1] / "golden" / "exports"
SAID = EXPORTS / "said.npz"
"""The output of each family for `picture()`, by PyTorch."""

SIDE = 64
LABELS = ("cup", "dog", "car")
FAMILIES = ("yolov8", "yolov5", "yolox", "end_to_end", "fastestdet")
EXPORTERS = ("traced", "exported")
"""PyTorch's two ways to ONNX: by TorchScript, as most files are made, and by torch.export."""


def path_of(family: str, exporter: str) -> Path:
    """The kept file."""
    return EXPORTS / f"{family}-{exporter}.onnx"


def card_for(family: str) -> Card:
    """How a person would describe it."""
    return Card(
        name="made",
        title="Made",
        license="Apache-2.0",
        source="made by the tests",
        task="detection",
        head=family,
        input=InputCard(size_wh=(SIDE, SIDE), std=(255.0, 255.0, 255.0)),
        table=DetectionTable(candidates=30, labels=LABELS),
    )


def picture() -> np.ndarray:
    """(SIDE, SIDE, 3) uint8 BGR: noise, so that every place of the output differs."""
    return np.random.default_rng(7).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def tensor_of(frame: np.ndarray) -> np.ndarray:
    """(1, 3, SIDE, SIDE) float32 RGB, 0 to 1, as the card says."""
    return np.ascontiguousarray(frame[..., ::-1].transpose(2, 0, 1)[None] / np.float32(255))
