"""Detection: boxes, scores and classes of at most K candidates to predictions."""

import numpy as np

from appliance.errors import NoNumbersError
from appliance.geometry import Fit, clip, has_area
from appliance.nms import suppress
from appliance.tasks import Outputs, Rules, Task
from appliance.values import F32, I32, Detections


def finish(outputs: Outputs, fit: Fit, rules: Rules) -> Detections:
    """Candidates to predictions in source pixels.

    Order: threshold, suppression, back to source pixels, one clip at the frame, and boxes
    without area go. A bad box below its threshold never takes another one with it.

    Args:
        outputs: `boxes` f32 (1, K, 4) xyxy in input pixels, `scores` f32 (1, K), `class_ids`
            i32 (1, K); unused rows have score 0 and class -1.
        fit: how the frame lies in the input.
        rules: thresholds and suppression.

    Raises:
        NoNumbersError: a score is no finite number, or a box of a row that counts is not: what
            is in the picture is then unknown, and not nothing.
    """
    boxes, scores, class_ids = outputs["boxes"][0], outputs["scores"][0], outputs["class_ids"][0]
    _check_numbers("scores", scores)
    wanted = (scores >= _thresholds(class_ids, rules)) & (class_ids >= 0)
    _check_numbers("boxes", boxes[wanted])
    wanted &= has_area(boxes)
    boxes, scores, class_ids = boxes[wanted], scores[wanted], class_ids[wanted]
    kept = suppress(
        boxes, scores, class_ids, mode=rules.nms, iou=rules.iou, limit=rules.max_detections
    )
    in_source = clip(fit.to_source(boxes[kept]), fit.source_wh)
    visible = has_area(in_source)
    kept = kept[visible]
    return Detections(in_source[visible], scores[kept], class_ids[kept])


def _check_numbers(name: str, array: F32) -> None:
    if not np.isfinite(array).all():
        raise NoNumbersError(
            f"{name} holds values that are no numbers",
            hint="Export the model again; if its engine runs in fewer bits, "
            "APPLIANCE_ENGINE__PRECISION=fp32 may help.",
        )


def _thresholds(class_ids: I32, rules: Rules) -> F32:
    table = np.append(rules.thresholds, np.float32(rules.default_threshold))
    known = (class_ids >= 0) & (class_ids < len(rules.thresholds))
    result: F32 = table[np.where(known, class_ids, len(rules.thresholds))]
    return result


TASK = Task("detection", ("boxes", "scores", "class_ids"), finish)
