"""What a card puts around an engine, at build time and in the running station alike."""

from appliance.catalog.card import Card
from appliance.letterbox import Letterbox


def letterbox_of(card: Card) -> Letterbox:
    """How frames are fitted for this model."""
    return Letterbox(
        input_wh=card.input.size_wh,
        mode=card.input.fit,
        pad_value=card.input.pad_value,
        interpolation=card.input.interpolation,
        crop=card.input.crop,
    )
