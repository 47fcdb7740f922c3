"""What a card puts around an engine, at build time and in the running station alike."""

from collections.abc import Mapping

from appliance.catalog.card import Card
from appliance.letterbox import Letterbox
from appliance.tasks import Rules


def letterbox_of(card: Card) -> Letterbox:
    """How frames are fitted for this model."""
    return Letterbox(
        input_wh=card.input.size_wh,
        mode=card.input.fit,
        pad_value=card.input.pad_value,
        interpolation=card.input.interpolation,
    )


def rules_of(
    card: Card,
    *,
    confidence: float,
    labels: tuple[str, ...] | None = None,
    classes: Mapping[str, float | None] | None = None,
) -> Rules:
    """How candidates become predictions for this model.

    Args:
        card: suppression and limits.
        confidence: lowest score of classes without a threshold of their own.
        labels: class names in the order of ids; the card's where None.
        classes: a map of classes to thresholds; every class where None or empty.
    """
    rules = card.detection
    return Rules.of(
        rules.labels if labels is None else labels,
        confidence=confidence,
        classes=classes or {},
        nms=rules.nms,
        iou=rules.iou,
        max_detections=rules.max_detections,
    )
