"""Detection: boxes, scores and classes of at most K candidates to instances."""

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from appliance.geometry import Fit, clip, has_area
from appliance.nms import NmsMode, suppress
from appliance.predictions import Instances
from appliance.tasks import (
    Json,
    Output,
    Outputs,
    Rows,
    Strict,
    Table,
    Task,
    Thresholds,
    require_numbers,
)

VERSION: Final = 1  # what outputs mean


@Strict
@dataclass(frozen=True, slots=True)
class DetectionTable(Table):
    """How candidates become detections.

    Attributes:
        nms: which boxes may suppress each other.
        iou: overlap from which they do.
        max_detections: rows kept after suppression.
        candidates: rows that the head leaves for suppression.
        multi_label: one place may hold several classes.
    """

    nms: NmsMode = NmsMode.PER_CLASS
    iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    max_detections: Rows = 100
    candidates: Rows = 100
    multi_label: bool = False


def finish(outputs: Outputs, fit: Fit, table: DetectionTable, thresholds: Thresholds) -> Instances:
    """Candidates to instances in source pixels.

    Order: threshold, suppression, back to source pixels, one clip at the frame, and boxes
    without area go. A bad box below its threshold never takes another one with it.

    Args:
        outputs: `boxes` f32 (1, K, 4) xyxy in input pixels, `scores` f32 (1, K), `class_ids`
            i32 (1, K); unused rows have score 0 and class -1.
        fit: how the frame lies in the input.
        table: suppression.
        thresholds: what counts.

    Raises:
        NoNumbersError: a score is no finite number, or a box of a row that counts is not: what
            is in the picture is then unknown, and not nothing.
    """
    boxes, scores, class_ids = outputs["boxes"][0], outputs["scores"][0], outputs["class_ids"][0]
    require_numbers("scores", scores)
    wanted = (scores >= thresholds.at(class_ids)) & (class_ids >= 0)
    require_numbers("boxes", boxes[wanted])
    wanted &= has_area(boxes)
    boxes, scores, class_ids = boxes[wanted], scores[wanted], class_ids[wanted]
    kept = suppress(
        boxes, scores, class_ids, mode=table.nms, iou=table.iou, limit=table.max_detections
    )
    in_source = clip(fit.to_source(boxes[kept]), fit.source_wh)
    visible = has_area(in_source)
    kept = kept[visible]
    return Instances(in_source[visible], scores[kept], class_ids[kept])


def columns(found: Instances) -> Json:
    """For the live protocol: rounded in float64, since a rounded float32 keeps all its digits."""
    return {
        "boxes": found.boxes_xyxy_px.astype("float64").round(1).tolist(),
        "scores": found.scores.astype("float64").round(3).tolist(),
        "class_ids": found.class_ids.tolist(),
    }


def document(found: Instances, labels: tuple[str, ...]) -> Json:
    """For programs: one object for each detection, boxes in source pixels."""
    rows = zip(
        found.names(labels),
        found.class_ids.tolist(),
        found.scores.astype("float64").round(4).tolist(),
        found.boxes_xyxy_px.astype("float64").round(1).tolist(),
        strict=True,
    )
    return {
        "detections": [
            {"class": name, "class_id": class_id, "score": score, "box_xyxy_px": box}
            for name, class_id, score, box in rows
        ]
    }


TASK = Task(
    name="detection",
    outputs=(
        Output("boxes", ("K", "4"), "float32"),
        Output("scores", ("K",), "float32"),
        Output("class_ids", ("K",), "int32"),
    ),
    table=DetectionTable,
    finish=finish,
    nothing=Instances.empty(),
    form=1,
    columns=columns,
    document=document,
)
