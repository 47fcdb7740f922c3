"""What a model's canonical outputs mean: pure functions from tensors to values.

A task is one module with a constant TASK. Names and shapes of the outputs are the canonical
contract of ARCHITECTURE.md; K is the number of candidate rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.geometry import Fit
from appliance.nms import NmsMode
from appliance.values import F32, Detections

Outputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Rules:
    """How candidates become predictions.

    Attributes:
        thresholds: (C,) float32, the lowest score per class; infinity leaves a class out.
        default_threshold: for a class id outside the table.
        nms: which boxes suppress each other.
        iou: overlap above which the weaker box goes.
        max_detections: most predictions per frame.
    """

    thresholds: F32
    default_threshold: float
    nms: NmsMode
    iou: float
    max_detections: int

    @classmethod
    def of(
        cls,
        labels: tuple[str, ...],
        *,
        confidence: float,
        classes: Mapping[str, float | None],
        nms: NmsMode,
        iou: float,
        max_detections: int,
    ) -> "Rules":
        """Rules from a station's confidence and class map; an empty map means every class."""
        others = np.inf if classes else confidence
        given = {
            name: confidence if threshold is None else threshold
            for name, threshold in classes.items()
        }
        thresholds = np.array([given.get(label, others) for label in labels], np.float32)
        return cls(thresholds, float(others), nms, iou, max_detections)


@dataclass(frozen=True, slots=True)
class Task:
    """One task.

    Attributes:
        name: as cards and sidecars say it.
        outputs: names of the canonical outputs.
        finish: canonical outputs of one frame (leading axis N = 1) to predictions in source pixels.
    """

    name: str
    outputs: tuple[str, ...]
    finish: Callable[[Outputs, Fit, Rules], Detections]
