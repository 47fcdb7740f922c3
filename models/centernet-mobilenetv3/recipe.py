"""CenterNet with a MobileNetV3 backbone: from its TF.js graph model to ONNX.

The exported graph goes on to rank and gather; the optimizer does that better, so the ONNX
model ends in the two maps: `keypoints` (1, H/4, W/4, 80) scores, and `wh` (1, H/4, W/4, 4)
distances from the center to left, top, right and bottom in input pixels.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from appliance.catalog.card import CARD_FILE, read_card
from appliance.catalog.tfjs.converter import build
from appliance.errors import ModelError

OUTPUTS: Final = {"keypoints": "tower_0/keypoints", "wh": "tower_0/wh"}
STRIDE: Final = 32  # of the deepest feature map


def convert(files: Mapping[str, Path], destination: Path) -> None:
    """Write the ONNX model for the card's input size; the same files give the same bytes.

    Args:
        files: "centernet.json" (graph and manifest) and "centernet.bin" (weights).
        destination: the .onnx file to write.

    Raises:
        ModelError: the size does not suit the network, or the graph is not the expected one.
    """
    size_wh = read_card(Path(__file__).with_name(CARD_FILE)).input.size_wh
    if any(side % STRIDE for side in size_wh):
        raise ModelError(
            f"input.size_wh: expected multiples of {STRIDE}, got {list(size_wh)}",
            hint="choose 320, 416 or 512 in the model's card",
        )
    document = json.loads(files["centernet.json"].read_bytes())
    model = build(document, files["centernet.bin"].read_bytes(), size_wh, OUTPUTS)
    destination.write_bytes(model.SerializeToString(deterministic=True))
