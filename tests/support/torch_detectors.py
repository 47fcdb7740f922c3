"""Small detectors in PyTorch, one for each family of exports, and the files that they become.

    python -m tests.support.torch_detectors

writes `tests/golden/exports` anew. The weights are drawn by numpy, so that they stay the same with
any PyTorch. Only what is marked `torch` imports this module.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from tests.support.exports import (
    EXPORTERS,
    FAMILIES,
    LABELS,
    SAID,
    SIDE,
    path_of,
    picture,
    tensor_of,
)

CLASSES = len(LABELS)
STRIDES = (8, 16, 32)
BINS = 16  # of YOLOv8's distances
ANCHORS = ((10, 13), (30, 61), (59, 90))


class Detector(nn.Module):
    """Three maps of strides 8, 16 and 32, each of `width` channels; a family adds its end."""

    def __init__(self, width):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 8, stride=8)
        self.down = nn.ModuleList(nn.Conv2d(8, 8, 2, stride=2) for _ in STRIDES[1:])
        self.ends = nn.ModuleList(nn.Conv2d(8, width, 1) for _ in STRIDES)
        grids, strides = zip(*(cells(stride) for stride in STRIDES), strict=True)
        self.register_buffer("grid", torch.cat(grids))
        self.register_buffer("strides", torch.cat(strides))

    def maps(self, images):
        """(1, width, rows, columns) of each stride."""
        below = [nn.functional.silu(self.stem(images))]
        for each in self.down:
            below.append(nn.functional.silu(each(below[-1])))
        return [end(each) for end, each in zip(self.ends, below, strict=True)]

    def flat(self, images):
        """(1, width, places)."""
        return torch.cat([each.flatten(2) for each in self.maps(images)], 2)


def cells(stride):
    """Column and row of each place (places, 2), and its stride (places, 1)."""
    side = torch.arange(SIDE // stride, dtype=torch.float32)
    rows, columns = torch.meshgrid(side, side, indexing="ij")
    grid = torch.stack((columns, rows), -1).reshape(-1, 2)
    return grid, torch.full((len(grid), 1), float(stride))


class YoloV8(Detector):
    """Distances from the center as means over bins; no anchors."""

    def __init__(self):
        super().__init__(4 * BINS + CLASSES)
        self.mean = nn.Conv2d(BINS, 1, 1, bias=False)

    def forward(self, images):
        distances, classes = self.flat(images).split((4 * BINS, CLASSES), 1)
        bins = distances.view(1, 4, BINS, -1).transpose(2, 1).softmax(1)
        before, after = self.mean(bins).view(1, 4, -1).chunk(2, 1)
        centers = self.grid.T[None] + 0.5
        low, high = centers - before, centers + after
        boxes = torch.cat(((low + high) / 2, high - low), 1) * self.strides.T
        return torch.cat((boxes, classes.sigmoid()), 1)


class YoloV5(Detector):
    """Sigmoids around an anchor of each stride."""

    def __init__(self):
        super().__init__(5 + CLASSES)
        counts = [(SIDE // stride) ** 2 for stride in STRIDES]
        anchors = np.repeat(np.array(ANCHORS, np.float32), counts, axis=0)
        self.register_buffer("anchors", torch.from_numpy(anchors))

    def forward(self, images):
        rows = self.flat(images).transpose(1, 2).sigmoid()
        xy, wh, scores = rows.split((2, 2, 1 + CLASSES), 2)
        centers = (xy * 2 - 0.5 + self.grid) * self.strides
        return torch.cat((centers, (wh * 2) ** 2 * self.anchors, scores), 2)


class YoloX(Detector):
    """The raw grid: only the scores are finished."""

    def __init__(self):
        super().__init__(5 + CLASSES)

    def forward(self, images):
        maps = [torch.cat((each[:, :4], each[:, 4:].sigmoid()), 1) for each in self.maps(images)]
        return torch.cat([each.flatten(2) for each in maps], 2).permute(0, 2, 1)


class EndToEnd(Detector):
    """The best places are chosen inside; no suppression is needed."""

    def __init__(self):
        super().__init__(4 + CLASSES)

    def forward(self, images):
        distances, classes = self.flat(images).transpose(1, 2).split((4, CLASSES), 2)
        before, after = distances.sigmoid().chunk(2, 2)
        centers = self.grid + 0.5
        boxes = torch.cat((centers - before, centers + after), 2) * self.strides
        scores, places = classes.sigmoid().flatten(1).topk(20)
        chosen = (places // CLASSES)[..., None].repeat(1, 1, 4)
        ids = (places % CLASSES)[..., None].to(boxes.dtype)
        return torch.cat((boxes.gather(1, chosen), scores[..., None], ids), 2)


class FastestDet(Detector):
    """One map: objectness, box, classes."""

    def __init__(self):
        super().__init__(5 + CLASSES)

    def forward(self, images):
        sure, boxes, classes = self.maps(images)[1].split((1, 4, CLASSES), 1)
        return torch.cat((sure.sigmoid(), boxes, classes.softmax(1)), 1)


MADE = dict(zip(FAMILIES, (YoloV8, YoloV5, YoloX, EndToEnd, FastestDet), strict=True))


def detector(family):
    """The module: (1, 3, SIDE, SIDE) float32 to the family's output."""
    made = MADE[family]()
    random = np.random.default_rng(11)
    for name, parameter in made.named_parameters():
        fan_in = int(np.prod(parameter.shape[1:]))
        # So that scores spread from 0 to 1, and no class has them all.
        spread = 0.3 if name.endswith("bias") else 3.0
        drawn = random.normal(0, spread / np.sqrt(fan_in), parameter.shape)
        if name.startswith("mean"):
            drawn = np.arange(BINS).reshape(parameter.shape)
        parameter.data = torch.from_numpy(drawn.astype(np.float32))
    return made.eval()


def said_by_torch(family):
    """The family's output for `picture()`, computed by PyTorch."""
    with torch.no_grad():
        return detector(family)(torch.from_numpy(tensor_of(picture()))).numpy()


def export(family: str, exporter: str, path: Path) -> None:
    """Write the ONNX file, without what it says of the machine that wrote it."""
    ways = {
        "traced": {"dynamo": False, "opset_version": 17},
        "exported": {"dynamo": True, "external_data": False},
    }
    torch.onnx.export(
        detector(family),
        (torch.from_numpy(tensor_of(picture())),),
        str(path),
        input_names=["images"],
        output_names=["output0"],
        **ways[exporter],
    )
    proto = onnx.load(path)
    del proto.metadata_props[:]
    for each in (*proto.graph.node, *proto.graph.value_info, *proto.graph.initializer):
        del each.metadata_props[:]
        each.doc_string = ""
    onnx.save(proto, path)


if __name__ == "__main__":
    for each in FAMILIES:
        for way in EXPORTERS:
            export(each, way, path_of(each, way))
    np.savez_compressed(SAID, **{each: said_by_torch(each) for each in FAMILIES})
