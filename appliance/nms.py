"""Greedy non-maximum suppression over the few rows a head leaves.

On the host, because a suppressed set has no fixed size and engines want fixed buffers.
"""

from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from appliance.values import F32, I32

VERSION: Final = 1  # which rows are left


class NmsMode(StrEnum):
    """Which boxes may suppress each other."""

    NONE = "none"
    PER_CLASS = "per_class"
    AGNOSTIC = "agnostic"


def iou_matrix(boxes_xyxy: F32, others_xyxy: F32) -> F32:
    """Intersection over union of every box with every other.

    Args:
        boxes_xyxy: (N, 4) float32.
        others_xyxy: (M, 4) float32.

    Returns:
        (N, M) float32; 0 where a box has no area.
    """
    low = np.maximum(boxes_xyxy[:, None, :2], others_xyxy[None, :, :2])
    high = np.minimum(boxes_xyxy[:, None, 2:], others_xyxy[None, :, 2:])
    overlap = np.clip(high - low, 0, None).prod(axis=2)
    areas = np.clip(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0, None).prod(axis=1)
    other_areas = np.clip(others_xyxy[:, 2:] - others_xyxy[:, :2], 0, None).prod(axis=1)
    union = areas[:, None] + other_areas[None, :] - overlap
    result: F32 = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return result


def suppress(
    boxes_xyxy: F32,
    scores: F32,
    class_ids: I32,
    *,
    mode: NmsMode,
    iou: float,
    limit: int,
) -> NDArray[np.intp]:
    """Rows that survive, best first, at most `limit`.

    Args:
        boxes_xyxy: (N, 4) float32.
        scores: (N,) float32; equal scores keep their row order.
        class_ids: (N,) int32.
        mode: which boxes compete.
        iou: a box goes when its overlap with a better one is above this.
        limit: how many rows to keep.
    """
    order = np.argsort(-scores, kind="stable")
    if mode is NmsMode.NONE or len(order) < 2:
        return order[:limit]
    boxes, classes = boxes_xyxy[order], class_ids[order]
    rivals = iou_matrix(boxes, boxes) > iou
    if mode is NmsMode.PER_CLASS:
        rivals &= classes[:, None] == classes[None, :]
    alive = np.ones(len(order), bool)
    kept: list[int] = []
    for row in range(len(order)):
        if alive[row]:
            kept.append(row)
            if len(kept) == limit:
                break
            alive &= ~rivals[row]
    return order[kept]
